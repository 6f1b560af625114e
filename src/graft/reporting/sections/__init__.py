"""Sections of the report: a function each, and one table."""
