"""A data element as it was found, before anyone asks what its value means."""

from typing import Final, TypeAlias

# Tag, value representation, value, offset of the value in the object, length of the value in bytes.
# The value is the raw bytes (numbers in little endian, whatever the file's order), or None where they
# were not kept, or, for SQ, the list of items, each a list of elements. A plain tuple, because a
# header of many frames has a million of them.
RawElement: TypeAlias = tuple[int, str, "bytes | list[list[RawElement]] | None", int, int]

UNDEFINED_LENGTH: Final = 0xFFFFFFFF
