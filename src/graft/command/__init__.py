"""What the commands of `graft` do, one module each; the command line itself is graft.cli."""
