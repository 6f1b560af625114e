"""A .csv or .parquet table as a source: its columns, its rows, and what is wrong with them."""
