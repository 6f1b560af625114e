"""A .csv or .parquet table as a source: ``reader`` loads it as text, names its columns and checks its rows by rules."""
