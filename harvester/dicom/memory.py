"""Remembers what headers have in common: the instances of a series share most of their bytes.

Where the bytes of some consecutive elements equal what stood there in an earlier header, the elements
are taken from there and not read again. Nothing is assumed: the bytes are compared, all of them.
"""

from typing import Final

from harvester.dicom.element import RawElement

LONGEST_STRETCH: Final = 8  # elements: a shorter stretch is more often the same, a longer one saves more
_MOST_STRETCHES: Final = 4096
_MOST_BYTES: Final = 1024  # of a stretch: longer values are rarely the same

# Their bytes, the elements, and where they started in the object.
Stretch = tuple[bytes, list[RawElement], int]


class HeaderMemory:
    """Stretches of top-level elements in explicit VR little endian, by the eight bytes they begin with.

    Give the same one to the parsers of a series' headers, one after the other.
    """

    __slots__ = ("_stretches", "find")

    def __init__(self) -> None:
        self._stretches: dict[bytes, Stretch] = {}
        self.find = self._stretches.get

    def keep(self, content: bytes, elements: list[RawElement], offset: int) -> None:
        """Remember a stretch, instead of the one that began alike.

        Args:
            content: Its bytes.
            elements: What was found in them.
            offset: Where it started in the object.
        """
        if len(content) <= _MOST_BYTES:
            if len(self._stretches) >= _MOST_STRETCHES:
                self._stretches.clear()
            self._stretches[content[:8]] = (content, elements, offset)


def moved(elements: list[RawElement], by: int) -> list[RawElement]:
    """The same elements elsewhere in an object."""
    return [(tag, vr, raw, offset + by, length) for tag, vr, raw, offset, length in elements]
