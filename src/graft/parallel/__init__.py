"""Several candidates, folds or trials at once: processes, Dask, Ray."""
