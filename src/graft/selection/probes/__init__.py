"""Linear probes and transferability scores on frozen features."""
