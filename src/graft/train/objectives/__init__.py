"""What a training minimises: the protocol and its implementations."""
