"""The engine: a plan in, partitions out."""
