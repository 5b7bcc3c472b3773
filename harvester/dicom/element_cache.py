"""Recognises elements that an earlier header of the series had: its instances share most of their bytes.

A segment is a run of top-level elements that are the same in the headers of a series; which ones differ is
learnt from the headers. Where the bytes of a header equal those of a segment, all of them, its elements are
taken from there and not read again.
"""

from bisect import bisect, insort
from collections import OrderedDict
from typing import Any, Final

from harvester.dicom import header_limits
from harvester.dicom.dictionary import SERIES_INSTANCE_UID, SPECIFIC_CHARACTER_SET
from harvester.dicom.element import Items, RawElement, Run

SEGMENT_ELEMENTS: Final = 64  # at most
_SHORT_HEADER: Final = 8  # bytes of the header of each element but the first; only that one may be a sequence
_NO_TAG: Final = 1 << 32  # above all tags


class Segment:
    """Consecutive top-level elements of an earlier header.

    Attributes:
        content: Their bytes.
        elements: The elements.
        offset: Where they started in the object.
    """

    __slots__ = ("content", "elements", "offset")

    def __init__(self, content: bytes, elements: list[RawElement], offset: int) -> None:
        self.content = content
        self.elements = elements
        self.offset = offset


class SegmentCache:
    """Segments of one encoding, by the encoded tag of their first element.

    Attributes:
        varying: Tags of elements that are in no segment: they differ between headers. So does what a
            character set means for the elements behind it, of which the columns need to know.
    """

    __slots__ = ("_segments", "_sorted", "find", "varying")

    def __init__(self) -> None:
        self._segments: dict[bytes, Segment] = {}
        self.varying = {SPECIFIC_CHARACTER_SET}
        self._sorted = [SPECIFIC_CHARACTER_SET, _NO_TAG]  # the same tags
        self.find = self._segments.get

    def __len__(self) -> int:
        return len(self._segments)

    def end_of_run(self, tag: int) -> int:
        """The tag before which a run ends that begins with `tag`; an element that differs is alone."""
        return tag + 1 if tag in self.varying else self._sorted[bisect(self._sorted, tag)]

    def keep(self, content: bytes, elements: list[RawElement], offset: int) -> None:
        """Store the elements of a run that do not differ, and learn from the segment in its place which do.

        Args:
            content: The run's bytes.
            elements: Its elements.
            offset: Where it started in the object.
        """
        known = self._segments.pop(content[:4], None)
        if known is None or not self._learn(known.elements, elements):
            if elements[0][0] not in self.varying:
                self._store(content, elements, offset)
            return
        first = start = 0
        for index, (tag, _, _, value, _) in enumerate(elements):
            if tag in self.varying:
                at = value - _SHORT_HEADER - offset if index else 0
                self._store(content[start:at], elements[first:index], offset + start)
                first = index + 1
                start = elements[first][3] - _SHORT_HEADER - offset if first < len(elements) else len(content)
        self._store(content[start:], elements[first:], offset + start)

    def _store(self, content: bytes, elements: list[RawElement], offset: int) -> None:
        if elements and len(content) <= header_limits.MAX_CACHED_SEGMENT_BYTES:
            if len(self._segments) >= header_limits.MAX_CACHED_SEGMENTS:
                self._segments.clear()
            self._segments[content[:4]] = Segment(content, elements, offset)

    def _learn(self, known: list[RawElement], elements: list[RawElement]) -> bool:
        """Learn which elements differ between two headers; whether there was one."""
        differ = False
        for (before, vr_before, raw_before, _, _), (tag, vr, raw, _, _) in zip(known, elements, strict=False):
            if raw != raw_before or tag != before or vr != vr_before:
                differ = True
                if tag == SERIES_INSTANCE_UID == before:
                    self._forget()  # what differs within a series is to be learnt anew
                    return differ
                self._add_varying(min(before, tag))
                if tag != before:
                    return differ  # one of the two headers lacks an element
        return differ

    def _add_varying(self, tag: int) -> None:
        if len(self.varying) >= header_limits.MAX_CACHED_SEGMENTS:
            self._forget()
        if tag not in self.varying:
            self.varying.add(tag)
            insort(self._sorted, tag)

    def _forget(self) -> None:
        self._segments.clear()
        self.varying = {SPECIFIC_CHARACTER_SET}
        self._sorted = [SPECIFIC_CHARACTER_SET, _NO_TAG]


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
