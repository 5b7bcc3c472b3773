"""Queries of a dataset: of many parts, compacted, and of headers stored as JSON text."""
