"""What the DICOM data dictionary says about a tag: keyword, value representation, multiplicity, creator.

pydicom's dictionaries are the authority (PS3.6 chapters 6 to 8, PS3.7 annex E, and the private dictionary
that pydicom has collected); this module makes their look-ups fast.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from pydicom.datadict import (  # type: ignore[attr-defined]
    DicomDictionary,
    RepeatersDictionary,
    get_entry,
    private_dictionary_VR,
)

from harvester.dicom.element import RawElement

ITEM: Final = 0xFFFEE000
ITEM_DELIMITATION: Final = 0xFFFEE00D
SEQUENCE_DELIMITATION: Final = 0xFFFEE0DD

FILE_META_INFORMATION_GROUP_LENGTH: Final = 0x00020000
TRANSFER_SYNTAX_UID: Final = 0x00020010
SPECIFIC_CHARACTER_SET: Final = 0x00080005
SOP_CLASS_UID: Final = 0x00080016
SOP_INSTANCE_UID: Final = 0x00080018
MODALITY: Final = 0x00080060
SERIES_INSTANCE_UID: Final = 0x0020000E
NUMBER_OF_FRAMES: Final = 0x00280008
ROWS: Final = 0x00280010
BITS_ALLOCATED: Final = 0x00280100
PIXEL_REPRESENTATION: Final = 0x00280103
LUT_DESCRIPTOR: Final = 0x00283002
LUT_DATA: Final = 0x00283006
EXTENDED_OFFSET_TABLE: Final = 0x7FE00001
# PS3.3 C.11.1.1.1: the first value is a count, never negative whatever the VR.
LUT_DESCRIPTORS: Final = frozenset({0x00281101, 0x00281102, 0x00281103, LUT_DESCRIPTOR})
# Bytes of a private creator. PS3.5 6.2 has 64 characters; each element of the creator repeats its name, and
# those of one part must stay below the 2 GiB of an Arrow column.
MAX_CREATOR_BYTES: Final = 96

# PS3.5 7.1.2: these have two reserved bytes and a length of 32 bits, all others a length of 16 bits.
LONG_FORM_VRS: Final = frozenset(
    {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}
)
SHORT_FORM_VRS: Final = frozenset(
    {"AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO"}
    | {"LT", "PN", "SH", "SL", "SS", "ST", "TM", "UI", "UL", "US"}
)
BINARY_VRS: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
# PS3.5 6.1.2.3: the Specific Character Set says how these are encoded.
CHARACTER_SET_VRS: Final = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
FLOAT_VRS: Final = frozenset({"FD", "FL"})
INTEGER_VRS: Final = frozenset({"SL", "SS", "SV", "UL", "US", "UV"})
NUMBER_VRS: Final = FLOAT_VRS | INTEGER_VRS | {"AT"}  # in binary
_FIRST_REPEATERS: Final = frozenset(mask.replace("x", "0").upper() for mask in RepeatersDictionary)


def _masks() -> dict[int, frozenset[int]]:
    masks: dict[int, set[int]] = {}
    for text in RepeatersDictionary:
        fixed = int("".join("0" if digit == "x" else "F" for digit in text), 16)
        masks.setdefault(fixed, set()).add(int(text.replace("x", "0"), 16))
    return {fixed: frozenset(tags) for fixed, tags in masks.items()}


# The repeating attributes, by the fixed bits of their tags: pydicom's own look-up is slow for other tags.
_REPEATING: Final = _masks()


@dataclass(frozen=True, slots=True)
class Attribute:
    """One standard attribute.

    Attributes:
        tag: Group and element number.
        keyword: The name of its column.
        vr: The dictionary's value representation, which may be ambiguous (`US or SS`).
        many: Whether the value multiplicity is not 1.
        repeating: Whether the dictionary writes the tag with an x (50xx, 60xx, ...), so that one keyword
            stands for many tags (PS3.5 7.6).
        first: Whether the digits for x are zero; only this tag of a repeating attribute has a column.
    """

    tag: int
    keyword: str
    vr: str
    many: bool
    repeating: bool = False
    first: bool = True


NO_ATTRIBUTE: Final = Attribute(0, "", "UN", many=False)


@lru_cache(maxsize=1 << 16)
def attribute(tag: int) -> Attribute | None:
    """The dictionary's entry for a tag; None for a private tag, or one without a keyword."""
    if tag & 0x10000:  # PS3.5 7.8: odd groups are private, even if a repeating group's mask matches
        return None
    if tag not in DicomDictionary and not any(tag & fixed in tags for fixed, tags in _REPEATING.items()):
        return None
    try:
        vr, vm, _name, _retired, keyword = get_entry(tag)
    except KeyError:
        return None
    if not keyword or vr == "NONE":
        return None
    repeating = tag not in DicomDictionary
    first = not repeating or f"{tag:08X}" in _FIRST_REPEATERS
    return Attribute(tag, keyword, vr, many=vm != "1", repeating=repeating, first=first)


def name_of(tag: int) -> str:
    """The name of an element in a path: its keyword if that means this tag alone, else the tag."""
    entry = attribute(tag)
    return entry.keyword if entry is not None and entry.first else f"{tag:08X}"


@lru_cache(maxsize=1)
def attributes_by_keyword() -> dict[str, Attribute]:
    """All attributes that can have a column, by keyword in lower case, because SQL ignores case.

    No two keywords differ in case alone. For a repeating attribute it is the first tag's.
    """
    tags = (*DicomDictionary, *(int(mask.replace("x", "0"), 16) for mask in RepeatersDictionary))
    known = (attribute(tag) for tag in tags)
    return {entry.keyword.lower(): entry for entry in known if entry is not None and entry.first}


# By tag, without delimitations and repeating attributes.
STANDARD_VRS: Final[dict[int, str]] = {
    tag: entry[0] for tag, entry in DicomDictionary.items() if entry[0] != "NONE"
}


def standard_vr(tag: int) -> str | None:
    """The dictionary's value representation of a tag with an even group."""
    vr = STANDARD_VRS.get(tag)
    if vr is not None:
        return vr
    if not tag & 0xFFFF:
        return "UL"  # PS3.5 7.2: a group length, retired outside groups 0000 and 0002
    entry = attribute(tag)
    return entry.vr if entry is not None else None


@lru_cache(maxsize=1 << 16)
def private_vr(tag: int, creator: str) -> str:
    """The value representation of a private element; UN if the dictionary lacks it."""
    try:
        return str(private_dictionary_VR(tag, creator)).replace("OB_OW", "OB or OW")  # one entry has it so
    except KeyError:
        return "UN"


def is_private_creator(tag: int) -> bool:
    """Whether a tag is that of a private creator (PS3.5 7.8.1)."""
    return bool(tag & 0x10000) and 0x10 <= tag & 0xFFFF <= 0xFF


def creator_tag(tag: int) -> int:
    """The tag of a private element's creator: (gggg,00xx) for (gggg,xxee)."""
    return (tag & 0xFFFF0000) | ((tag >> 8) & 0xFF)


def private_creators(elements: Iterable[RawElement]) -> dict[int, str]:
    """The private creators among some elements, by their tags (PS3.5 7.8.1)."""
    return {
        tag: raw.decode("latin-1").rstrip(" \0").replace("\x1b", "\N{SYMBOL FOR ESCAPE}")
        for tag, _, raw, _, length in elements
        if tag & 0x1FF00 == 0x10000
        and tag & 0xFF >= 0x10
        and isinstance(raw, bytes)
        and length <= MAX_CREATOR_BYTES
    }


class PrivateVRs:
    """Looks up the value representations of a data set's private elements while it is walked."""

    __slots__ = ("_creators", "_seen")

    def __init__(self) -> None:
        self._creators: dict[int, str] = {}
        self._seen = 0

    def vr_of(self, tag: int, elements: list[RawElement]) -> str:
        """The VR of a private element, `elements` being those before it: each is read once."""
        if is_private_creator(tag):
            return "LO"
        self._creators |= private_creators(elements[self._seen :])
        self._seen = len(elements)
        creator = self._creators.get(creator_tag(tag)) if tag & 0xFF00 else None
        return private_vr(tag, creator) if creator else "UN"
