"""A model against its rivals: production model, scratch control, majority class."""
