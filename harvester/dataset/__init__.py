"""Parquet parts, their commits, and the dataset they make."""
