"""The crawl engine: plans shards, harvests them in worker processes, commits them."""
