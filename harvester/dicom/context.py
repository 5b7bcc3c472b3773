"""What the meaning of an element depends on: its path, the character set, the sign of pixel values."""

from typing import Final

from harvester.dicom.budget import HeaderBudget
from harvester.dicom.charset import DEFAULT, MAX_CHARACTER_SET_BYTES, CharacterSet, character_set
from harvester.dicom.dictionary import (
    BINARY_VRS,
    LUT_DATA,
    LUT_DESCRIPTOR,
    NUMBER_VRS,
    PIXEL_REPRESENTATION,
)
from harvester.dicom.element import RawElement

_ESCAPE: Final = b"\x1b"


class HeaderContext:
    """The position in a header while its elements go into columns.

    Attributes:
        sequences: The open sequences, the innermost last: name, index of the current item, and the elements
            of the data set that contains the sequence.
        character_set: The encoding of text in the current data set.
        budget: What the header has taken so far.
    """

    __slots__ = ("_numbers", "_prefix", "budget", "character_set", "sequences")

    def __init__(self) -> None:
        self.sequences: list[tuple[str, int, list[RawElement]]] = []
        self._prefix: tuple[object, str] = (None, "")
        self.character_set: CharacterSet = DEFAULT
        self.budget = HeaderBudget()
        # Each data set is searched once for a tag: the latest at each depth, and the number found there.
        self._numbers: dict[tuple[int, int], tuple[list[RawElement], int | None]] = {}

    def reset(self) -> None:
        """Begin the next header."""
        self.sequences.clear()
        self._prefix = (None, "")
        self.character_set = DEFAULT
        self.budget.reset()
        self._numbers.clear()

    def path(self, name: str) -> str:
        """The path of an element of the current data set, counted: `SegmentSequence[0].00091001`.

        Raises:
            HeaderLimitError: The header has too many paths, or too long ones.
        """
        self.budget.entry()
        if not self.sequences:
            return name
        path = self.prefix() + name
        self.budget.path(path)
        return path

    def prefix(self) -> str:
        """The first part of all paths in the current data set: `SegmentSequence[0].`, or nothing."""
        if not self.sequences:
            return ""
        innermost, prefix = self._prefix
        if innermost is not self.sequences[-1]:
            prefix = "".join([f"{sequence}[{index}]." for sequence, index, _ in self.sequences])
            self._prefix = (self.sequences[-1], prefix)
        return prefix

    def enter_character_set(self, raw: bytes) -> None:
        """Use a Specific Character Set for the rest of the current data set.

        Raises:
            HeaderLimitError: The header has too many different ones.
        """
        self.budget.character_set(raw[:MAX_CHARACTER_SET_BYTES])
        self.character_set = character_set(raw)

    def text(self, vr: str, raw: object) -> str:
        """A raw value for display: text, or hexadecimal digits of a binary value; empty without bytes.

        Raises:
            HeaderLimitError: The header has too many escape sequences.
        """
        if not isinstance(raw, bytes):
            return ""
        if vr in NUMBER_VRS or vr in BINARY_VRS or " or " in vr:
            return raw.hex()
        if _ESCAPE in raw:
            self.budget.escapes(raw)
        text = self.character_set.decode(raw).rstrip(" \0")
        return text.replace("\x1b", "\N{SYMBOL FOR ESCAPE}")  # a terminal would obey it

    def definite_vr(self, vr: str, tag: int, elements: list[RawElement]) -> str:
        """The meaning of an ambiguous value representation in this data set (PS3.5 annex A.1)."""
        if " or " not in vr:
            return vr
        if vr == "US or SS":
            return "SS" if self._is_signed(elements) else "US"
        if tag == LUT_DATA and self._number(len(self.sequences), elements, LUT_DESCRIPTOR) == 1:
            return "US"  # PS3.3 C.11.1.1.1: a table of one value
        return "OW"

    def _is_signed(self, elements: list[RawElement]) -> bool:
        """Pixel Representation of the innermost data set that has one; unsigned if none has."""
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


def _first_number(elements: list[RawElement], tag: int) -> int | None:
    for element in elements:
        if element[0] == tag and isinstance(element[2], bytes) and len(element[2]) >= 2:
            return int.from_bytes(element[2][:2], "little")
    return None
