"""Joins a header parser to a store."""
