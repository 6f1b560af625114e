"""How far an answer can be trusted: calibrated probabilities, when to say "not sure", what is unlike the training."""
