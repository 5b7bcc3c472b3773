"""DuckDB over a dataset."""
