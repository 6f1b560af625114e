"""Figures of the report: SVG plots and small pictures."""
