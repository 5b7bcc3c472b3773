"""Builds Arrow columns from headers, one row a header.

Each attribute of each nesting level has one column, a Python list that grows by one value a header (or an
item) and becomes one Arrow array at the end. What makes it fast:

* Each column caches the decoded values of its last few hundred raw values: consecutive headers of a series
  have mostly the same.
* The items of a sequence are rows of the level below, whatever header they are from: a header of 3,000
  frames costs no more than 3,000 small headers.
* An attribute that a header lacks costs nothing; missing rows are filled when the next value comes.

What has no column goes to `OtherElements`, `bulk_data`, `invalid_elements` or `empty_elements`: every element
of a header is in one of them or in a column.
"""

from collections.abc import Iterable
from itertools import repeat
from typing import Any, Final

import pyarrow as pa

from harvester.dicom import header_limits
from harvester.dicom.column_tree import Column, Level, too_many_cells
from harvester.dicom.context import HeaderContext
from harvester.dicom.dictionary import (
    BINARY_VRS,
    SPECIFIC_CHARACTER_SET,
    Attribute,
    attribute,
    private_creators,
)
from harvester.dicom.element import Items, RawElement, Run
from harvester.dicom.element_order import OutOfOrderError, check_character_set_first, in_order
from harvester.dicom.header import Header
from harvester.dicom.header_limits import MAX_CACHED_VALUE_BYTES, MAX_COLUMN_DEPTH
from harvester.dicom.item_runs import ItemRuns
from harvester.dicom.long_lists import MIN_BYTES, LongLists
from harvester.dicom.other_columns import OtherColumns, OtherEntry
from harvester.dicom.values import Decoder, decode_counted
from harvester.dicom.vr_conversion import decoder_for, too_many
from harvester.errors import HeaderLimitError

_MIN_RUN: Final = 4  # items; a shorter run is added item by item
_NOT_CACHED: Final = object()
_INVALID: Final = object()
_NO_COLUMN: Final = Column()  # of private and unknown elements


class HeaderColumns:
    """The `instances` columns that follow from headers: `append` each header, then `finish`.

    Attributes:
        width: The number of columns at all levels.
        path_characters: The length of all nested paths since the last `finish`.
    """

    def __init__(self) -> None:
        self._top = Level()
        self._context = HeaderContext()
        self._other = OtherColumns(self._context)
        self._runs = ItemRuns(self._context, self._fill_missing)
        self._long_lists = LongLists()
        # What the current header changed: values that were empty before it, and columns that it added.
        self._opened: list[list[Any]] = []
        self._created: list[tuple[dict[int, Column], int]] = []
        self.width = 0
        self.path_characters = 0
        # Cells when they were last counted; rows that were filled and items that were added since.
        self._cells = self._filled = self._items = 0

    @property
    def rows(self) -> int:
        """The number of headers since the last `finish`."""
        return self._top.rows

    @property
    def crowded(self) -> bool:
        """Whether to finish now, because the columns take more memory than the headers' length suggests."""
        return (
            self.width > header_limits.MAX_COLUMNS
            or self.path_characters > header_limits.MAX_PATH_CHARACTERS
            or self._cells > header_limits.MAX_CELLS // 4  # the next header may need the rest of them
        )

    def append(self, header: Header) -> None:
        """Add one header's row: all of it, or nothing if anything is raised.

        Raises:
            HeaderLimitError: The header would take far more memory or time than its length suggests.
        """
        row = self._top.rows
        elements = list(header.elements)
        try:
            self._append_in_any_order(elements)
            if not self._long_lists.decode():
                self._roll_back(row)
                self._long_lists.enabled = False
                self._append_in_any_order(elements)
            for path, vr, reason in header.irregularities:
                self._other.add_irregularity(path, vr, reason)
            self._items += 1
            if self._items > header_limits.COUNT_CELLS_AFTER:
                self._count_cells()
        except BaseException:
            self._roll_back(row)
            self._filled, self._cells = 0, self._top.cells()
            self._top.drop_unknown(_NO_COLUMN)
            raise
        finally:
            self._long_lists.enabled = True
        self._opened.clear()
        self._created.clear()
        self.path_characters += self._context.budget.path_characters

    def finish(self) -> dict[str, pa.Array]:
        """All columns by name; the next header begins new ones. Cached values stay."""
        arrays = self._top.arrays() | self._other.arrays()
        self._truncate(0)
        self.path_characters = self._cells = self._filled = 0
        if self.width > header_limits.MAX_COLUMNS:
            self._top, self.width = Level(), 0
        self._top.drop_unknown(_NO_COLUMN)
        return arrays

    def _roll_back(self, row: int) -> None:
        self._truncate(row)
        for values in self._opened:
            values.clear()
        self._opened.clear()
        for columns, tag in self._created:
            del columns[tag]
        self.width -= len(self._created)
        self._created.clear()

    def _create(self, columns: dict[int, Column], tag: int) -> Column:
        """The column of a tag that is new at its level."""
        entry = attribute(tag)
        if entry is None:
            columns[tag] = _NO_COLUMN
            return _NO_COLUMN
        if len(self._created) >= header_limits.MAX_ATTRIBUTES:
            raise HeaderLimitError(
                f"more than {header_limits.MAX_ATTRIBUTES} different attributes, each at a place of its own"
            )
        column = columns[tag] = Column(entry)
        self._created.append((columns, tag))
        self.width += 1
        return column

    def _fill_missing(self, column: Column, row: int) -> None:
        """Fill the rows before `row`, which lack the attribute."""
        values = column.values
        missing = row - len(values)
        if missing < 0:
            raise OutOfOrderError  # the tag occurs twice
        if not values:
            self._opened.append(values)
        self._filled += missing
        if self._filled > header_limits.MAX_CELLS:
            raise too_many_cells()
        values.extend(repeat(None, missing))

    def _count_cells(self) -> None:
        """Count the cells from time to time: those missing at the end of a column were never filled."""
        self._items = self._filled = 0
        self._cells = self._top.cells()
        if self._cells > header_limits.MAX_CELLS:
            raise too_many_cells()

    def _truncate(self, rows: int) -> None:
        self._top.truncate(rows)
        self._other.truncate(rows)

    def _append_in_any_order(self, elements: list[RawElement]) -> None:
        row = self._top.rows
        try:
            self._append(elements)
        except OutOfOrderError:
            self._roll_back(row)
            self._append_in_order(elements)

    def _append(self, elements: list[RawElement]) -> None:
        self._other.start_row()
        self._context.reset()
        self._long_lists.clear()
        self._fill(self._top, elements)
        self._other.end_row()

    def _append_in_order(self, elements: list[RawElement]) -> None:
        self._context.reset()
        ordered, replaced = in_order(elements, self._context.budget)
        self._append(ordered)
        for path, element in replaced:
            self._other.add_replaced(path, element, "repeated, the last one counts")

    # The hot path: every element of every header passes through here, hence few calls.
    def _fill(self, level: Level, elements: list[RawElement]) -> None:  # noqa: C901, PLR0912
        """Add one data set to its level."""
        row = level.rows
        level.rows = row + 1
        columns = level.columns
        other, creators = self._other, None
        entries: dict[Any, OtherEntry] = {}
        last = -1  # of the elements without a column: those with one are checked by their columns
        for element in elements:
            tag, vr, raw, _, length = element
            column = columns.get(tag)
            if column is None:
                column = _NO_COLUMN if tag & 0x10000 else self._create(columns, tag)
            if vr is column.usual_vr:
                value = column.cache.get(raw, _NOT_CACHED)
                if value is _NOT_CACHED:  # an empty one never is
                    value = self._decoded(column, element)
                values = column.values
                if len(values) != row:
                    self._fill_missing(column, row)
                values.append(value)
            elif vr == "SQ" and column.level is not None and len(self._context.sequences) < MAX_COLUMN_DEPTH:
                if len(column.values) != row:
                    self._fill_missing(column, row)
                self._fill_items(column, column.level, raw, elements)
            elif column is _NO_COLUMN:
                if tag <= last:
                    raise OutOfOrderError
                last = tag
                if creators is None:
                    creators = private_creators(elements)
                    entries = other.known()
                creator = creators.get(tag & 0xFFFF0000 | tag >> 8 & 0xFF)
                known = entries.get((tag, vr, raw, creator)) if length <= MAX_CACHED_VALUE_BYTES else None
                if known is None or known[1]:
                    other.add(element, elements, creator, known)
                else:
                    other.add_known(known[0])
                    if level is not self._top:
                        self._context.budget.path(known[0][0])
            else:
                self._put(column, row, element, elements)

    def _fill_items(self, column: Column, level: Level, items: Any, elements: list[RawElement]) -> None:
        """Add the items of a sequence to the level below."""
        column.values.append(level.rows)
        keyword, context = column.attribute.keyword, self._context
        if not items.parts:
            self._other.add_empty(keyword)
            return
        sequences, outer_set = context.sequences, context.character_set
        index = 0
        singles: Iterable[list[RawElement]]
        sequences.append((keyword, 0, elements))
        for part in items.parts:
            if type(part) is Run:
                empty = self._runs.add(level, part) if len(part) >= _MIN_RUN else None
                if empty is not None:
                    if empty:
                        sequences.pop()
                        self._other.add_empty_run(keyword, range(index, index + len(part)), empty)
                        sequences.append((keyword, index, elements))
                    index += len(part)
                    continue
                singles = part
            else:
                singles = (part,)
            for item in singles:
                if index:
                    sequences[-1] = (keyword, index, elements)
                self._fill(level, item)
                context.character_set = outer_set  # PS3.5 7.5.3: an item's character set ends with it
                index += 1
        self._items += index
        sequences.pop()

    def _decoded(self, column: Column, element: RawElement) -> Any:
        """The column's value of an element in the column's usual VR, cached if it depends on nothing else."""
        _, vr, raw, offset, length = element
        keyword = column.attribute.keyword
        if raw is None:  # it was skipped, or is fragments
            self._other.add_bulk(keyword, vr, offset, length)
            if not length:
                self._other.add_empty(keyword)
            return None
        if not length:
            self._other.add_empty(keyword)
            return column.empty
        if length >= MIN_BYTES and (numbers := self._long_lists.take(column, raw)) is not None:
            return numbers
        value = self._value(column.attribute, column.decode, element)
        if value is _INVALID:
            return None
        if value is None or value == []:  # blanks alone
            self._other.add_empty(keyword)
        else:
            column.keep(raw, value)
        return value

    def _value(self, entry: Attribute, decode: Decoder, element: RawElement) -> Any:
        """One value or a list, by the column's type; an entry in `invalid_elements` if it is invalid."""
        try:
            values = decode_counted(decode, element[1], element[2], self._context)
        except (ValueError, OverflowError) as error:
            self._other.add_invalid(element, str(error))
            return _INVALID
        if entry.many:
            return values
        if len(values) > 1:
            self._other.add_invalid(element, too_many(entry, len(values)))
            return _INVALID
        return values[0] if values else None

    def _put(self, column: Column, row: int, element: RawElement, elements: list[RawElement]) -> None:
        """Add an element that is not a plain value in its column's usual VR."""
        tag, vr, raw, offset, length = element
        entry = column.attribute
        if entry.repeating or isinstance(raw, Items):
            known = self._other.known().get((tag, vr, raw, None))
            self._other.add(element, elements, None, known)
            if not entry.first or isinstance(raw, Items):
                return
        vr = self._context.definite_vr(vr, tag, elements)
        if vr in BINARY_VRS or raw is None or (column.type is None and column.level is None):
            if not entry.repeating:
                self._other.add_bulk(entry.keyword, vr, offset, length)
                if not length:
                    self._other.add_empty(entry.keyword)
        elif column.type is None:
            self._other.add_invalid(element, f"{vr} where {entry.keyword} is a sequence")
        else:
            if tag == SPECIFIC_CHARACTER_SET:
                check_character_set_first(elements)
                self._context.enter_character_set(raw)
            elif column.usual_vr is None and vr == element[1] and not entry.repeating:
                column.usual_vr, column.decode = element[1], decoder_for(entry, vr)
            value = self._value(entry, decoder_for(entry, vr), element) if length else column.empty
            if not entry.repeating and (value is None or value == []):
                self._other.add_empty(entry.keyword)
            self._fill_missing(column, row)
            column.values.append(None if value is _INVALID else value)
