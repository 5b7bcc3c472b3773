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
    elements: int = 2_500_000
    depth: int = 64
    kept_value: int = 1 << 16
    longest_value: int = 4 << 20


@dataclass(frozen=True, slots=True)
class ColumnLimits:
    """Bounds on what one header may take in columns: far beyond what its bytes tell, if it is hostile.

    Args:
        attributes: How many different attributes, each at a place of its own, it may add. Parquet costs some
            kilobytes for each column, however short.
        cells: How many cells its columns may have, most of them empty: items times attributes.
        work: About how many microseconds what is made one by one may take: entries of `OtherElements`,
            `bulk_data` and `invalid_elements` that were not there before, lists of texts, escape sequences.
        path_characters: How long the paths of those of them that are nested may be in all: an element of
            eight bytes, nested deep, has a path of thousands.
        character_sets: How many different Specific Character Sets its items may have.
    """

    attributes: int = 5_000
    cells: int = 40_000_000
    work: int = 6_000_000
    path_characters: int = 64 << 20
    character_sets: int = 1_000
