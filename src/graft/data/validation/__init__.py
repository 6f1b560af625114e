"""Checks of a data set as Great Expectations, their results and drift."""
