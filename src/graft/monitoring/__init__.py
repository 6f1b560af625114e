"""The prediction log, drift and feedback."""
