"""The proof: figures on test images that nothing else has seen, how sure they are, what the model costs, one report."""
