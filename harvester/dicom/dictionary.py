"""What the DICOM data dictionary says of a tag: keyword, value representation, one value or many.

pydicom's dictionaries are the authority (PS3.6 chapters 6 to 8, PS3.7 annex E, and the private
dictionary that pydicom collected); this module only makes them quick to ask.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from pydicom.datadict import (  # type: ignore[attr-defined]
    DicomDictionary,
    RepeatersDictionary,
    get_entry,
    private_dictionary_VR,
)

ITEM: Final = 0xFFFEE000
ITEM_DELIMITATION: Final = 0xFFFEE00D
SEQUENCE_DELIMITATION: Final = 0xFFFEE0DD

SPECIFIC_CHARACTER_SET: Final = 0x00080005
# PS3.3 C.11.1.1.1: their first value is a count, never negative whatever the VR.
LUT_DESCRIPTORS: Final = frozenset({0x00281101, 0x00281102, 0x00281103, 0x00283002})
PIXEL_REPRESENTATION: Final = 0x00280103
LUT_DESCRIPTOR: Final = 0x00283002
LUT_DATA: Final = 0x00283006
EXTENDED_OFFSET_TABLE: Final = 0x7FE00001
FILE_META_INFORMATION_GROUP_LENGTH: Final = 0x00020000
TRANSFER_SYNTAX_UID: Final = 0x00020010
# Bytes of a private creator. PS3.5 6.2 has 64 characters; a longer text, told anew of each of its
# elements, would be a bomb: a part's worth of them must stay below the 2 GiB of an Arrow column.
LONGEST_CREATOR: Final = 96

# PS3.5 7.1.2: these have two reserved bytes and a length of 32 bits, all others one of 16.
LONG_FORM_VRS: Final = frozenset(
    {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}
)
SHORT_FORM_VRS: Final = frozenset(
    {
        "AE",
        "AS",
        "AT",
        "CS",
        "DA",
        "DS",
        "DT",
        "FD",
        "FL",
        "IS",
        "LO",
        "LT",
        "PN",
        "SH",
        "SL",
        "SS",
        "ST",
        "TM",
    }
    | {"UI", "UL", "US"}
)
BINARY_VRS: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_FIRST_REPEATERS: Final = frozenset(mask.replace("x", "0").upper() for mask in RepeatersDictionary)


def _masks() -> dict[int, frozenset[int]]:
    masks: dict[int, set[int]] = {}
    for text in RepeatersDictionary:
        fixed = int("".join("0" if digit == "x" else "F" for digit in text), 16)
        masks.setdefault(fixed, set()).add(int(text.replace("x", "0"), 16))
    return {fixed: frozenset(tags) for fixed, tags in masks.items()}


# The repeating attributes, by which bits of a tag are fixed: pydicom takes long to say that a tag is none.
_REPEATING: Final = _masks()


@dataclass(frozen=True, slots=True)
class Attribute:
    """One standard attribute: what its column is called and what the column holds.

    `vr` is the dictionary's, which may be ambiguous (`US or SS`); `many` is true for every value
    multiplicity but 1. `repeating` marks the repeating groups (50xx, 60xx and other tags that the
    dictionary writes with an x), where one keyword stands for the same attribute of many tags (PS3.5
    7.6), and `first` the one of them whose digits for x are zero: the one that has the column.
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
    """The dictionary's entry for a tag; None for private, unknown and nameless ones."""
    if tag & 0x10000:  # PS3.5 7.8: odd groups are private, whatever a repeating group's mask says
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


@lru_cache(maxsize=1)
def attributes_by_keyword() -> dict[str, Attribute]:
    """All attributes that can have a column, by their keyword in lower case: SQL ignores case.

    No two keywords are equal but for their case. Of a repeating group, it is the first tag's.
    """
    tags = (*DicomDictionary, *(int(mask.replace("x", "0"), 16) for mask in RepeatersDictionary))
    known = (attribute(tag) for tag in tags)
    return {entry.keyword.lower(): entry for entry in known if entry is not None and entry.first}


# By tag, without the delimitations; repeating groups are asked for through `standard_vr`.
STANDARD_VRS: Final[dict[int, str]] = {
    tag: entry[0] for tag, entry in DicomDictionary.items() if entry[0] != "NONE"
}


def standard_vr(tag: int) -> str | None:
    """The dictionary's value representation for a tag with an even group."""
    vr = STANDARD_VRS.get(tag)
    if vr is not None:
        return vr
    if not tag & 0xFFFF:
        return "UL"  # PS3.5 7.2: a group length, retired outside groups 0000 and 0002
    entry = attribute(tag)
    return entry.vr if entry is not None else None


@lru_cache(maxsize=1 << 16)
def private_vr(tag: int, creator: str) -> str:
    """The value representation of a private element, UN where its creator's dictionary is unknown."""
    try:
        return str(private_dictionary_VR(tag, creator)).replace("OB_OW", "OB or OW")  # as one entry has it
    except KeyError:
        return "UN"


def is_private_creator(tag: int) -> bool:
    """Whether a tag names the owner of a block of private elements (PS3.5 7.8.1)."""
    return bool(tag & 0x10000) and 0x10 <= tag & 0xFFFF <= 0xFF


def creator_tag(tag: int) -> int:
    """Where the creator of a private element stands: (gggg,xxee) is owned by (gggg,00xx)."""
    return (tag & 0xFFFF0000) | ((tag >> 8) & 0xFF)
