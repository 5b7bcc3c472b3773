"""What an element asks of the data sets around it: its path, its owner, its characters, its pixels' sign."""

from typing import Final

from harvester.dicom.budget import HeaderBudget
from harvester.dicom.charset import DEFAULT, CharacterSet, character_set
from harvester.dicom.dictionary import (
    BINARY_VRS,
    LONGEST_CREATOR,
    LUT_DATA,
    LUT_DESCRIPTOR,
    PIXEL_REPRESENTATION,
    attribute,
)
from harvester.dicom.element import Items, RawElement
from harvester.dicom.values import NUMBER_VRS, Decoder, Values

_ESCAPE: Final = b"\x1b"


class HeaderContext:
    """The data sets that are open while one header is read, the innermost last.

    Attributes:
        sequences: The open sequences: each one's name, which of its items is at hand, and the elements
            of the data set that holds it.
        character_set: How the text of the data set at hand is encoded.
        tally: What the header has taken so far.
    """

    __slots__ = ("_numbers", "_prefix", "character_set", "sequences", "tally")

    def __init__(self, tally: HeaderBudget | None = None) -> None:
        self.sequences: list[tuple[str, int, list[RawElement]]] = []
        self._prefix: tuple[object, str] = (None, "")
        self.character_set: CharacterSet = DEFAULT
        self.tally = HeaderBudget() if tally is None else tally
        # Each data set is searched once for a tag, however many of its elements ask: which was searched
        # last at a depth, and what was found.
        self._numbers: dict[tuple[int, int], tuple[list[RawElement], int | None]] = {}

    def forget(self) -> None:
        """Begin the next header."""
        self.sequences.clear()
        self._prefix = (None, "")
        self.character_set = DEFAULT
        self.tally.forget()
        self._numbers.clear()

    def path(self, name: str) -> str:
        """The path of an element of the data set at hand: `SegmentSequence[0].00091001`.

        Raises:
            HeaderLimitError: The header has too many of them, or too long ones.
        """
        self.tally.entry()
        if not self.sequences:
            return name
        path = self.prefix() + name
        self.tally.path(path)
        return path

    def prefix(self) -> str:
        """What the paths of the data set at hand begin with: `SegmentSequence[0].`, or nothing."""
        if not self.sequences:
            return ""
        innermost, prefix = self._prefix
        if innermost is not self.sequences[-1]:
            prefix = "".join([f"{sequence}[{index}]." for sequence, index, _ in self.sequences])
            self._prefix = (self.sequences[-1], prefix)
        return prefix

    def enter_character_set(self, raw: bytes) -> None:
        """Read the text that follows in the data set at hand as a Specific Character Set says.

        Raises:
            HeaderLimitError: The header has too many different ones.
        """
        self.tally.character_set(raw)
        self.character_set = character_set(raw)

    def values(self, decode: Decoder, vr: str, raw: bytes) -> Values:
        """What a raw value is; it is counted where that costs far more than its bytes tell.

        Raises:
            ValueError: It is not valid.
            HeaderLimitError: The header has too many of them.
        """
        if _ESCAPE in raw and vr not in NUMBER_VRS:
            self.tally.escapes(raw)
        values = decode(raw, self.character_set)
        if len(values) > 1:
            self.tally.values(vr, values)
        return values

    def text(self, element: RawElement) -> str:
        """An element's value as it can be shown, whatever is wrong with it: text, or hexadecimal digits.

        Raises:
            HeaderLimitError: The header has too many escape sequences.
        """
        _, vr, raw, _, _ = element
        if not isinstance(raw, bytes):
            return ""
        if vr in NUMBER_VRS or vr in BINARY_VRS or " or " in vr:
            return raw.hex()
        if _ESCAPE in raw:
            self.tally.escapes(raw)
        return self.character_set.decode(raw).rstrip(" \0")

    def settled(self, vr: str, tag: int, elements: list[RawElement]) -> str:
        """What an ambiguous value representation of the dictionary means here (PS3.5 annex A.1)."""
        if " or " not in vr:
            return vr
        if vr == "US or SS":
            return "SS" if self._is_signed(elements) else "US"
        if tag == LUT_DATA and self._number(len(self.sequences), elements, LUT_DESCRIPTOR) == 1:
            return "US"  # PS3.3 C.11.1.1.1: a table of one value
        return "OW"

    def _is_signed(self, elements: list[RawElement]) -> bool:
        """Pixel Representation of the nearest enclosing data set that has one; unsigned if none has."""
        depth = len(self.sequences)
        representation = self._number(depth, elements, PIXEL_REPRESENTATION)
        while representation is None and depth:
            depth -= 1
            representation = self._number(depth, self.sequences[depth][2], PIXEL_REPRESENTATION)
        return representation == 1

    def _number(self, depth: int, elements: list[RawElement], tag: int) -> int | None:
        known = self._numbers.get((depth, tag))
        if known is None or known[0] is not elements:
            known = self._numbers[depth, tag] = (elements, _first_number(elements, tag))
        return known[1]


def private_creators(elements: list[RawElement]) -> dict[int, str]:
    """Who owns which block of private elements in a data set, by the tag (gggg,00xx) that says so."""
    return {
        tag: raw.decode("latin-1").rstrip(" \0")
        for tag, _, raw, _, length in elements
        if tag & 0x1FF00 == 0x10000
        and tag & 0xFF >= 0x10
        and isinstance(raw, bytes)
        and length <= LONGEST_CREATOR
    }


def name_of(tag: int) -> str:
    """What an element is called in a path: its keyword where that is its own, else its tag."""
    entry = attribute(tag)
    return entry.keyword if entry is not None and entry.first else f"{tag:08X}"


def in_order(
    elements: list[RawElement], surroundings: HeaderContext, prefix: str = ""
) -> tuple[list[RawElement], list[tuple[str, RawElement]]]:
    """The same data set with ascending tags, each once; and the elements that a later one replaces.

    PS3.5 7.1 wants tags to ascend and to be unique; of repeated ones the last counts, as in pydicom.

    Args:
        elements: The data set's.
        surroundings: Counts the paths.
        prefix: What the data set's paths begin with.

    Returns:
        The elements, and the replaced ones with their paths.

    Raises:
        HeaderLimitError: The paths take too much memory.
    """
    replaced: list[tuple[str, RawElement]] = []
    latest: dict[int, RawElement] = {}
    for tag, vr, raw, offset, length in elements:
        value = raw
        if isinstance(raw, Items):
            value = Items()
            path = prefix + name_of(tag)
            for index, item in enumerate(raw):
                ordered, within = in_order(item, surroundings, f"{path}[{index}].")
                value.parts.append(ordered)
                replaced += within
        if tag in latest:
            path = prefix + name_of(tag)
            surroundings.tally.entry()
            surroundings.tally.path(path)
            replaced.append((path, latest[tag]))
        latest[tag] = (tag, vr, value, offset, length)
    return [latest[tag] for tag in sorted(latest)], replaced


def _first_number(elements: list[RawElement], tag: int) -> int | None:
    for element in elements:
        if element[0] == tag and isinstance(element[2], bytes) and len(element[2]) >= 2:
            return int.from_bytes(element[2][:2], "little")
    return None
