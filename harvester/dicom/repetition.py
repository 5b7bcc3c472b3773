"""Reads items that look like an earlier item at one stroke.

The items of a functional group sequence, one for each frame, repeat each other's structure: the same
tags, value representations and lengths at the same places, only the values differ. Once an item has
been walked, its structure is a pattern; an item whose bytes equal the pattern's everywhere but in the
values is, by the same rules, the same elements with other values. Comparing is C's work, walking ours.
"""

import struct
from typing import Any, Final, NamedTuple, TypeAlias

from harvester.dicom.dictionary import is_private_creator
from harvester.dicom.element import RawElement

FEWEST_ITEMS: Final = 4  # a shorter sequence is walked before a pattern could pay
_MOST_TRIED: Final = 16  # patterns for one item
_MOST_LEARNT: Final = 256  # in one header: where hardly anything repeats, learning costs more than walking

# Tag, value representation, which of the item's values it has, the items where it is a sequence, where
# its value starts, counted from the start of the item's content, and the value's length.
_Recipe: TypeAlias = "list[tuple[int, str, int, list[_Recipe] | None, int, int]]"


# An item that equals a pattern: its elements, the length of its content, and how many elements it has.
Repeated: TypeAlias = tuple[list[RawElement], int, int]


class _Pattern(NamedTuple):
    """The structure of an item's content: what is the same in each such item, and how it is read.

    `unpack` gives the fixed bytes and the values in turn; `constants` are values that are fixed, too.
    """

    size: int
    unpack: Any
    fixed: tuple[bytes, ...]
    constants: tuple[bytes, ...]
    recipe: _Recipe
    elements: int


class ItemPatterns:
    """The patterns of one header's items, learnt as they come."""

    __slots__ = ("_left", "_patterns")

    def __init__(self) -> None:
        self._patterns: dict[tuple[int, int, bool], list[_Pattern]] = {}
        self._left = _MOST_LEARNT

    def find(
        self, key: tuple[int, int, bool], buffer: bytes, start: int, within: int, base: int
    ) -> Repeated | None:
        """Read the item whose content starts at `buffer[start]` if it equals a pattern.

        Args:
            key: The sequence's tag, the item's length as written, and whether it is in implicit VR.
            buffer: The bytes.
            start: Where the item's content starts in them.
            within: Where the bytes that it may reach to end.
            base: The offset in the object of the buffer's start.
        """
        patterns = self._patterns.get(key)
        if patterns is None:
            return None
        for place, pattern in enumerate(patterns):
            if start + pattern.size > within:
                continue
            parts = pattern.unpack(buffer, start)
            if parts[::2] == pattern.fixed:
                if place:
                    patterns.insert(0, patterns.pop(place))
                values = parts[1::2] + pattern.constants
                return _build(pattern.recipe, values, base + start), pattern.size, pattern.elements
        return None

    def learn(
        self, key: tuple[int, int, bool], content: bytes, elements: list[RawElement], offset: int
    ) -> None:
        """Keep the structure of an item that was walked, if it can be a pattern.

        Args:
            key: As in `find`.
            content: The item's bytes, its delimitation included.
            elements: What the walk found in them.
            offset: Where the content starts in the object.
        """
        patterns = self._patterns.setdefault(key, [])
        if self._left <= 0 or len(patterns) >= _MOST_TRIED:
            return
        self._left -= 1
        pattern = _pattern(content, elements, offset)
        if pattern is not None:
            patterns.insert(0, pattern)


def _build(recipe: _Recipe, values: tuple[bytes, ...], at: int) -> list[RawElement]:
    return [
        (
            tag,
            vr,
            values[place] if items is None else [_build(item, values, at) for item in items],
            at + start,
            length,
        )
        for tag, vr, place, items, start, length in recipe
    ]


def _pattern(content: bytes, elements: list[RawElement], offset: int) -> _Pattern | None:
    values: _Places = []
    constants: list[bytes] = []
    recipe = _recipe(elements, offset, values, constants)
    if recipe is None:
        return None
    form, cursor = ["<"], 0
    for start, length in values:
        form.append(f"{start - cursor}s{length}s")
        cursor = start + length
    form.append(f"{len(content) - cursor}s")
    unpack = struct.Struct("".join(form)).unpack_from
    return _Pattern(
        size=len(content),
        unpack=unpack,
        fixed=unpack(content)[::2],
        constants=tuple(constants),
        recipe=[_numbered(element, len(values)) for element in recipe],
        elements=len(values) + len(constants),
    )


_Places: TypeAlias = list[tuple[int, int]]


def _recipe(
    elements: list[RawElement], offset: int, values: _Places, constants: list[bytes]
) -> "_Recipe | None":
    """How the elements are made again from the values; None where a value was not kept.

    A constant's place is negative until all values are counted: -1 is the first.
    """
    recipe: _Recipe = []
    for tag, vr, raw, start, length in elements:
        if raw is None:
            return None
        place, items = 0, None
        if isinstance(raw, list):
            items = [_recipe(item, offset, values, constants) for item in raw]
            if None in items:
                return None
        elif length == 0 or is_private_creator(tag):  # the creator decides what its elements are
            constants.append(raw)
            place = -len(constants)
        else:
            place = len(values)
            values.append((start - offset, length))
        recipe.append((tag, vr, place, items, start - offset, length))  # type: ignore[arg-type]
    return recipe


def _numbered(
    element: tuple[int, str, int, Any, int, int], values: int
) -> tuple[int, str, int, Any, int, int]:
    """The same with a constant's place behind the values'."""
    tag, vr, place, items, start, length = element
    if items is not None:
        items = [[_numbered(inner, values) for inner in item] for item in items]
    return tag, vr, place if place >= 0 else values - place - 1, items, start, length
