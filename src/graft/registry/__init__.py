"""Promoted models: promote, roll back, history, publish."""
