"""Reads items of a layout that was seen before without walking them.

The items of a functional group sequence, one a frame, have the same tags, value representations and
lengths at the same offsets; only the values differ. An item that was walked gives a pattern. An item whose
bytes equal the pattern's everywhere but in the values has the same elements with other values.
"""

import struct
from typing import Any, Final, NamedTuple, TypeAlias

from harvester.dicom.dictionary import is_private_creator
from harvester.dicom.element import Items, Layout, RawElement, Run

MIN_ITEMS: Final = 8  # a shorter sequence ends before a pattern could pay
_MAX_PATTERNS: Final = 16  # tried for one item
_MAX_MISSES: Final = 4096  # more than items that matched
_MAX_LEARNT: Final = 256  # in one header: where hardly anything repeats, learning costs more than walking
_MANY_UNMATCHED: Final = 4  # patterns, from which on an item is learnt only if its length recurs
_MAX_LENGTHS: Final = 1024  # of items, that are remembered

# The sequence's tag, the item's length field, and whether it is in implicit VR.
_Key: TypeAlias = tuple[int, int, bool]


class _Pattern(NamedTuple):
    """The layout of an item and the bytes that are the same in each item of it.

    `unpack` gives fixed bytes and values in turn; `constants` are values that are fixed, too. `headers`
    counts the item and all elements and items in it.
    """

    size: int
    unpack: Any
    fixed: tuple[bytes, ...]
    constants: tuple[bytes, ...]
    layout: Layout
    headers: int


class ItemPatterns:
    """The patterns of the items of one header."""

    __slots__ = ("_left", "_lengths", "_misses", "_patterns", "_unmatched")

    def __init__(self) -> None:
        self._patterns: dict[_Key, list[_Pattern]] = {}
        self._lengths: set[tuple[_Key, int]] = set()
        self._misses = self._unmatched = 0
        self._left = _MAX_LEARNT

    def stop_learning(self) -> None:
        """Learn no further pattern: from here on the layout of an item may depend on its values."""
        self._left = 0

    def find(self, key: _Key, buffer: bytes, start: int, within: int, base: int) -> tuple[Run, int] | None:
        """Read the item at `buffer[start]` and those behind it that match the same pattern.

        Args:
            key: Selects the patterns.
            buffer: The bytes.
            start: Where the item's header starts in them.
            within: Where the last item has to end in them.
            base: The offset in the object of the buffer's start.

        Returns:
            The items, and the number of elements and items in them; None if the first matches no pattern.
        """
        patterns = self._patterns.get(key)
        if patterns is None or self._misses > _MAX_MISSES:
            return None
        for index, pattern in enumerate(patterns):
            size, unpack, fixed, constants, layout, headers = pattern
            position, last = start, within - size
            values = []
            if not buffer.startswith(fixed[-1], start + size - len(fixed[-1])):
                last = start - 1  # does not match: quicker than to unpack it
            while position <= last:
                pieces = unpack(buffer, position)
                if pieces[::2] != fixed:
                    break
                values.append(pieces[1::2] + constants)
                position += size
            if values:
                self._misses -= len(values)
                self._unmatched = max(0, self._unmatched - 1)
                if index:
                    patterns.insert(0, patterns.pop(index))
                return Run(layout, values, base + start, size), headers * len(values)
            self._misses += 1
        return None

    def worth_learning(self, key: _Key, length: int) -> bool:
        """Whether an item may recur: most that were learnt did, or another one had its length."""
        if self._unmatched < _MANY_UNMATCHED or (key, length) in self._lengths:
            return True
        if len(self._lengths) < _MAX_LENGTHS:
            self._lengths.add((key, length))
        return False

    def learn(self, key: _Key, item: bytes, elements: list[RawElement], offset: int) -> None:
        """Store the layout of an item that was walked.

        Args:
            key: Which items could match it.
            item: The item's bytes, with its header and delimitation.
            elements: Its elements.
            offset: Where it starts in the object.
        """
        patterns = self._patterns.setdefault(key, [])
        if self._left <= 0 or len(patterns) >= _MAX_PATTERNS:
            return
        self._left -= 1
        self._unmatched += 1
        pattern = _pattern(item, elements, offset)
        if pattern is not None:
            patterns.insert(0, pattern)


def _pattern(item: bytes, elements: list[RawElement], offset: int) -> _Pattern | None:
    values: list[tuple[int, int]] = []  # start and length
    constants: list[bytes] = []
    layout = _layout(elements, offset, values, constants)
    if layout is None:
        return None
    form, end = ["<"], 0
    for start, length in values:
        form.append(f"{start - end}s{length}s")
        end = start + length
    form.append(f"{len(item) - end}s")
    unpack = struct.Struct("".join(form)).unpack_from
    return _Pattern(
        size=len(item),
        unpack=unpack,
        fixed=unpack(item)[::2],
        constants=tuple(constants),
        layout=_numbered(layout, len(values)),
        headers=_count(layout),
    )


def _layout(
    elements: list[RawElement], offset: int, values: list[tuple[int, int]], constants: list[bytes]
) -> Layout | None:
    """The layout of an item; None if a value was skipped. The index of a constant is negative, from -1."""
    layout: Layout = []
    for tag, vr, raw, start, length in elements:
        index = 0
        layouts: list[Layout] | None = None
        if raw is None:
            return None
        if isinstance(raw, Items):
            layouts = []
            for item in raw:
                inner = _layout(item, offset, values, constants)
                if inner is None:
                    return None
                layouts.append(inner)
        elif length == 0 or is_private_creator(tag):  # the creator decides the VR of its elements
            constants.append(raw)
            index = -len(constants)
        else:
            index = len(values)
            values.append((start - offset, length))
        layout.append((tag, vr, index, layouts, start - offset, length))
    return layout


def _count(layout: Layout) -> int:
    """The number of elements and items in an item, itself included."""
    return 1 + sum(1 + sum(map(_count, layouts or ())) for _, _, _, layouts, _, _ in layout)


def _numbered(layout: Layout, values: int) -> Layout:
    """The layout with the constants' indexes behind those of the values."""
    return [
        (
            tag,
            vr,
            index if index >= 0 else values - index - 1,
            None if layouts is None else [_numbered(inner, values) for inner in layouts],
            start,
            length,
        )
        for tag, vr, index, layouts, start, length in layout
    ]
