"""Queries in BigQuery's dialect, translated to DuckDB's."""
