"""Training objectives: the protocol, and cross-entropy."""
