"""Reads items that look like an earlier item at one stroke.

The items of a functional group sequence, one for each frame, repeat each other's structure: the same
tags, value representations and lengths at the same places, only the values differ. Once an item has
been walked, its structure is a pattern; an item whose bytes equal the pattern's everywhere but in the
values is, by the same rules, the same elements with other values. Comparing is C's work, walking ours.
"""

import struct
from typing import Any, Final, NamedTuple, TypeAlias

from harvester.dicom.dictionary import is_private_creator
from harvester.dicom.element import Items, RawElement, Recipe, Run

FEWEST_ITEMS: Final = 4  # a shorter sequence is walked before a pattern could pay
_MOST_TRIED: Final = 16  # patterns for one item
_PATIENCE: Final = 4096  # attempts in vain, more than there were items that fit
_MOST_LEARNT: Final = 256  # in one header: where hardly anything repeats, learning costs more than walking

# The sequence's tag, the item's length as written, and whether it is in implicit VR.
_Key: TypeAlias = tuple[int, int, bool]
# Of values in an item: start and length.
_Places: TypeAlias = list[tuple[int, int]]


class _Pattern(NamedTuple):
    """The structure of an item, its header included: what is fixed in each such item, and how it is read.

    `unpack` gives the fixed bytes and the values in turn; `constants` are values that are fixed, too.
    `headers` counts the item and all elements and items in it.
    """

    size: int
    unpack: Any
    fixed: tuple[bytes, ...]
    constants: tuple[bytes, ...]
    recipe: Recipe
    headers: int


class ItemPatterns:
    """The patterns of one header's items, learnt as they come."""

    __slots__ = ("_in_vain", "_left", "_patterns")

    def __init__(self) -> None:
        self._patterns: dict[_Key, list[_Pattern]] = {}
        self._in_vain = 0
        self._left = _MOST_LEARNT

    def learn_no_more(self) -> None:
        """From here on, what an item is may depend on its values: only the patterns so far hold."""
        self._left = 0

    def find(self, key: _Key, buffer: bytes, start: int, within: int, base: int) -> tuple[Run, int] | None:
        """Read the item at `buffer[start]`, and those behind it, as long as they equal one pattern.

        Args:
            key: Which patterns could fit.
            buffer: The bytes.
            start: Where the item's header starts in them.
            within: Where the bytes that items may reach to end.
            base: The offset in the object of the buffer's start.

        Returns:
            The items, and how many elements and items they are; None if not even the first equals a pattern.
        """
        patterns = self._patterns.get(key)
        if patterns is None or self._in_vain > _PATIENCE:
            return None
        for place, pattern in enumerate(patterns):
            size, unpack, fixed, constants, recipe, headers = pattern
            position, last = start, within - size
            values = []
            while position <= last:
                pieces = unpack(buffer, position)
                if pieces[::2] != fixed:
                    break
                values.append(pieces[1::2] + constants)
                position += size
            if values:
                self._in_vain -= len(values)
                if place:
                    patterns.insert(0, patterns.pop(place))
                return Run(recipe, values, base + start, size), headers * len(values)
            self._in_vain += 1
        return None

    def learn(self, key: _Key, item: bytes, elements: list[RawElement], offset: int) -> None:
        """Keep the structure of an item that was walked, if it can be a pattern.

        Args:
            key: Which items could equal it.
            item: The item's bytes, its header and delimitation included.
            elements: What the walk found in them.
            offset: Where the item starts in the object.
        """
        patterns = self._patterns.setdefault(key, [])
        if self._left <= 0 or len(patterns) >= _MOST_TRIED:
            return
        self._left -= 1
        pattern = _pattern(item, elements, offset)
        if pattern is not None:
            patterns.insert(0, pattern)


def _pattern(item: bytes, elements: list[RawElement], offset: int) -> _Pattern | None:
    values: _Places = []
    constants: list[bytes] = []
    recipe = _recipe(elements, offset, values, constants)
    if recipe is None:
        return None
    form, cursor = ["<"], 0
    for start, length in values:
        form.append(f"{start - cursor}s{length}s")
        cursor = start + length
    form.append(f"{len(item) - cursor}s")
    unpack = struct.Struct("".join(form)).unpack_from
    return _Pattern(
        size=len(item),
        unpack=unpack,
        fixed=unpack(item)[::2],
        constants=tuple(constants),
        recipe=_numbered(recipe, len(values)),
        headers=_count(recipe),
    )


def _recipe(
    elements: list[RawElement], offset: int, values: _Places, constants: list[bytes]
) -> Recipe | None:
    """How the elements are made again from the values; None where a value was not kept.

    A constant's place is negative until all values are counted: -1 is the first.
    """
    recipe: Recipe = []
    for tag, vr, raw, start, length in elements:
        place = 0
        recipes: list[Recipe] | None = None
        if raw is None:
            return None
        if isinstance(raw, Items):
            recipes = []
            for item in raw:
                inner = _recipe(item, offset, values, constants)
                if inner is None:
                    return None
                recipes.append(inner)
        elif length == 0 or is_private_creator(tag):  # the creator decides what its elements are
            constants.append(raw)
            place = -len(constants)
        else:
            place = len(values)
            values.append((start - offset, length))
        recipe.append((tag, vr, place, recipes, start - offset, length))
    return recipe


def _count(recipe: Recipe) -> int:
    """An item and all elements and items in it."""
    return 1 + sum(1 + sum(map(_count, recipes or ())) for _, _, _, recipes, _, _ in recipe)


def _numbered(recipe: Recipe, values: int) -> Recipe:
    """The same with each constant's place behind the values'."""
    return [
        (
            tag,
            vr,
            place if place >= 0 else values - place - 1,
            None if recipes is None else [_numbered(inner, values) for inner in recipes],
            start,
            length,
        )
        for tag, vr, place, recipes, start, length in recipe
    ]
