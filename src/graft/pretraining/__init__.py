"""Source models: trained once on a source data set."""
