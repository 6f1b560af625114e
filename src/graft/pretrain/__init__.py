"""Source models of one's own: a source task that needs no download, and networks trained on it."""
