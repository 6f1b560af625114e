"""Parallel map over candidates, folds and trials: serial, loky processes, a Dask or a Ray cluster."""
