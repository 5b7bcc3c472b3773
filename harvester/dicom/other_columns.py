"""The columns `OtherElements`, `bulk_data`, `invalid_elements` and `empty_elements`."""

from typing import Any, Final, TypeAlias

import pyarrow as pa

from harvester.dicom import header_limits
from harvester.dicom.charset import is_plain
from harvester.dicom.context import HeaderContext
from harvester.dicom.dictionary import (
    BINARY_VRS,
    CHARACTER_SET_VRS,
    NUMBER_VRS,
    SPECIFIC_CHARACTER_SET,
    creator_tag,
    name_of,
    private_creators,
)
from harvester.dicom.element import Items, RawElement
from harvester.dicom.list_builder import ListBuilder
from harvester.dicom.schema import BULK_DATA, INVALID_ELEMENT, OTHER_ELEMENT
from harvester.dicom.values import DECODERS, decode_counted
from harvester.dicom.vr_conversion import as_texts

# An entry of `OtherElements`, and whether another column has one of the element, too: it is binary or empty.
# The same object is used for the same element of many headers: a new tuple for each would keep the garbage
# collector busy.
OtherEntry: TypeAlias = tuple[tuple[str, str, str, str | None, list[str]], bool]
# Tag, value representation, raw value and private creator.
Element: TypeAlias = tuple[int, str, Any, str | None]

_MAX_PREFIX: Final = 256  # characters
_NO_ENTRIES: Final[dict[Element, OtherEntry]] = {}
_MUCH_WORK: Final = 65_536  # in one header; its later entries would only replace others in the cache
_PARSED_VRS: Final = frozenset({"DA", "DS", "DT", "IS", "TM"})


class OtherColumns:
    """The four columns, row by row.

    Args:
        context: The position of the element that is added.

    Attributes:
        entries: Those of earlier headers.
    """

    __slots__ = (
        *("_bulk", "_context", "_empty", "_empty_offsets", "_invalid", "_not_listed", "_other"),
        *("add_known", "entries"),
    )

    def __init__(self, context: HeaderContext) -> None:
        self._context = context
        self._other = ListBuilder(OTHER_ELEMENT)
        self._bulk = ListBuilder(BULK_DATA)
        self._invalid = ListBuilder(INVALID_ELEMENT)
        self._empty: list[str] = []
        self._empty_offsets: list[int] = []
        self._not_listed = 0
        self.entries = EntryCache()
        # Adds an entry of `known` that needs no other; called for each private element, hence no method.
        self.add_known = self._other.add

    def start_row(self) -> None:
        """Begin the next header."""
        for column in (self._other, self._bulk, self._invalid):
            column.start_row()
        self._empty_offsets.append(len(self._empty))
        self._not_listed = 0

    def end_row(self) -> None:
        """Complete the header: say how many elements without a value are not listed."""
        if self._not_listed:
            listed = header_limits.MAX_EMPTY_ELEMENTS
            reason = f"{listed + self._not_listed} elements without a value, empty_elements has {listed}"
            self._invalid.add_new(("", "", "", reason))

    def truncate(self, rows: int) -> None:
        """Remove all rows from `rows` on."""
        for column in (self._other, self._bulk, self._invalid):
            column.truncate(rows)
        if rows < len(self._empty_offsets):
            del self._empty[self._empty_offsets[rows] :]
            del self._empty_offsets[rows:]

    def arrays(self) -> dict[str, pa.Array]:
        """The columns so far, by name."""
        return {
            "OtherElements": self._other.array(),
            "bulk_data": self._bulk.array(),
            "invalid_elements": self._invalid.array(),
            "empty_elements": pa.ListArray.from_arrays(
                pa.array([*self._empty_offsets, len(self._empty)], pa.int32()),
                pa.array(self._empty, pa.string()),
            ),
        }

    def known(self) -> dict[Element, OtherEntry]:
        """The entries of elements at the place of the current data set; read only."""
        return self.entries.at(self._context.prefix())

    def add(
        self, element: RawElement, elements: list[RawElement], creator: str | None, known: OtherEntry | None
    ) -> None:
        """Add an element without a column of its own, with everything in it.

        Args:
            element: The element.
            elements: The data set that contains it.
            creator: Its private creator, if it has one.
            known: The entry of the same element in an earlier header.

        Raises:
            HeaderLimitError: The header has too many of them.
        """
        tag, vr, raw, offset, length = element
        if vr == "SQ" and isinstance(raw, Items):
            name = f"{tag:08X}"
            path = self._context.path(name if tag & 0x10000 else name_of(tag))
            self._other.add_new((path, name, vr, creator, []))
            if not raw.parts:
                self._add_empty(path)
            self._add_items(raw, element, elements)
            return
        if known is None:
            entry, special = self._entry(element, elements, creator)
            self._other.add_new(entry)
        else:
            entry, special = known
            self._context.budget.path(entry[0])
            self._other.add(entry)
        if special:
            if raw is None or entry[2] in BINARY_VRS:
                self._bulk.add_new((entry[0], entry[2], offset, length))
            if not length or not (raw is None or entry[2] in BINARY_VRS):
                self._add_empty(entry[0])

    def add_empty(self, name: str) -> None:
        """Add an element of the current data set that has no value."""
        self._add_empty(self._context.prefix() + name)

    def _add_empty(self, path: str) -> None:
        if len(self._empty) - self._empty_offsets[-1] < header_limits.MAX_EMPTY_ELEMENTS:
            self._empty.append(path)
            if self._context.sequences:
                self._context.budget.path(path)
        else:
            self._not_listed += 1

    def add_empty_run(self, sequence: str, items: range, paths: list[str]) -> None:
        """Add elements without a value that all items of a run have.

        Args:
            sequence: The name of the run's sequence, in the current data set.
            items: The indexes of the items.
            paths: Those of the elements, in an item.
        """
        left = header_limits.MAX_EMPTY_ELEMENTS - len(self._empty) + self._empty_offsets[-1]
        listed = items[: -(-left // len(paths))]
        prefix = self._context.prefix()
        for index in listed:
            for path in paths:
                self._add_empty(f"{prefix}{sequence}[{index}].{path}")
        self._not_listed += (len(items) - len(listed)) * len(paths)

    def add_bulk(self, name: str, vr: str, offset: int, length: int) -> None:
        """Add the place of a binary or skipped value of the current data set.

        Raises:
            HeaderLimitError: The header has too many of them.
        """
        self._bulk.add_new((self._context.path(name), vr, offset, length))

    def add_invalid(self, element: RawElement, reason: str) -> None:
        """Add an element of the current data set whose value its column cannot hold.

        Raises:
            HeaderLimitError: The header has too many of them.
        """
        self._context.budget.invalid()
        self.add_replaced(self._context.path(name_of(element[0])), element, reason)

    def add_replaced(self, path: str, element: RawElement, reason: str) -> None:
        """Add an element that is in no other column, with everything in it, by a path that was counted."""
        _, vr, raw, offset, length = element
        self._invalid.add_new((path, vr, self._context.text(vr, raw), reason))
        if isinstance(raw, Items):
            for index, item in enumerate(raw):
                for inner in item:
                    inner_path = f"{path}[{index}].{name_of(inner[0])}"
                    self._context.budget.invalid()
                    self._context.budget.path(inner_path)
                    self.add_replaced(inner_path, inner, reason)
        elif raw is None or vr in BINARY_VRS:
            self._bulk.add_new((path, vr, offset, length))

    def add_irregularity(self, path: str, vr: str, reason: str) -> None:
        """Add what breaks the encoding rules."""
        self._context.budget.entry()
        self._invalid.add_new((path, vr, "", reason))

    def _entry(self, element: RawElement, elements: list[RawElement], creator: str | None) -> OtherEntry:
        """The entry of an element, cached if it is the same wherever the element is at this place."""
        tag, vr, raw, _, length = element
        context = self._context
        definite = context.definite_vr(vr, tag, elements) if len(vr) > 2 else vr
        binary = definite in BINARY_VRS or raw is None
        name = f"{tag:08X}"
        path = context.path(name if tag & 0x10000 else name_of(tag))
        texts = [] if binary else self._texts(element, definite)
        entry = ((path, name, definite, creator, texts or []), texts == [])
        if (
            length <= header_limits.MAX_CACHED_VALUE_BYTES
            and raw is not None
            and texts is not None  # else each header has it in `invalid_elements`
            and context.budget.work < _MUCH_WORK
            and definite == vr
            and (vr not in CHARACTER_SET_VRS or is_plain(raw))
        ):
            self.entries.keep(context.prefix(), (tag, vr, raw, creator), entry)
        return entry

    def _add_items(self, items: Items, element: RawElement, elements: list[RawElement]) -> None:
        context = self._context
        outer_set, name = context.character_set, name_of(element[0])
        longest = header_limits.MAX_CACHED_VALUE_BYTES
        for index, item in enumerate(items):
            context.sequences.append((name, index, elements))
            creators, entries = private_creators(item), self.known()
            characters = 0
            for inner in item:
                tag, vr, raw, _, length = inner
                if tag == SPECIFIC_CHARACTER_SET and isinstance(raw, bytes):
                    context.enter_character_set(raw)
                creator = creators.get(creator_tag(tag))
                known = entries.get((tag, vr, raw, creator)) if length <= longest else None
                if known is None or known[1]:
                    self.add(inner, item, creator, known)
                else:
                    self.add_known(known[0])
                    characters += len(known[0][0])
            context.budget.paths(characters)
            context.sequences.pop()
            context.character_set = outer_set  # PS3.5 7.5.3: an item's character set ends with it

    def _texts(self, element: RawElement, vr: str) -> list[str] | None:
        """The values of an element without a column, as text; None if they are in `invalid_elements`."""
        raw: bytes = element[2]
        if vr in NUMBER_VRS:
            try:
                texts = as_texts(vr)(raw, self._context.character_set)
            except ValueError:
                return [raw.hex()]
            self._context.budget.values("", texts)
            return texts
        # Numbers and dates stay as they are written.
        decode = DECODERS["AS" if vr in _PARSED_VRS else "UC" if vr == "PN" else vr]
        try:
            return [value or "" for value in decode_counted(decode, "", raw, self._context)] if raw else []
        except ValueError as error:
            self.add_invalid(element, str(error))
            return None


class EntryCache:
    """The entries of `OtherElements` by place: the headers of a series have the same."""

    __slots__ = ("_by_prefix", "_count")

    def __init__(self) -> None:
        self._by_prefix: dict[str, dict[Element, OtherEntry]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def at(self, prefix: str) -> dict[Element, OtherEntry]:
        """The entries of a data set, by the first part of its paths; read only."""
        return self._by_prefix.get(prefix, _NO_ENTRIES)

    def keep(self, prefix: str, element: Element, entry: OtherEntry) -> None:
        """Store an entry if its path is not too long."""
        if len(prefix) > _MAX_PREFIX:
            return
        if self._count >= header_limits.MAX_CACHED_ENTRIES:
            self._by_prefix.clear()
            self._count = 0
        self._by_prefix.setdefault(prefix, {})[element] = entry
        self._count += 1
