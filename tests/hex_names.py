"""Names of crawls and shards, which are 16 hexadecimal digits."""

import hashlib


def hex_name(text: str) -> str:
    """A name made of a word."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
