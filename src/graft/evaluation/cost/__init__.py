"""Latency, size and memory of a model."""
