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

from itertools import repeat
from typing import Any, Final

import pyarrow as pa

from harvester.dicom.conversion import as_texts, decoder_for
from harvester.dicom.dictionary import (
    BINARY_VRS,
    LUT_DATA,
    LUT_DESCRIPTOR,
    PIXEL_REPRESENTATION,
    SPECIFIC_CHARACTER_SET,
    Attribute,
    attribute,
    creator_tag,
    is_private_creator,
)
from harvester.dicom.header import Header
from harvester.dicom.leftovers import ListOfStructs
from harvester.dicom.schema import BULK_DATA, INVALID_ELEMENT, OTHER_ELEMENT, column_type
from harvester.dicom.text import DEFAULT, character_set, is_plain
from harvester.dicom.values import CHARACTER_SET_VRS, DECODERS, Decoder
from harvester.dicom.walk import RawElement

LEFTOVERS: Final = {
    "OtherElements": OTHER_ELEMENT,
    "bulk_data": BULK_DATA,
    "invalid_elements": INVALID_ELEMENT,
}
# Stands in an item type whose items were all empty: the attribute that may be in any item (PS3.5 7.5.3).
_ANY_ITEM: Final = "SpecificCharacterSet"
_REMEMBERED: Final = 512  # raw values a column
_REMEMBERED_LENGTH: Final = 96  # bytes of a raw value
_UNSEEN: Final = object()


class _OutOfOrderError(Exception):
    """A data set whose tags don't ascend: it is put in order and read again."""


class _Column:
    """One attribute at one level: the values so far, and what raw values were turned into.

    `usual_vr` is the value representation that the quick way is for; None where there is no quick way.
    """

    __slots__ = ("attribute", "decode", "level", "memo", "type", "usual_vr", "values")

    def __init__(self, entry: Attribute | None) -> None:
        self.attribute = entry
        self.type = None if entry is None else column_type(entry)
        self.values: list[Any] = []  # of a sequence: the row of the level below at which its items start
        self.memo: dict[Any, Any] = {}
        self.usual_vr: str | None = None
        self.decode: Decoder | None = None
        self.level: _Level | None = None  # of the items, where the attribute is a sequence

    def put(self, row: int, value: Any) -> None:
        missing = row - len(self.values)
        if missing:
            self.values.extend(repeat(None, missing))
        self.values.append(value)


class _Level:
    """The data sets of one nesting level: the headers themselves, or the items of one sequence."""

    __slots__ = ("columns", "rows")

    def __init__(self) -> None:
        self.rows = 0
        self.columns: dict[int, _Column] = {}

    def truncate(self, rows: int) -> None:
        """Forget all rows from `rows` on."""
        self.rows = min(self.rows, rows)
        for column in self.columns.values():
            if column.level is not None:
                starts = [start for start in column.values[rows:] if start is not None]
                if starts:
                    column.level.truncate(starts[0])
            del column.values[rows:]

    def arrays(self) -> dict[str, pa.Array]:
        """The level's columns by keyword; those that never had a value are left out."""
        arrays = {}
        for column in sorted(
            self.columns.values(), key=lambda one: one.attribute.tag if one.attribute else 0
        ):
            if column.attribute is None or not column.values:
                continue
            if column.level is not None:
                arrays[column.attribute.keyword] = _sequence_array(column.values, column.level, self.rows)
            elif column.type is not None:
                column.values.extend(repeat(None, self.rows - len(column.values)))
                arrays[column.attribute.keyword] = pa.array(column.values, column.type)
        return arrays


def _sequence_array(starts: list[int | None], items: _Level, rows: int) -> pa.ListArray:
    fields = items.arrays()
    if not fields:
        # Parquet has no struct without a field.
        fields = {_ANY_ITEM: pa.nulls(items.rows, pa.list_(pa.string()))}
    structs = pa.StructArray.from_arrays(list(fields.values()), list(fields))
    offsets = [*starts, *repeat(None, rows - len(starts)), items.rows]
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), structs)


# Where a data set stands: the data set above, the sequence's name there, and which item it is.
_Where = tuple["_Where | None", str, int, list[RawElement]]


def _path(where: "_Where | None", name: str) -> str:
    steps = [name]
    while where is not None:
        where, sequence, index, _ = where
        steps.append(f"{sequence}[{index}]")
    return ".".join(reversed(steps))


class _Surroundings:
    """What elements ask of the data set they stand in; each data set of a header is searched once."""

    __slots__ = ("_creators", "_representations")

    def __init__(self) -> None:
        self._creators: dict[int, dict[int, str]] = {}
        self._representations: dict[int, int | None] = {}

    def forget(self) -> None:
        """The next header comes."""
        self._creators.clear()
        self._representations.clear()

    def creator(self, tag: int, elements: list[RawElement]) -> str | None:
        """Who owns a private element (PS3.5 7.8.1); None for an orphan."""
        creators = self._creators.get(id(elements))
        if creators is None:
            creators = self._creators[id(elements)] = {
                element[0]: element[2].decode("latin-1").rstrip(" \0")
                for element in elements
                if is_private_creator(element[0]) and isinstance(element[2], bytes)
            }
        return creators.get(creator_tag(tag))

    def settled(self, vr: str, tag: int, elements: list[RawElement], where: "_Where | None") -> str:
        """What an ambiguous value representation of the dictionary means here (PS3.5 annex A.1)."""
        if " or " not in vr:
            return vr
        if vr == "US or SS":
            return "SS" if self._is_signed(elements, where) else "US"
        if tag == LUT_DATA and _first_number(elements, LUT_DESCRIPTOR) == 1:
            return "US"  # PS3.3 C.11.1.1.1: a table of one value
        return "OW"

    def _is_signed(self, elements: list[RawElement], where: "_Where | None") -> bool:
        """Pixel Representation of the nearest enclosing data set that has one; unsigned if none has."""
        representation = self._representation(elements)
        while representation is None and where is not None:
            where, _, _, elements = where
            representation = self._representation(elements)
        return representation == 1

    def _representation(self, elements: list[RawElement]) -> int | None:
        known = self._representations.get(id(elements), -1)
        if known == -1:
            known = self._representations[id(elements)] = _first_number(elements, PIXEL_REPRESENTATION)
        return known


class HeaderColumns:
    """The `instances` columns that follow from headers; `append` one after the other, then `finish`."""

    def __init__(self) -> None:
        self._top = _Level()
        self._other, self._bulk, self._invalid = (ListOfStructs(struct) for struct in LEFTOVERS.values())
        self._character_set = DEFAULT
        self._surroundings = _Surroundings()
        self._other_memo: dict[tuple[int, str, bytes], list[str]] = {}

    @property
    def rows(self) -> int:
        """How many headers were appended since the last `finish`."""
        return self._top.rows

    def append(self, header: Header) -> None:
        """Add one header's row: all of it, or, if anything is raised, nothing."""
        row = self._top.rows
        try:
            self._append(header.elements)
        except _OutOfOrderError:
            self._truncate(row)
            elements, repeated = _in_order(header.elements, None)
            self._append(elements)
            for path, element in repeated:
                self._invalid.add(path, element[1], self._text_of(element), "repeated, the last one counts")
        except BaseException:
            self._truncate(row)
            raise

    def finish(self) -> dict[str, pa.Array]:
        """All columns by name, and begin anew; what was remembered of raw values stays."""
        arrays = self._top.arrays()
        leftovers = (self._other, self._bulk, self._invalid)
        arrays.update(zip(LEFTOVERS, (column.array() for column in leftovers), strict=True))
        self._truncate(0)
        return arrays

    def _truncate(self, rows: int) -> None:
        self._top.truncate(rows)
        for column in (self._other, self._bulk, self._invalid):
            column.truncate(rows)

    def _append(self, elements: list[RawElement]) -> None:
        for column in (self._other, self._bulk, self._invalid):
            column.start_row()
        self._character_set = DEFAULT
        self._surroundings.forget()
        self._fill(self._top, elements, None)

    def _fill(self, level: _Level, elements: list[RawElement], where: "_Where | None") -> None:
        """Add one data set to its level. The hot path: each element of each header comes through here."""
        row = level.rows
        level.rows = row + 1
        columns = level.columns
        last = -1
        for element in elements:
            tag, vr, raw, _, length = element
            if tag <= last:
                raise _OutOfOrderError
            last = tag
            column = columns.get(tag)
            if column is None:
                column = columns[tag] = _Column(None if tag & 0x10000 else attribute(tag))
            if vr is column.usual_vr and raw is not None:
                value = column.memo.get(raw, _UNSEEN) if length <= _REMEMBERED_LENGTH else _UNSEEN
                if value is _UNSEEN:
                    value = self._decode(column, element, where)
                values = column.values
                missing = row - len(values)
                if missing:
                    values.extend(repeat(None, missing))
                values.append(value)
            else:
                self._place(column, row, element, elements, where)

    def _decode(self, column: _Column, element: RawElement, where: "_Where | None") -> Any:
        """The column's value of an element in the column's usual VR, remembered if that is safe."""
        _, vr, raw, _, length = element
        assert column.decode is not None  # noqa: S101  bound together with usual_vr
        assert isinstance(raw, bytes)  # noqa: S101  the caller has looked
        value, valid = self._shaped(column, column.decode, element, where)
        if valid and length <= _REMEMBERED_LENGTH and (vr not in CHARACTER_SET_VRS or is_plain(raw)):
            if len(column.memo) >= _REMEMBERED:
                column.memo.clear()
            column.memo[raw] = value
        return value

    def _shaped(
        self, column: _Column, decode: Decoder, element: RawElement, where: "_Where | None"
    ) -> tuple[Any, bool]:
        """One value or a list, as the column wants it; else a row in `invalid_elements` and NULL."""
        entry, raw = column.attribute, element[2]
        assert entry is not None  # noqa: S101  only attributes have columns
        assert isinstance(raw, bytes)  # noqa: S101
        try:
            values = decode(raw, self._character_set)
        except (ValueError, OverflowError) as error:
            self._refuse(element, where, str(error))
            return None, False
        if entry.many:
            return values, True
        if len(values) > 1:
            self._refuse(element, where, f"{len(values)} values where {entry.keyword} has one")
            return None, False
        return (values[0] if values else None), True

    def _place(  # noqa: C901  one case after the other reads better than two halves
        self,
        column: _Column,
        row: int,
        element: RawElement,
        elements: list[RawElement],
        where: "_Where | None",
    ) -> None:
        """Put an element where it belongs when it is not a plain value in its column's usual VR."""
        tag, vr, raw, offset, length = element
        entry = column.attribute
        if entry is None or entry.repeating:
            self._add_other(element, elements, where)
            if entry is None or not entry.first:
                return
        if isinstance(raw, list):
            if entry.vr == "SQ":
                self._fill_sequence(column, row, raw, elements, where)
            elif not entry.repeating:
                self._add_other(element, elements, where)
            return
        vr = self._surroundings.settled(vr, tag, elements, where)
        if vr in BINARY_VRS or raw is None or (column.type is None and entry.vr != "SQ"):
            if not entry.repeating:
                self._bulk.add(_path(where, entry.keyword), vr, offset, length)
            return
        if column.type is None:
            self._refuse(element, where, f"{vr} where {entry.keyword} is a sequence")
            return
        if tag == SPECIFIC_CHARACTER_SET:
            self._character_set = character_set(raw)
        elif column.usual_vr is None and vr == element[1] and not entry.repeating:
            column.usual_vr, column.decode = element[1], decoder_for(entry, vr)
        value, _ = self._shaped(column, decoder_for(entry, vr), element, where)
        column.put(row, value)

    def _fill_sequence(
        self,
        column: _Column,
        row: int,
        items: list[list[RawElement]],
        elements: list[RawElement],
        where: "_Where | None",
    ) -> None:
        assert column.attribute is not None  # noqa: S101
        level = column.level
        if level is None:
            level = column.level = _Level()
        column.put(row, level.rows)
        keyword, outside = column.attribute.keyword, self._character_set
        for index, item in enumerate(items):
            self._fill(level, item, (where, keyword, index, elements))
            self._character_set = outside  # PS3.5 7.5.3: an item's character set ends with it

    def _add_other(self, element: RawElement, elements: list[RawElement], where: "_Where | None") -> None:
        """A private, unknown or repeating element, with everything in it."""
        tag, vr, raw, offset, length = element
        entry = attribute(tag)
        name = f"{tag:08X}" if entry is None else entry.keyword
        path = _path(where, name)
        creator = self._surroundings.creator(tag, elements) if tag & 0x10000 and tag & 0xFF00 else None
        vr = self._surroundings.settled(vr, tag, elements, where)
        data: list[str] = []
        if not isinstance(raw, list) and (raw is None or vr in BINARY_VRS):
            self._bulk.add(path, vr, offset, length)
        elif not isinstance(raw, list):
            data = self._texts(tag, vr, raw)
        self._other.add(path, f"{tag:08X}", vr, creator, data)
        if isinstance(raw, list):
            outside = self._character_set
            for index, item in enumerate(raw):
                for inner in item:
                    if inner[0] == SPECIFIC_CHARACTER_SET and isinstance(inner[2], bytes):
                        self._character_set = character_set(inner[2])
                    self._add_other(inner, item, (where, name, index, elements))
                self._character_set = outside

    def _texts(self, tag: int, vr: str, raw: bytes) -> list[str]:
        """The values of an element without a column, as text."""
        key = (tag, vr, raw)
        texts = self._other_memo.get(key)
        if texts is None:
            try:
                # DS, IS and dates stay what they are: nothing is gained by reading them.
                texts = as_texts(vr)(raw, self._character_set) if vr in _NUMBER_VRS else self._split(vr, raw)
            except ValueError:
                texts = [raw.hex()]
            if len(raw) <= _REMEMBERED_LENGTH and is_plain(raw):
                if len(self._other_memo) >= 16 * _REMEMBERED:
                    self._other_memo.clear()
                self._other_memo[key] = texts
        return texts

    def _split(self, vr: str, raw: bytes) -> list[str]:
        decode = DECODERS[vr if vr in _UNSPLIT_VRS else "LO" if vr in CHARACTER_SET_VRS else "CS"]
        return [value or "" for value in decode(raw, self._character_set)]

    def _refuse(self, element: RawElement, where: "_Where | None", reason: str) -> None:
        entry = attribute(element[0])
        name = f"{element[0]:08X}" if entry is None else entry.keyword
        self._invalid.add(_path(where, name), element[1], self._text_of(element), reason)

    def _text_of(self, element: RawElement) -> str:
        raw = element[2]
        if not isinstance(raw, bytes):
            return ""
        if element[1] in _NUMBER_VRS or element[1] in BINARY_VRS:
            return raw.hex()
        return self._character_set.decode(raw).rstrip(" \0")


_NUMBER_VRS: Final = frozenset({"AT", "FD", "FL", "SL", "SS", "SV", "UL", "US", "UV"})
_UNSPLIT_VRS: Final = frozenset({"LT", "ST", "UT", "UR"})


def _first_number(elements: list[RawElement], tag: int) -> int | None:
    for element in elements:
        if element[0] == tag and isinstance(element[2], bytes) and len(element[2]) >= 2:
            return int.from_bytes(element[2][:2], "little")
    return None


def _in_order(
    elements: list[RawElement], where: "_Where | None"
) -> tuple[list[RawElement], list[tuple[str, RawElement]]]:
    """The same header with ascending tags, and the elements that a later one with the same tag replaces."""
    repeated: list[tuple[str, RawElement]] = []
    latest: dict[int, RawElement] = {}
    for element in elements:
        tag, vr, raw, offset, length = element
        name = entry.keyword if (entry := attribute(tag)) else f"{tag:08X}"
        if isinstance(raw, list):
            items = []
            for index, item in enumerate(raw):
                ordered, within = _in_order(item, (where, name, index, elements))
                items.append(ordered)
                repeated += within
        if tag in latest:
            repeated.append((_path(where, name), latest[tag]))
        latest[tag] = (tag, vr, items, offset, length) if isinstance(raw, list) else element
    return [latest[tag] for tag in sorted(latest)], repeated
