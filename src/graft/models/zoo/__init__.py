"""The architectures that can be named, and how each is taken apart."""
