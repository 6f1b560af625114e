"""Work on many items at once, by engines that exist: here one after the other, processes, a Dask or a Ray cluster."""
