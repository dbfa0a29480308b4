"""Dask clusters and the task runner that survives bad tiles and dead workers."""
