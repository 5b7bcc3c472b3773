"""Stores give ranges of objects and list them."""
