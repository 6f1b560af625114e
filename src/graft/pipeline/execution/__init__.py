"""How a stage runs: its lock, its outputs, its messages."""
