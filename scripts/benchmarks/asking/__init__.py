"""Questions to a dataset: of many parts, of compacted ones, and of headers kept as JSON text."""
