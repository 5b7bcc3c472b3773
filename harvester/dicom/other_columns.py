"""Columns for what has no column of its own: private, unknown, binary and invalid elements."""

from typing import Any, Final, TypeAlias

import pyarrow as pa

from harvester.dicom.charset import is_plain
from harvester.dicom.context import HeaderContext, name_of, private_creators
from harvester.dicom.dictionary import BINARY_VRS, SPECIFIC_CHARACTER_SET, creator_tag
from harvester.dicom.element import Items, RawElement
from harvester.dicom.list_builder import ListOfStructs
from harvester.dicom.schema import BULK_DATA, INVALID_ELEMENT, OTHER_ELEMENT
from harvester.dicom.values import CHARACTER_SET_VRS, DECODERS, NUMBER_VRS
from harvester.dicom.vr_conversion import as_texts

# An entry of `OtherElements`, and whether the element is binary. Kept whole, because a tuple made anew for
# each private element of each header would keep the garbage collector busy.
OtherEntry: TypeAlias = tuple[tuple[str, str, str, str | None, list[str]], bool]
# Tag, value representation, raw value and owner.
Element: TypeAlias = tuple[int, str, Any, str | None]

REMEMBERED_LENGTH: Final = 96  # bytes of a raw value
_MOST_ENTRIES: Final = 16_384
_LONGEST_PATH: Final = 256  # characters
_NOTHING: Final[dict[Element, OtherEntry]] = {}
_MUCH_WORK: Final = 65_536  # of one header; its later entries would only displace each other in memory
_UNSPLIT_VRS: Final = frozenset({"LT", "ST", "UT", "UR"})


class OtherColumns:
    """`OtherElements`, `bulk_data` and `invalid_elements`, row by row.

    Args:
        surroundings: The data sets around the element that is added.
    """

    __slots__ = ("_bulk", "_entries", "_invalid", "_other", "_surroundings", "add_known")

    def __init__(self, surroundings: HeaderContext) -> None:
        self._surroundings = surroundings
        self._other = ListOfStructs(OTHER_ELEMENT)
        self._bulk = ListOfStructs(BULK_DATA)
        self._invalid = ListOfStructs(INVALID_ELEMENT)
        self._entries = _OtherEntries()
        # Add what `known` says of an element that is not binary. No method around it: it is called for each
        # private element of each header.
        self.add_known = self._other.add

    def start_row(self) -> None:
        """What is added from here on belongs to the next header."""
        for column in (self._other, self._bulk, self._invalid):
            column.start_row()

    def truncate(self, rows: int) -> None:
        """Forget all rows from `rows` on."""
        for column in (self._other, self._bulk, self._invalid):
            column.truncate(rows)

    def arrays(self) -> dict[str, pa.Array]:
        """The columns so far, by name."""
        return {
            "OtherElements": self._other.array(),
            "bulk_data": self._bulk.array(),
            "invalid_elements": self._invalid.array(),
        }

    def known(self) -> dict[Element, OtherEntry]:
        """What was said of elements that stood where the data set at hand stands; to be read only."""
        return self._entries.below(self._surroundings.prefix())

    def add(
        self, element: RawElement, elements: list[RawElement], owner: str | None, known: OtherEntry | None
    ) -> None:
        """Add an element without a column of its own, with everything in it.

        Args:
            element: It.
            elements: The data set that it stands in.
            owner: Its private creator, if it has one.
            known: What was said of it where it stood last.

        Raises:
            HeaderLimitError: The header has too many of them.
        """
        tag, vr, raw, offset, length = element
        if vr == "SQ" and isinstance(raw, Items):
            name = f"{tag:08X}"
            path = self._surroundings.path(name if tag & 0x10000 else name_of(tag))
            self._other.add_new((path, name, vr, owner, []))
            self._add_items(raw, element, elements)
            return
        if known is None:
            entry, binary = self._entry(element, elements, owner)
            self._other.add_new(entry)
        else:
            entry, binary = known
            self._surroundings.tally.path(entry[0])
            self._other.add(entry)
        if binary:
            self._bulk.add_new((entry[0], entry[2], offset, length))

    def add_bulk(self, name: str, vr: str, offset: int, length: int) -> None:
        """Add where the bytes of an element of the data set at hand lie in the object.

        Raises:
            HeaderLimitError: The header has too many of them.
        """
        self._bulk.add_new((self._surroundings.path(name), vr, offset, length))

    def add_invalid(self, element: RawElement, reason: str) -> None:
        """Add an element of the data set at hand whose value its column cannot take.

        Raises:
            HeaderLimitError: The header has too many of them.
        """
        self._surroundings.tally.invalid()
        self.add_replaced(self._surroundings.path(name_of(element[0])), element, reason)

    def add_replaced(self, path: str, element: RawElement, reason: str) -> None:
        """Add an element that is nowhere else, by a path that was counted before."""
        self._invalid.add_new((path, element[1], self._surroundings.text(element), reason))

    def _entry(self, element: RawElement, elements: list[RawElement], owner: str | None) -> OtherEntry:
        """What `OtherElements` says of an element, remembered if it says so whenever it stands there."""
        tag, vr, raw, _, length = element
        surroundings = self._surroundings
        settled = surroundings.settled(vr, tag, elements) if len(vr) > 2 else vr
        binary = settled in BINARY_VRS or raw is None
        name = f"{tag:08X}"
        path = surroundings.path(name if tag & 0x10000 else name_of(tag))
        entry = ((path, name, settled, owner, [] if binary else self._texts(settled, raw)), binary)
        if length <= REMEMBERED_LENGTH and raw is not None and surroundings.tally.work < _MUCH_WORK:
            anywhere = settled == vr and (vr not in CHARACTER_SET_VRS or is_plain(raw))
            if anywhere:
                self._entries.keep(surroundings.prefix(), (tag, vr, raw, owner), entry)
        return entry

    def _add_items(self, items: Items, element: RawElement, elements: list[RawElement]) -> None:
        surroundings = self._surroundings
        outside, name = surroundings.character_set, name_of(element[0])
        for index, item in enumerate(items):
            surroundings.sequences.append((name, index, elements))
            creators, entries = private_creators(item), self.known()
            for inner in item:
                tag, vr, raw, _, _ = inner
                if tag == SPECIFIC_CHARACTER_SET and isinstance(raw, bytes):
                    surroundings.enter_character_set(raw)
                owner = creators.get(creator_tag(tag))
                known = entries.get((tag, vr, raw, owner)) if vr != "SQ" else None
                self.add(inner, item, owner, known)
            surroundings.sequences.pop()
            surroundings.character_set = outside  # PS3.5 7.5.3: an item's character set ends with it

    def _texts(self, vr: str, raw: bytes) -> list[str]:
        """The values of an element without a column, as text."""
        if vr in NUMBER_VRS:
            try:
                texts = as_texts(vr)(raw, self._surroundings.character_set)
            except ValueError:
                return [raw.hex()]
            self._surroundings.tally.values("", texts)
            return texts
        # DS, IS and dates stay what they are: nothing is gained by reading them.
        decode = DECODERS[vr if vr in _UNSPLIT_VRS else "LO" if vr in CHARACTER_SET_VRS else "CS"]
        return [value or "" for value in self._surroundings.values(decode, "", raw)] if raw else []


class _OtherEntries:
    """What `OtherElements` said of elements, by where they stood; the siblings of a header say it again."""

    __slots__ = ("_by_prefix", "_count")

    def __init__(self) -> None:
        self._by_prefix: dict[str, dict[Element, OtherEntry]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def below(self, prefix: str) -> dict[Element, OtherEntry]:
        """The entries of a data set's elements, by what their paths begin with; to be read only."""
        return self._by_prefix.get(prefix, _NOTHING)

    def keep(self, prefix: str, element: Element, entry: OtherEntry) -> None:
        """Remember an entry, if its path is not too long for that."""
        if len(prefix) > _LONGEST_PATH:
            return
        if self._count >= _MOST_ENTRIES:
            self._by_prefix.clear()
            self._count = 0
        self._by_prefix.setdefault(prefix, {})[element] = entry
        self._count += 1
