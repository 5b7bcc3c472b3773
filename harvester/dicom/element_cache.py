"""Remembers what headers have in common: the instances of a series share most of their bytes.

Where the bytes of some consecutive elements equal what stood there in an earlier header, the elements
are taken from there and not read again. Nothing is assumed: the bytes are compared, all of them.
"""

from collections import OrderedDict
from typing import Any, Final

from harvester.dicom.element import Items, RawElement, Run

LONGEST_STRETCH: Final = 8  # elements: a shorter stretch is more often the same, a longer one saves more
_MOST_STRETCHES: Final = 512  # a series needs some dozens
_MOST_BYTES: Final = 8192  # of a stretch
_MOST_SERIES: Final = 16  # remembered at once

# Their bytes, the elements, and where they started in the object.
Stretch = tuple[bytes, list[RawElement], int]


class Stretches:
    """Stretches of top-level elements in one encoding, by the eight bytes they begin with."""

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


class HeaderMemory:
    """What the headers of one series, or of similar ones, have in common.

    Give the same one to their parsers, one after the other. It holds at most 512 stretches of at most
    8 KiB for each encoding.
    """

    __slots__ = ("_explicit", "_implicit")

    def __init__(self) -> None:
        self._explicit = Stretches()
        self._implicit = Stretches()

    def stretches(self, *, implicit: bool) -> Stretches:
        """Those in implicit or in explicit VR little endian: the same bytes mean another thing there."""
        return self._implicit if implicit else self._explicit


class HeaderMemories:
    """A memory for each of the series that are being read: one for all would forget the one for the other."""

    __slots__ = ("_memories",)

    def __init__(self) -> None:
        self._memories: OrderedDict[str | None, HeaderMemory] = OrderedDict()

    def of(self, series: str | None) -> HeaderMemory:
        """The memory of a series, by its key; None is what belongs to no series."""
        memory = self._memories.get(series)
        if memory is None:
            memory = self._memories[series] = HeaderMemory()
            if len(self._memories) > _MOST_SERIES:
                self._memories.popitem(last=False)
        else:
            self._memories.move_to_end(series)
        return memory


def moved(elements: list[RawElement], by: int) -> list[RawElement]:
    """The same elements elsewhere in an object."""
    return [
        (tag, vr, _moved_items(raw, by) if vr == "SQ" else raw, offset + by, length)
        for tag, vr, raw, offset, length in elements
    ]


def _moved_items(items: Any, by: int) -> Any:
    if not isinstance(items, Items):
        return items
    elsewhere = Items()
    for part in items.parts:
        if isinstance(part, Run):
            elsewhere.parts.append(Run(part.recipe, part.values, part.offset + by, part.size))
        else:
            elsewhere.parts.append(moved(part, by))
    return elsewhere
