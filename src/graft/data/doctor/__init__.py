"""`graft doctor`: ``audit`` runs the pipeline's checks on a source in place; ``cleaned_copy`` mends a copy of it."""
