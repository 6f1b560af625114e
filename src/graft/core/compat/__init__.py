"""Workarounds for libraries and operating systems: torchvision, OpenMP, process groups."""
