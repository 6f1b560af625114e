"""What the work will take on this machine, and what is left out of it so that a time limit is kept."""
