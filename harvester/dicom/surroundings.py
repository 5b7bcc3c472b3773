"""What an element asks of the data sets around it: its path, its owner, whether pixels are signed."""

from harvester.dicom.dictionary import (
    LUT_DATA,
    LUT_DESCRIPTOR,
    PIXEL_REPRESENTATION,
    attribute,
)
from harvester.dicom.element import Items, RawElement


class Surroundings:
    """The data sets that are open while one header is read, the innermost last.

    Attributes:
        sequences: The open sequences: each one's name, which of its items is at hand, and the elements
            of the data set that holds it.
    """

    __slots__ = ("_prefix", "_representations", "sequences")

    def __init__(self) -> None:
        self.sequences: list[tuple[str, int, list[RawElement]]] = []
        self._prefix: tuple[object, str] = (None, "")
        # Each data set is searched once, however many of its elements ask.
        self._representations: dict[int, int | None] = {}

    def forget(self) -> None:
        """Begin the next header."""
        self.sequences.clear()
        self._prefix = (None, "")
        self._representations.clear()

    def path(self, name: str) -> str:
        """The path of an element of the data set at hand: `SegmentSequence[0].00091001`."""
        if not self.sequences:
            return name
        innermost, prefix = self._prefix
        if innermost is not self.sequences[-1]:
            prefix = "".join(f"{sequence}[{index}]." for sequence, index, _ in self.sequences)
            self._prefix = (self.sequences[-1], prefix)
        return prefix + name

    def settled(self, vr: str, tag: int, elements: list[RawElement]) -> str:
        """What an ambiguous value representation of the dictionary means here (PS3.5 annex A.1)."""
        if " or " not in vr:
            return vr
        if vr == "US or SS":
            return "SS" if self._is_signed(elements) else "US"
        if tag == LUT_DATA and _first_number(elements, LUT_DESCRIPTOR) == 1:
            return "US"  # PS3.3 C.11.1.1.1: a table of one value
        return "OW"

    def _is_signed(self, elements: list[RawElement]) -> bool:
        """Pixel Representation of the nearest enclosing data set that has one; unsigned if none has."""
        representation = self._representation(elements)
        for _, _, above in reversed(self.sequences):
            if representation is not None:
                break
            representation = self._representation(above)
        return representation == 1

    def _representation(self, elements: list[RawElement]) -> int | None:
        key = id(elements)
        if key not in self._representations:
            self._representations[key] = _first_number(elements, PIXEL_REPRESENTATION)
        return self._representations[key]


def private_creators(elements: list[RawElement]) -> dict[int, str]:
    """Who owns which block of private elements in a data set, by the tag (gggg,00xx) that says so."""
    return {
        tag: raw.decode("latin-1").rstrip(" \0")
        for tag, _, raw, _, _ in elements
        if tag & 0x1FF00 == 0x10000 and tag & 0xFF >= 0x10 and isinstance(raw, bytes)
    }


def name_of(tag: int) -> str:
    """What an element is called in a path: its keyword where that is its own, else its tag."""
    entry = attribute(tag)
    return entry.keyword if entry is not None and entry.first else f"{tag:08X}"


def in_order(
    elements: list[RawElement], prefix: str = ""
) -> tuple[list[RawElement], list[tuple[str, RawElement]]]:
    """The same data set with ascending tags, each once; and the elements that a later one replaces.

    PS3.5 7.1 wants tags to ascend and to be unique; of repeated ones the last counts, as in pydicom.

    Returns:
        The elements, and the replaced ones with their paths.
    """
    replaced: list[tuple[str, RawElement]] = []
    latest: dict[int, RawElement] = {}
    for tag, vr, raw, offset, length in elements:
        path = prefix + name_of(tag)
        value = raw
        if isinstance(raw, Items):
            value = Items()
            for index, item in enumerate(raw):
                ordered, within = in_order(item, f"{path}[{index}].")
                value.parts.append(ordered)
                replaced += within
        if tag in latest:
            replaced.append((path, latest[tag]))
        latest[tag] = (tag, vr, value, offset, length)
    return [latest[tag] for tag in sorted(latest)], replaced


def _first_number(elements: list[RawElement], tag: int) -> int | None:
    for element in elements:
        if element[0] == tag and isinstance(element[2], bytes) and len(element[2]) >= 2:
            return int.from_bytes(element[2][:2], "little")
    return None
