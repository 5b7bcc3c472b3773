"""Modules of the benchmark of a Dask cluster."""
