"""The worker processes of a crawl, on this machine or a Dask cluster."""
