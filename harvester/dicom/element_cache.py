"""Recognises elements that an earlier header of the series had: its instances share most of their bytes.

A segment is a few consecutive top-level elements. Where the bytes of a segment equal those of an earlier
header, all of them, its elements are taken from there and not read again.
"""

from collections import OrderedDict
from typing import Any, Final, TypeAlias

from harvester.dicom import header_limits
from harvester.dicom.element import Items, RawElement, Run

SEGMENT_ELEMENTS: Final = 8  # a shorter segment is more often the same, a longer one saves more

# The bytes, the elements, and where they started in the object.
Segment: TypeAlias = tuple[bytes, list[RawElement], int]


class SegmentCache:
    """Segments of one encoding, by their first eight bytes."""

    __slots__ = ("_segments", "find")

    def __init__(self) -> None:
        self._segments: dict[bytes, Segment] = {}
        self.find = self._segments.get

    def __len__(self) -> int:
        return len(self._segments)

    def keep(self, content: bytes, elements: list[RawElement], offset: int) -> None:
        """Store a segment; it replaces the one with the same first bytes.

        Args:
            content: Its bytes.
            elements: Its elements.
            offset: Where it started in the object.
        """
        if len(content) <= header_limits.MAX_CACHED_SEGMENT_BYTES:
            if len(self._segments) >= header_limits.MAX_CACHED_SEGMENTS:
                self._segments.clear()
            self._segments[content[:8]] = (content, elements, offset)


class ElementCache:
    """The segments of the headers of one series; its parsers use it one after the other."""

    __slots__ = ("_explicit", "_implicit")

    def __init__(self) -> None:
        self._explicit = SegmentCache()
        self._implicit = SegmentCache()

    def segments(self, *, implicit: bool) -> SegmentCache:
        """Those in implicit or in explicit VR little endian, where the same bytes mean something else."""
        return self._implicit if implicit else self._explicit


class ElementCaches:
    """A cache for each of the series that are read at the same time, the latest 16."""

    __slots__ = ("_caches",)

    def __init__(self) -> None:
        self._caches: OrderedDict[str | None, ElementCache] = OrderedDict()

    def of(self, series: str | None) -> ElementCache:
        """The cache of a series, by its key; None for objects without a series."""
        cache = self._caches.get(series)
        if cache is None:
            cache = self._caches[series] = ElementCache()
            if len(self._caches) > header_limits.MAX_CACHED_SERIES:
                self._caches.popitem(last=False)
        else:
            self._caches.move_to_end(series)
        return cache


def moved(elements: list[RawElement], by: int) -> list[RawElement]:
    """The same elements, `by` bytes further in an object."""
    return [
        (tag, vr, _moved_items(raw, by) if vr == "SQ" else raw, offset + by, length)
        for tag, vr, raw, offset, length in elements
    ]


def _moved_items(items: Any, by: int) -> Any:
    if not isinstance(items, Items):
        return items
    result = Items()
    for part in items.parts:
        if isinstance(part, Run):
            result.parts.append(Run(part.layout, part.values, part.offset + by, part.size))
        else:
            result.parts.append(moved(part, by))
    return result
