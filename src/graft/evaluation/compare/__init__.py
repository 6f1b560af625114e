"""A model against its rivals: champion, scratch control, majority class."""
