"""Feature extraction and its cache."""
