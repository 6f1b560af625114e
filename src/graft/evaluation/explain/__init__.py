"""Grad-CAM and label issues."""
