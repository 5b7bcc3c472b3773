"""What the benchmark of a Dask cluster is made of."""
