"""Data sets: sources, ingest, manifest, validation, splits."""
