"""Evaluation on held-out samples: figures with intervals, slices, comparisons."""
