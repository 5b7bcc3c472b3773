"""A data element as it was found, before anyone asks what its value means, and the items of a sequence."""

from collections.abc import Iterator
from typing import Any, Final, TypeAlias

# Tag, value representation, value, offset of the value in the object, length of the value in bytes.
# The value is the raw bytes (numbers in little endian, whatever the file's order), or None where they
# were not kept, or, for SQ, Items. A plain tuple, because a header of many frames has a million.
RawElement: TypeAlias = tuple[int, str, Any, int, int]

UNDEFINED_LENGTH: Final = 0xFFFFFFFF

# How the elements of an item are made from its values: tag, value representation, which value it is, the
# recipes of the items where it is a sequence, where its value starts, counted from the item's start, and
# the value's length.
Recipe: TypeAlias = list[tuple[int, str, int, "list[Recipe] | None", int, int]]


class Run:
    """Consecutive items of the same structure: what differs between them are their values.

    Attributes:
        recipe: How an item's elements are made from its values.
        values: Of each item, all its values.
        offset: Where the first item starts in the object.
        size: The length of each item, in bytes.
    """

    __slots__ = ("offset", "recipe", "size", "values")

    def __init__(self, recipe: Recipe, values: list[tuple[bytes, ...]], offset: int, size: int) -> None:
        self.recipe = recipe
        self.values = values
        self.offset = offset
        self.size = size

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[list[RawElement]]:
        at = self.offset
        for values in self.values:
            yield _made(self.recipe, values, at)
            at += self.size


class Items:
    """The items of a sequence, in order; each is a list of elements, made when it is asked for.

    Attributes:
        parts: Single items, and runs of items of the same structure.
    """

    __slots__ = ("parts",)

    def __init__(self) -> None:
        self.parts: list[list[RawElement] | Run] = []

    def __len__(self) -> int:
        return sum(len(part) if type(part) is Run else 1 for part in self.parts)

    def __iter__(self) -> Iterator[list[RawElement]]:
        for part in self.parts:
            if type(part) is Run:
                yield from part
            else:
                yield part  # type: ignore[misc]


def _made(recipe: Recipe, values: tuple[bytes, ...], at: int) -> list[RawElement]:
    return [
        (tag, vr, values[place] if items is None else _made_items(items, values, at), at + start, length)
        for tag, vr, place, items, start, length in recipe
    ]


def _made_items(recipes: list[Recipe], values: tuple[Any, ...], at: int) -> Items:
    items = Items()
    items.parts = [_made(recipe, values, at) for recipe in recipes]
    return items
