"""What stages resolve from settings and earlier results, once: training set, candidates, winner."""
