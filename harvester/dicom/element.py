"""A data element as it lies in the object, and the items of a sequence."""

from collections.abc import Iterator
from typing import Any, Final, TypeAlias

# Tag, value representation, value, offset of the value in the object, length of the value in bytes.
# The value is the raw bytes (numbers in little endian, whatever the object's byte order), None if it was
# skipped, or Items for SQ. A plain tuple, because the header of a large object has a million.
RawElement: TypeAlias = tuple[int, str, Any, int, int]

UNDEFINED_LENGTH: Final = 0xFFFFFFFF

# The elements of an item without their values: tag, value representation, index of the value, the layouts
# of the items of a sequence, offset of the value from the item's start, length of the value.
Layout: TypeAlias = list[tuple[int, str, int, "list[Layout] | None", int, int]]


class Run:
    """Consecutive items of one layout, of which only the values are stored.

    Attributes:
        layout: The elements of each item.
        values: For each item, all its values.
        offset: Where the first item starts in the object.
        size: The length of each item in bytes.
    """

    __slots__ = ("layout", "offset", "size", "values")

    def __init__(self, layout: Layout, values: list[tuple[bytes, ...]], offset: int, size: int) -> None:
        self.layout = layout
        self.values = values
        self.offset = offset
        self.size = size

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[list[RawElement]]:
        offset = self.offset
        for values in self.values:
            yield _elements(self.layout, values, offset)
            offset += self.size


class Items:
    """The items of a sequence, in order; each is a list of elements.

    Attributes:
        parts: Single items, and runs of items of one layout.
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


def _elements(layout: Layout, values: tuple[bytes, ...], offset: int) -> list[RawElement]:
    return [
        (tag, vr, values[index] if items is None else _items(items, values, offset), offset + start, length)
        for tag, vr, index, items, start, length in layout
    ]


def _items(layouts: list[Layout], values: tuple[Any, ...], offset: int) -> Items:
    items = Items()
    items.parts = [_elements(layout, values, offset) for layout in layouts]
    return items
