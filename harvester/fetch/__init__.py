"""Reads one object: its header, and where its frames lie."""
