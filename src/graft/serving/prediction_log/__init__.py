"""The prediction log: recorded predictions, kept images, feedback."""
