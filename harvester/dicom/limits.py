"""Bounds on one header's memory and time."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WalkLimits:
    """Bounds that keep one object from taking all memory or time.

    Args:
        header_bytes: The longest structure that is read, in bytes; values hopped over do not count.
        elements: How many elements and items one header may have.
        depth: How deep sequences may nest.
        kept_value: The longest binary value that is kept, in bytes.
        longest_value: The longest value of any other kind that is read; a longer one is hopped over. It is
            never less than `kept_value` and 65,535, the longest that explicit VR's short form has.
    """

    header_bytes: int = 64 << 20
    elements: int = 5_000_000
    depth: int = 64
    kept_value: int = 1 << 16
    longest_value: int = 4 << 20
