"""Is this data fit to train on? A Great Expectations suite over the manifest, and its report."""
