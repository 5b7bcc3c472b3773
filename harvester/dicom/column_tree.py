"""The columns of each nesting level: Python lists that grow by one value an item and become Arrow arrays."""

from array import array
from itertools import repeat
from typing import Any, Final

import pyarrow as pa

from harvester.dicom import header_limits
from harvester.dicom.charset import CharacterSet, is_plain
from harvester.dicom.dictionary import NO_ATTRIBUTE, NUMBER_VRS, Attribute
from harvester.dicom.schema import column_type
from harvester.dicom.values import Decoder, Values
from harvester.errors import HeaderLimitError

# The field of an item type whose items were all empty, because Parquet has no struct without a field: this
# attribute may be in any item (PS3.5 7.5.3).
_ANY_ITEM: Final = "SpecificCharacterSet"
# The letters of C arrays with the same bytes.
_NUMBER_LETTERS: Final = {pa.float64(): "d", pa.int64(): "q", pa.uint64(): "Q"}


class Column:
    """One attribute at one level.

    Attributes:
        attribute: The dictionary's entry.
        type: The Arrow type; None if the attribute's values are binary or items.
        values: One for each row so far, or fewer: rows without the attribute are filled when the next value
            comes. For a sequence, the row of the level below at which its items start.
        level: The items' columns; None if the attribute is not a sequence.
        usual_vr: The value representation that `decode` is for; None before the first value.
        decode: The decoder.
        empty: The value of an element without a value: None, or an empty list.
        cache: The decoded values of the last few hundred raw values.
    """

    __slots__ = ("attribute", "cache", "decode", "empty", "level", "type", "usual_vr", "values")

    def __init__(self, entry: Attribute = NO_ATTRIBUTE) -> None:
        self.attribute = entry
        self.type = column_type(entry)
        self.values: list[Any] = []
        self.level = Level() if entry.vr == "SQ" else None
        self.usual_vr: str | None = None
        self.decode: Decoder = _refuse
        self.empty: list[Any] | None = [] if entry.many else None
        self.cache: dict[Any, Any] = {}

    def keep(self, raw: bytes, value: Any) -> None:
        """Cache a decoded value if it does not depend on the character set."""
        if len(raw) <= header_limits.MAX_CACHED_VALUE_BYTES and (
            self.usual_vr in NUMBER_VRS or is_plain(raw)
        ):
            if len(self.cache) >= header_limits.MAX_CACHED_VALUES:
                self.cache.clear()
            self.cache[raw] = value


def _refuse(_raw: bytes, _character_set: CharacterSet) -> Values:
    raise ValueError("a column without a usual value representation decodes nothing")


class Level:
    """The data sets of one nesting level: the headers, or all items of one sequence."""

    __slots__ = ("columns", "rows")

    def __init__(self) -> None:
        self.rows = 0
        self.columns: dict[int, Column] = {}

    def truncate(self, rows: int) -> None:
        """Remove all rows from `rows` on."""
        self.rows = min(self.rows, rows)
        for column in self.columns.values():
            if column.level is not None:
                start = next((start for start in column.values[rows:] if start is not None), None)
                if start is not None:
                    column.level.truncate(start)
            del column.values[rows:]

    def drop_unknown(self, unknown: Column) -> None:
        """Drop the tags that map to `unknown` if a hostile file made them many."""
        tags = [tag for tag, column in self.columns.items() if column is unknown]
        if len(tags) > header_limits.MAX_UNKNOWN_TAGS:
            for tag in tags:
                del self.columns[tag]
        for column in self.columns.values():
            if column.level is not None:
                column.level.drop_unknown(unknown)

    def arrays(self) -> dict[str, pa.Array]:
        """The columns that have values, by keyword in the order of their tags.

        The values are removed, but not where the items of sequences start: `truncate` needs that.
        """
        arrays = {}
        for tag in sorted(self.columns):
            column = self.columns[tag]
            if not column.values:
                continue
            if column.level is not None:
                arrays[column.attribute.keyword] = _sequence_array(column.values, column.level, self.rows)
            elif column.type is not None:
                column.values.extend(repeat(None, self.rows - len(column.values)))
                has_long_lists = column.attribute.many and array in map(type, column.values)
                to_array = _number_lists if has_long_lists else pa.array
                arrays[column.attribute.keyword] = to_array(column.values, column.type)
                column.values.clear()  # now, so that only one column is in memory twice
        return arrays

    def cells(self) -> int:
        """The number of cells, filled or empty, of this level and those below it."""
        cells = 0
        for column in self.columns.values():
            if column.values:
                cells += self.rows
                if column.level is not None:
                    cells += column.level.cells()
        return cells


def _number_lists(values: list[Any], of_type: pa.ListType) -> pa.Array:
    """Lists of numbers as an Arrow array; the long ones are copied as they are, not number by number."""
    numbers = array(_NUMBER_LETTERS[of_type.value_type])
    offsets: list[int | None] = []
    try:
        for value in values:
            offsets.append(None if value is None else len(numbers))
            if type(value) is array and value.typecode == numbers.typecode:
                numbers.extend(value)
            elif value:
                numbers.extend(iter(value))
    except TypeError:  # an empty value in a list
        return pa.array(values, of_type)
    flat = pa.Array.from_buffers(of_type.value_type, len(numbers), [None, pa.py_buffer(numbers)])
    return pa.ListArray.from_arrays(pa.array([*offsets, len(numbers)], pa.int32()), flat, type=of_type)


def _sequence_array(starts: list[int | None], items: Level, rows: int) -> pa.ListArray:
    fields = items.arrays() or {_ANY_ITEM: pa.nulls(items.rows, pa.list_(pa.string()))}
    structs = pa.StructArray.from_arrays(list(fields.values()), list(fields))
    offsets = [*starts, *repeat(None, rows - len(starts)), items.rows]
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), structs)


def too_many_cells() -> HeaderLimitError:
    """The error of a header whose columns would have too many cells."""
    return HeaderLimitError(
        f"its columns would have more than {header_limits.MAX_CELLS} cells, most of them empty:"
        " too many items with too many different attributes"
    )
