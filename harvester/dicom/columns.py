"""Builds Arrow columns straight from headers, one row for each.

There are no rows on the way: each attribute of each nesting level has one column, a Python list that
grows by one value a header (or an item) and becomes one Arrow array at the end. What makes it fast:

* Consecutive headers of a series share most of their raw values. Each column remembers what it made
  of the last few hundred raw values, so that a value seen before costs one look-up.
* A sequence's items are rows of the level below, whatever header they are from: a header of 3,000
  frames costs what 3,000 small headers do, not more.
* A header that lacks an attribute costs that attribute's column nothing; gaps are filled when the
  next value comes, or at the end.

What has no column goes to `OtherElements`, `bulk_data` or `invalid_elements`, so that every element of
a header is somewhere.
"""

import struct
from collections.abc import Iterable
from itertools import repeat
from typing import Any, Final

import pyarrow as pa

from harvester.dicom.budget import HeaderBudget
from harvester.dicom.charset import is_plain
from harvester.dicom.column_tree import Column, Level
from harvester.dicom.context import HeaderContext, in_order, name_of, private_creators
from harvester.dicom.dictionary import BINARY_VRS, SPECIFIC_CHARACTER_SET, Attribute, attribute
from harvester.dicom.element import Items, RawElement, Recipe, Run
from harvester.dicom.header import Header
from harvester.dicom.limits import ColumnLimits
from harvester.dicom.other_columns import REMEMBERED_LENGTH, OtherColumns, OtherEntry
from harvester.dicom.values import CHARACTER_SET_VRS, DECODERS, NUMBER_LETTERS, Decoder
from harvester.dicom.vr_conversion import decoder_for
from harvester.errors import HeaderLimitError

_REMEMBERED: Final = 512  # raw values a column
_LONG_RUN: Final = 4  # items, from which on it pays to go column by column
_UNSEEN: Final = object()
# DuckDB's cost of reading a nested column doubles with each level, and pyarrow opens no file with more
# than 32: what lies deeper goes to `OtherElements`.
_DEEPEST: Final = 20
_MANY_COLUMNS: Final = 10_000  # from which on they are finished
_LONG_PATHS: Final = 64 << 20  # characters
_MANY_ITEMS: Final = 4096  # after which cells are counted: fewer can't make too many
_NO_COLUMN: Final = Column()  # of private and unknown elements
_MOST_UNKNOWN: Final = 10_000  # tags without a column that are remembered to have none


class _OutOfOrderError(Exception):
    """A data set whose tags don't ascend: it is put in order and read again."""


class HeaderColumns:
    """The `instances` columns that follow from headers; `append` one after the other, then `finish`.

    Args:
        limits: What one header may take in them.
    """

    def __init__(self, limits: ColumnLimits | None = None) -> None:
        self._limits = limits or ColumnLimits()
        self._top = Level()
        self._surroundings = HeaderContext(HeaderBudget(self._limits))
        self._leftovers = OtherColumns(self._surroundings)
        # What the header at hand changed: values that were empty before it, and columns that were not there.
        self._opened: list[list[Any]] = []
        self._created: list[tuple[dict[int, Column], int]] = []
        self._width = 0
        self._path_length = 0
        # Cells when they were last counted; gaps that were filled and items that were added since.
        self._cells = self._gaps = self._items = 0

    @property
    def rows(self) -> int:
        """How many headers were appended since the last `finish`."""
        return self._top.rows

    @property
    def crowded(self) -> bool:
        """Whether it is time to finish: they take more memory than the headers' length tells."""
        return (
            self._width > _MANY_COLUMNS
            or self._path_length > _LONG_PATHS
            or self._cells > self._limits.cells // 4  # the next header may need the rest of them
        )

    def append(self, header: Header) -> None:
        """Add one header's row: all of it, or, if anything is raised, nothing.

        Raises:
            HeaderLimitError: The header would take far more memory in columns than it has bytes.
        """
        row = self._top.rows
        try:
            try:
                self._append(header.elements)
            except _OutOfOrderError:
                self._roll_back(row)
                self._append_in_order(header.elements)
            self._items += 1
            if self._items > _MANY_ITEMS:
                self._count_cells()
        except BaseException:
            self._roll_back(row)
            self._gaps, self._cells = 0, self._top.cells()
            self._top.forget_unknown(_NO_COLUMN, _MOST_UNKNOWN)
            raise
        self._opened.clear()
        self._created.clear()
        self._path_length += self._surroundings.tally.path_characters

    def finish(self) -> dict[str, pa.Array]:
        """All columns by name, and begin anew; what was remembered of raw values stays."""
        arrays = self._top.arrays() | self._leftovers.arrays()
        self._truncate(0)
        self._path_length = self._cells = self._gaps = 0
        if self._width > _MANY_COLUMNS:
            self._top, self._width = Level(), 0
        self._top.forget_unknown(_NO_COLUMN, _MOST_UNKNOWN)
        return arrays

    def _roll_back(self, row: int) -> None:
        self._truncate(row)
        for values in self._opened:
            values.clear()
        self._opened.clear()
        for columns, tag in self._created:
            del columns[tag]
        self._width -= len(self._created)
        self._created.clear()

    def _create(self, columns: dict[int, Column], tag: int) -> Column:
        """The column of a tag that had none at its level."""
        entry = attribute(tag)
        if entry is None:
            columns[tag] = _NO_COLUMN
            return _NO_COLUMN
        if len(self._created) >= self._limits.attributes:
            raise HeaderLimitError(
                f"more than {self._limits.attributes} different attributes, each at a place of its own"
            )
        column = columns[tag] = Column(entry)
        self._created.append((columns, tag))
        self._width += 1
        return column

    def _close_gap(self, values: list[Any], missing: int) -> None:
        """Fill the rows that lack the attribute."""
        if missing < 0:
            raise _OutOfOrderError  # the same tag twice
        if not values:
            self._opened.append(values)
        self._gaps += missing
        if self._gaps > self._limits.cells:
            raise self._too_many_cells()
        values.extend(repeat(None, missing))

    def _count_cells(self) -> None:
        """Count them by now and then: where the last items lack what the first ones had, nothing shows it."""
        self._items = self._gaps = 0
        self._cells = self._top.cells()
        if self._cells > self._limits.cells:
            raise self._too_many_cells()

    def _too_many_cells(self) -> HeaderLimitError:
        return HeaderLimitError(
            f"its columns would have more than {self._limits.cells} cells, most of them empty:"
            " too many items with too many different attributes"
        )

    def _truncate(self, rows: int) -> None:
        self._top.truncate(rows)
        self._leftovers.truncate(rows)

    def _append(self, elements: list[RawElement]) -> None:
        self._leftovers.start_row()
        self._surroundings.forget()
        self._fill(self._top, elements)

    def _append_in_order(self, elements: list[RawElement]) -> None:
        self._surroundings.forget()
        ordered, replaced = in_order(elements, self._surroundings)
        self._append(ordered)
        for path, element in replaced:
            self._leftovers.add_replaced(path, element, "repeated, the last one counts")

    def _fill(self, level: Level, elements: list[RawElement]) -> None:  # noqa: C901, PLR0912  no calls
        """Add one data set to its level. The hot path: each element of each header comes through here."""
        row = level.rows
        level.rows = row + 1
        columns = level.columns
        leftovers, creators = self._leftovers, None
        other_entries: dict[Any, OtherEntry] = {}
        for element in elements:
            tag, vr, raw, _, length = element
            column = columns.get(tag)
            if column is None:
                column = _NO_COLUMN if tag & 0x10000 else self._create(columns, tag)
            if vr is column.usual_vr:
                value = column.memo.get(raw, _UNSEEN)
                if value is _UNSEEN:
                    value = self._decoded(column, element)
                values = column.values
                missing = row - len(values)
                if missing:
                    self._close_gap(values, missing)
                values.append(value)
            elif vr == "SQ" and column.level is not None and len(self._surroundings.sequences) < _DEEPEST:
                values = column.values
                missing = row - len(values)
                if missing:
                    self._close_gap(values, missing)
                self._fill_items(column, column.level, raw, elements)
            elif column is _NO_COLUMN:
                if creators is None:
                    creators = private_creators(elements)
                    other_entries = leftovers.known()
                owner = creators.get(tag & 0xFFFF0000 | tag >> 8 & 0xFF)
                known = other_entries.get((tag, vr, raw, owner)) if length <= REMEMBERED_LENGTH else None
                if known is None or known[1]:
                    leftovers.add(element, elements, owner, known)
                else:
                    leftovers.add_known(known[0])
                    if level is not self._top:
                        self._surroundings.tally.path(known[0][0])
            else:
                self._put(column, row, element, elements)

    def _fill_items(self, column: Column, level: Level, items: Any, elements: list[RawElement]) -> None:
        """Add a sequence's items to the level below."""
        column.values.append(level.rows)
        keyword, surroundings = column.attribute.keyword, self._surroundings
        sequences, outside = surroundings.sequences, surroundings.character_set
        index = 0
        singles: Iterable[list[RawElement]]
        sequences.append((keyword, 0, elements))
        for part in items.parts:
            if type(part) is Run:
                if len(part) >= _LONG_RUN and self._fill_run(level, part):
                    index += len(part)
                    continue
                singles = part
            else:
                singles = (part,)
            for item in singles:
                if index:
                    sequences[-1] = (keyword, index, elements)
                self._fill(level, item)
                surroundings.character_set = outside  # PS3.5 7.5.3: an item's character set ends with it
                index += 1
        self._items += index
        sequences.pop()

    def _fill_run(self, level: Level, run: Run) -> bool:
        """Add items of one structure column by column; if that can't be done, nothing is added."""
        rows = level.rows
        values = list(zip(*run.values, strict=True))
        if self._fill_recipe(level, run.recipe, values, len(run)):
            return True
        level.truncate(rows)
        return False

    def _fill_recipe(self, level: Level, recipe: Recipe, values: list[tuple[bytes, ...]], count: int) -> bool:
        """Add `count` data sets with these values to a level; False where an element is not plain."""
        row = level.rows
        level.rows += count
        for tag, vr, place, recipes, _, _ in recipe:
            column = level.columns.get(tag)
            if column is None or len(column.values) > row:
                return False
            self._close_gap(column.values, row - len(column.values))
            if recipes is None:
                if vr is not column.usual_vr or not self._extend(column, values[place]):
                    return False
            elif column.level is None or len(recipes) != 1:
                return False
            else:
                start = column.level.rows
                column.values.extend(range(start, start + count))
                if not self._fill_recipe(column.level, recipes[0], values, count):
                    return False
        return True

    def _extend(self, column: Column, raws: tuple[bytes, ...]) -> bool:
        """Add values to a column; False, and none was added, where one is not valid."""
        memo, decode, many = column.memo, column.decode, column.attribute.many
        if raws[0] and column.usual_vr in NUMBER_LETTERS and decode is DECODERS[column.usual_vr]:
            return _extend_numbers(column.values, NUMBER_LETTERS[column.usual_vr], raws, many=many)
        try:
            column.values += [memo[raw] for raw in raws]
        except KeyError:
            distinct = {}
            try:
                for raw in set(raws):
                    values = self._surroundings.values(decode, column.usual_vr or "", raw)
                    if not many and len(values) > 1:
                        return False
                    distinct[raw] = values if many else values[0] if values else None
            except (ValueError, OverflowError):
                return False
            column.values += [distinct[raw] for raw in raws]
            if len(distinct) < _REMEMBERED // 2:
                for raw, value in distinct.items():
                    self._remember(column, raw, value)
        return True

    def _remember(self, column: Column, raw: bytes, value: Any) -> None:
        """Keep what was made of a raw value, if it is the same wherever it stands."""
        if len(raw) <= REMEMBERED_LENGTH and (column.usual_vr not in CHARACTER_SET_VRS or is_plain(raw)):
            if len(column.memo) >= _REMEMBERED:
                column.memo.clear()
            column.memo[raw] = value

    def _decoded(self, column: Column, element: RawElement) -> Any:
        """The column's value of an element in the column's usual VR, remembered if that is safe."""
        _, vr, raw, offset, length = element
        if raw is None:  # too long, it was hopped over
            self._leftovers.add_bulk(name_of(element[0]), vr, offset, length)
            return None
        value, valid = self._shaped(column.attribute, column.decode, element)
        if valid:
            self._remember(column, raw, value)
        return value

    def _shaped(self, entry: Attribute, decode: Decoder, element: RawElement) -> tuple[Any, bool]:
        """One value or a list, as the column wants it; else an entry in `invalid_elements` and NULL."""
        try:
            values = self._surroundings.values(decode, element[1], element[2])
        except (ValueError, OverflowError) as error:
            self._leftovers.add_invalid(element, str(error))
            return None, False
        if entry.many:
            return values, True
        if len(values) > 1:
            self._leftovers.add_invalid(element, f"{len(values)} values where {entry.keyword} has one")
            return None, False
        return (values[0] if values else None), True

    def _put(self, column: Column, row: int, element: RawElement, elements: list[RawElement]) -> None:
        """Put an element where it belongs when it is not a plain value in its column's usual VR."""
        tag, vr, raw, offset, length = element
        entry = column.attribute
        if entry.repeating or isinstance(raw, Items):
            known = self._leftovers.known().get((tag, vr, raw, None))
            self._leftovers.add(element, elements, None, known)
            if not entry.first or isinstance(raw, Items):
                return
        vr = self._surroundings.settled(vr, tag, elements)
        if vr in BINARY_VRS or raw is None or (column.type is None and column.level is None):
            if not entry.repeating:
                self._leftovers.add_bulk(entry.keyword, vr, offset, length)
        elif column.type is None:
            self._leftovers.add_invalid(element, f"{vr} where {entry.keyword} is a sequence")
        else:
            if tag == SPECIFIC_CHARACTER_SET:
                self._enter_character_set(raw, elements)
            elif column.usual_vr is None and vr == element[1] and not entry.repeating:
                column.usual_vr, column.decode = element[1], decoder_for(entry, vr)
            value, _ = self._shaped(entry, decoder_for(entry, vr), element)
            self._close_gap(column.values, row - len(column.values))
            column.values.append(value)

    def _enter_character_set(self, raw: bytes, elements: list[RawElement]) -> None:
        for tag, *_ in elements:
            if tag > SPECIFIC_CHARACTER_SET:
                raise _OutOfOrderError  # text before it was read without it
            if tag == SPECIFIC_CHARACTER_SET:
                break
        self._surroundings.enter_character_set(raw)


def _extend_numbers(values: list[Any], letter: str, raws: tuple[bytes, ...], *, many: bool) -> bool:
    """Add binary numbers, all of the same length, with one look at their bytes; False if one is not valid."""
    count, rest = divmod(len(raws[0]), struct.calcsize("<" + letter))
    if rest or (count > 1 and not many):
        return False
    numbers = struct.unpack(f"<{count * len(raws)}{letter}", b"".join(raws))
    values += map(list, zip(*[iter(numbers)] * count, strict=True)) if many else numbers
    return True
