"""Choice of a candidate by cross-validation."""
