"""Series into shards: pure and deterministic."""
