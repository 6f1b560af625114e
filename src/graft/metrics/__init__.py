"""Metrics and their text form."""
