"""Training objectives: the protocol, and the task's own loss."""
