"""An audit of a data set outside the pipeline, and a cleaned copy of it."""
