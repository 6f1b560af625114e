"""One label of several classes for each sample."""
