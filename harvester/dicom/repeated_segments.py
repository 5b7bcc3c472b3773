"""Adds the elements that headers of a series share to the columns, for many rows at once.

What a segment adds to a row is recorded once it was used several times. Of consecutive rows all but the
first are only counted; their cells are filled when one of the columns gets another value, or at the end.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
from typing import Any, Final, NamedTuple

from harvester.dicom.charset import is_plain
from harvester.dicom.column_tree import Column, Level
from harvester.dicom.dictionary import (
    BINARY_VRS,
    NUMBER_VRS,
    SPECIFIC_CHARACTER_SET,
    creator_tag,
    is_private_creator,
)
from harvester.dicom.element import Items, RawElement
from harvester.dicom.element_cache import Segment
from harvester.dicom.element_order import OutOfOrderError
from harvester.dicom.long_lists import MIN_BYTES
from harvester.dicom.other_columns import OtherColumns

MAX_REPEATED: Final = 1024  # segments
MAX_REPEATED_SIZE: Final = 2 << 20  # of all of them: bytes, cells, and characters of paths
_NO_ROW: Final = -1


class _ItemRows(NamedTuple):
    """The rows that a segment adds to a level: how many, their cells, and the rows below them."""

    level: Level
    number: int
    cells: list[tuple[Column, list[Any]]]
    sequences: list[tuple[Column, list[int | None], "_ItemRows"]]


class RepeatedSegment:
    """What one segment adds to a row, and the rows whose cells are still to be filled.

    Attributes:
        columns: The columns of the top level that it has a cell of.
        other: Its entries in `OtherElements`.
        empty: Its entries in `empty_elements`.
        creators: The private creators outside of the segment that its entries name, by their tags.
        first: The lowest tag of its private elements; None: it has none.
        last: The highest one.
        work: What it takes of a header's budget.
        path_characters: The same, of paths.
        items: How many items it has, at all levels.
        stop: The row behind the last one that has the segment.
        counting: Whether that row is only counted.
    """

    __slots__ = (
        *("_cells", "_sequences", "_start", "columns", "counting", "creators", "empty", "first", "items"),
        *("last", "other", "path_characters", "stop", "work"),
    )

    def __init__(self, private: Sequence[int], creators: dict[int, str]) -> None:
        self.columns: list[Column] = []
        self.other: list[tuple[Any, ...]] = []
        self.empty: list[str] = []
        self.first = private[0] if private else None
        self.last = private[-1] if private else 0
        needed = {creator_tag(tag) for tag in private if not is_private_creator(tag)}
        self.creators = {tag: creators.get(tag) for tag in needed.difference(private)}
        self.work = self.path_characters = self.items = 0
        self._cells: list[tuple[Column, Any]] = []
        self._sequences: list[tuple[Column, _ItemRows]] = []
        self._start = self.stop = _NO_ROW
        self.counting = False

    @property
    def size(self) -> int:
        """About how much memory it takes: cells, entries and characters of paths."""
        cells = sum(number for *_, number in self.cells())
        return len(self._cells) + cells + self.path_characters + len(self.other) + len(self.empty)

    def add_cell(self, column: Column, value: Any, rows_before: dict[Level, int]) -> None:
        """Record the value that the segment adds to a column; for a sequence, the rows below."""
        self.columns.append(column)
        if column.level is None:
            self._cells.append((column, value))
        else:
            rows = _recorded(column.level, rows_before)
            self._sequences.append((column, rows))
            self.items += _items(rows)

    def add(self, row: int) -> None:
        """Fill the cells of a row, which are the next ones in all of its columns."""
        self.stop = row + 1
        self.counting = False
        for column, value in self._cells:
            column.values.append(value)
        if self._sequences:
            self._extend_items(1)

    def begin(self, row: int) -> None:
        """Count a row, whose cells are the next ones in all of its columns."""
        self._start, self.stop = row, row + 1
        self.counting = True
        for column in self.columns:
            column.counted = self

    def cells(self) -> Iterator[tuple[Column, Level, int]]:
        """The columns of its items, with their levels, and how many cells it adds to each."""
        below = [rows for _, rows in self._sequences]
        while below:
            rows = below.pop()
            columns = [column for column, _ in rows.cells] + [column for column, *_ in rows.sequences]
            for column in columns:
                yield column, rows.level, rows.number
            below += [one[2] for one in rows.sequences]

    def truncate(self, rows: int) -> None:
        """Count no row from `rows` on."""
        self.stop = max(self._start, min(self.stop, rows))

    def fill(self) -> None:
        """Fill the cells of the rows that are counted."""
        for column in self.columns:
            column.counted = None
        count = self.stop - self._start
        for column, value in self._cells:
            column.values.extend(repeat(value, count))
        self._extend_items(count)
        self._start = self.stop = _NO_ROW
        self.counting = False

    def _extend_items(self, count: int) -> None:
        for column, rows in self._sequences:
            column.values.extend(_starts([0], rows, count))
            _add_rows(rows, count)


class SegmentRows:
    """Adds segments to the last row of the top level.

    Args:
        top: The top level.
        other: The other columns.
        fill_elements: Adds a part of the elements of a data set to a level's last row (`HeaderColumns`).
        fill_missing: Fills the cells of a column before a row.

    Attributes:
        items: How many items were added by repeating; to be set to 0 by the reader.
    """

    def __init__(
        self,
        top: Level,
        other: OtherColumns,
        fill_elements: Callable[[Level, list[RawElement], list[RawElement], int], int],
        fill_missing: Callable[[Column, int], None],
    ) -> None:
        self.items = 0
        self._top = top
        self._other = other
        self._fill_elements = fill_elements
        self._fill_missing = fill_missing
        # None: what the segment adds is not the same in each header.
        self._known: dict[Segment, RepeatedSegment | None] = {}
        self._size = 0  # of those that are known
        self._recorded: list[Segment] = []  # at the row, or before the columns were finished
        self._recorded_row = _NO_ROW

    def add(self, segment: Segment, elements: list[RawElement], part: list[RawElement], last: int) -> int:
        """Add a segment of a header.

        Args:
            segment: The segment.
            elements: All elements of the header.
            part: Those of the segment.
            last: The last tag before it that has no column.

        Returns:
            The last tag without a column.

        Raises:
            OutOfOrderError: A tag is there twice, or the tags do not ascend.
        """
        repeated = self._known.get(segment)
        if repeated is None or (repeated.creators and not self._has_creators(repeated, elements)):
            return self._add_elements(segment, elements, part, last)
        row = self._top.rows - 1
        if repeated.first is not None:
            if repeated.first <= last:
                raise OutOfOrderError
            last = repeated.last
        if repeated.counting and repeated.stop == row:
            repeated.stop = row + 1
        else:
            self._add_row(repeated, row)
        if repeated.other or repeated.empty:
            self._other.add_again(repeated.other, repeated.empty)
        if repeated.work or repeated.path_characters:
            self._other.budget.again(repeated.work, repeated.path_characters)
        self.items += repeated.items
        return last

    def _add_row(self, repeated: RepeatedSegment, row: int) -> None:
        for column in repeated.columns:
            if len(column.values) != row or column.counted is not None:
                self._fill_missing(column, row)
        if repeated.items:
            for column, level, _ in repeated.cells():
                self._fill_missing(column, level.rows)
        if repeated.stop == row:
            repeated.begin(row)
        else:  # the headers of two series may alternate: then counting costs more
            repeated.add(row)

    def fill(self, rows: int) -> None:
        """Fill the cells of the rows before `rows`, and count no others."""
        for column in self._top.columns.values():
            if column.counted is not None:
                column.counted.truncate(rows)
                column.counted.fill()

    def roll_back(self, row: int) -> None:
        """Fill the cells of the rows before `row`, and forget what was recorded from that row on."""
        self.fill(row)
        if self._recorded_row == row:
            for segment in self._recorded:
                self._known.pop(segment, None)
            self._recorded.clear()

    def _has_creators(self, repeated: RepeatedSegment, elements: list[RawElement]) -> bool:
        creators = self._other.creators(elements)
        return all(creators.get(tag) == creator for tag, creator in repeated.creators.items())

    def _add_elements(
        self, segment: Segment, elements: list[RawElement], part: list[RawElement], last: int
    ) -> int:
        """Add the elements of a segment, and record what that adds if it is the same in other headers."""
        if segment in self._known:
            return self._fill_elements(self._top, elements, part, last)
        if not _is_repeatable(part):
            self._record(segment, None)
            return self._fill_elements(self._top, elements, part, last)
        columns = self._columns_of(part)
        if columns is None:
            return self._fill_elements(self._top, elements, part, last)
        for column in columns:
            self._fill_missing(column, self._top.rows - 1)
        recording = _Recording(columns, self._other)
        last = self._fill_elements(self._top, elements, part, last)
        if recording.is_complete:
            self._record(segment, recording.repeated(part, elements, self._top.rows))
        return last

    def _columns_of(self, part: list[RawElement]) -> list[Column] | None:
        """The columns of elements that are not private; None if one of these has no cell in its column."""
        columns = []
        for tag, _, raw, _, _ in part:
            if not tag & 0x10000:
                column = self._top.columns.get(tag)
                if column is None or not column.attribute.first:
                    return None
                if column.level is None if isinstance(raw, Items) else column.type is None:
                    return None
                columns.append(column)
        return columns

    def _record(self, segment: Segment, repeated: RepeatedSegment | None) -> None:
        row = self._top.rows - 1
        size = len(segment.content) + (0 if repeated is None else repeated.size)
        if len(self._known) >= MAX_REPEATED or self._size + size > MAX_REPEATED_SIZE:
            self.fill(row + 1)
            self._known.clear()
            self._size = 0
        if self._recorded_row != row:
            self._recorded.clear()
            self._recorded_row = row
        self._recorded.append(segment)
        self._known[segment] = repeated
        self._size += size


class _Recording:
    """Finds what a segment adds to a row: made before it is added, `repeated` called after that.

    Args:
        columns: The columns of its elements, all cells filled.
        other: The other columns.
    """

    def __init__(self, columns: list[Column], other: OtherColumns) -> None:
        self._columns = columns
        self._other = other
        self._lengths = other.lengths()
        self._work, self._path_characters = other.budget.work, other.budget.path_characters
        self._rows: dict[Level, int] = {}
        for column in columns:
            _note_rows(column.level, self._rows)
        self._width = self._count_columns()

    @property
    def is_complete(self) -> bool:
        """Whether no column was new."""
        return self._width == self._count_columns()

    def repeated(
        self, segment: list[RawElement], elements: list[RawElement], rows: int
    ) -> RepeatedSegment | None:
        """What the segment added to the header's row; None if it would not be the same in another header.

        Args:
            segment: Its elements.
            elements: All elements of the header.
            rows: How many rows the top level has.
        """
        added = self._other.added_since(self._lengths)
        if added is None or any(len(column.values) != rows for column in self._columns):
            return None
        private = [tag for tag, *_ in segment if tag & 0x10000]
        repeated = RepeatedSegment(private, self._other.creators(elements) if private else {})
        repeated.other, repeated.empty = added
        repeated.work = self._other.budget.work - self._work
        repeated.path_characters = self._other.budget.path_characters - self._path_characters
        for column in self._columns:
            repeated.add_cell(column, column.values[-1], self._rows)
        return repeated

    def _count_columns(self) -> int:
        return sum(len(level.columns) for level in self._rows)


def _is_repeatable(elements: Iterable[RawElement]) -> bool:
    """Whether what elements add to a row depends on their bytes and on private creators alone."""
    for tag, vr, raw, _, length in elements:
        if isinstance(raw, Items):
            if tag & 0x10000 or not all(type(part) is list and _is_repeatable(part) for part in raw.parts):
                return False
        elif (
            raw is None
            or vr == "SQ"
            or len(vr) > 2  # ambiguous
            or vr in BINARY_VRS
            or length >= MIN_BYTES
            or tag == SPECIFIC_CHARACTER_SET
            or not (vr in NUMBER_VRS or is_plain(raw))  # the attribute's VR may be another
        ):
            return False
    return True


def _note_rows(level: Level | None, rows: dict[Level, int]) -> None:
    if level is not None:
        rows[level] = level.rows
        for column in level.columns.values():
            _note_rows(column.level, rows)


def _recorded(level: Level, rows_before: dict[Level, int]) -> _ItemRows:
    before = rows_before[level]
    rows = _ItemRows(level, level.rows - before, [], [])
    for column in level.columns.values():
        added = column.values[before:]
        if not added:
            continue
        added += repeat(None, rows.number - len(added))
        if column.level is None:
            rows.cells.append((column, added))
        else:
            first = rows_before[column.level]
            starts = [None if start is None else start - first for start in added]
            rows.sequences.append((column, starts, _recorded(column.level, rows_before)))
    return rows


def _items(rows: _ItemRows) -> int:
    return rows.number + sum(_items(below) for _, _, below in rows.sequences)


def _starts(starts: Sequence[int | None], below: _ItemRows, count: int) -> Iterator[int | None]:
    """The rows of the level below at which items start, for `count` times the same items."""
    base = below.level.rows
    for _ in range(count):
        for start in starts:
            yield None if start is None else base + start
        base += below.number


def _add_rows(rows: _ItemRows, count: int) -> None:
    """Add the same rows `count` times to their level."""
    before = rows.level.rows
    for column, values in rows.cells:
        column.values.extend(repeat(None, before - len(column.values)))
        column.values.extend(values * count)
    for column, starts, below in rows.sequences:
        column.values.extend(repeat(None, before - len(column.values)))
        column.values.extend(_starts(starts, below, count))
        _add_rows(below, count)
    rows.level.rows += rows.number * count
