"""Draws data sets of any structure with the expected elements, in three encodings."""

import struct
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from hypothesis import strategies as st
from made_part10 import LONG, UNDEFINED, part10
from pydicom.datadict import DicomDictionary

# Tag, value representation, bytes (numbers in little endian) or items.
Made: TypeAlias = tuple[int, str, "bytes | tuple[Item, ...]", bool]

WIDTHS = {"AT": 2, "FD": 8, "FL": 4, "SL": 4, "SS": 2, "SV": 8, "UL": 4, "US": 2, "UV": 8}
TEXT = {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"}
SYNTAXES = {
    "explicit": b"1.2.840.10008.1.2.1\0",
    "implicit": b"1.2.840.10008.1.2\0",
    "big endian": b"1.2.840.10008.1.2.2\0",
}
_MIXED = [0x00280010, 0x00280030, 0x00200032, 0x0020000D, 0x00081140, 0x00082218, 0x00400275, 0x00089215]
_POOL = sorted(
    {
        *_MIXED,
        *(
            tag
            for tag, (vr, *_) in list(DicomDictionary.items())[::23]
            if 0x00080010 < tag < 0x7FE00000 and " or " not in vr and vr != "NONE" and tag != 0x00080005
        ),
    }
)


@dataclass(frozen=True, slots=True)
class Item:
    """One item: its elements, and whether its length is undefined."""

    elements: tuple[Made, ...]
    is_open: bool


@dataclass(frozen=True, slots=True)
class MadeFile:
    """A file, the expected content of its data set, and its encoding."""

    raw: bytes = field(repr=False)
    expected: list[Any] = field(repr=False)
    encoding: str


def _values(vr: str) -> st.SearchStrategy[bytes]:
    if vr in WIDTHS:
        return st.integers(0, 4).flatmap(
            lambda n: st.binary(min_size=n * WIDTHS[vr], max_size=n * WIDTHS[vr])
        )
    if vr in TEXT:
        text = st.text("AB19.\\ ^=", max_size=12).map(str.encode)
        return text.map(lambda one: one + b" " * (len(one) % 2))
    return st.binary(max_size=8).map(lambda one: one + b"\0" * (len(one) % 2))


@st.composite
def _data_sets(draw: st.DrawFn, depth: int, *, most: int = 7) -> tuple[Made, ...]:
    tags = draw(st.lists(st.sampled_from(_POOL), unique=True, max_size=most))
    if draw(st.booleans()):
        tags += [0x00290010, 0x00291001, 0x00291002][: draw(st.integers(1, 3))]
    made: list[Made] = []
    for tag in sorted(tags):
        vr = {0x00290010: "LO", 0x00291001: "UN", 0x00291002: "UN"}.get(tag) or DicomDictionary[tag][0]
        if vr != "SQ":
            value = b"ACME" if tag == 0x00290010 else draw(_values(vr))
            made.append((tag, vr, value, False))
        elif depth:
            inner = _data_sets(depth - 1, most=4)
            items = draw(st.lists(st.builds(Item, inner, st.booleans()), max_size=3))
            if items and draw(st.booleans()):
                items *= draw(st.integers(1, 5))  # repeated structure becomes a pattern
            made.append((tag, vr, tuple(items), draw(st.booleans())))
    return tuple(made)


@st.composite
def made_files(draw: st.DrawFn, encodings: tuple[str, ...] = tuple(SYNTAXES)) -> MadeFile:
    """Files with nested data sets in one of the encodings."""
    encoding = draw(st.sampled_from(encodings))
    elements = ((0x00080005, "CS", b"ISO_IR 100", False), *draw(_data_sets(3)))
    raw = part10(encoded(elements, encoding), transfer_syntax=SYNTAXES[encoding])
    return MadeFile(raw, expected(elements), encoding)


def expected(elements: tuple[Made, ...]) -> list[Any]:
    """The expected result of a parser: tag, VR and value of each element."""
    return [
        (tag, vr, value if isinstance(value, bytes) else [expected(item.elements) for item in value])
        for tag, vr, value, _ in elements
    ]


def encoded(elements: tuple[Made, ...], encoding: str) -> bytes:
    """The elements' bytes."""
    return b"".join(_encoded(one, encoding) for one in elements)


def _encoded(made: Made, encoding: str) -> bytes:
    tag, vr, value, is_open = made
    order = ">" if encoding == "big endian" else "<"
    if isinstance(value, bytes):
        content = _swapped(value, vr) if order == ">" else value
    else:
        content = b"".join(_item(item, encoding, order) for item in value)
        content += struct.pack(f"{order}HHL", 0xFFFE, 0xE0DD, 0) if is_open else b""
    length = UNDEFINED if is_open else len(content)
    head = struct.pack(f"{order}HH", tag >> 16, tag & 0xFFFF)
    if encoding == "implicit":
        return head + struct.pack("<L", length) + content
    if vr in LONG:
        return head + vr.encode() + struct.pack(f"{order}HL", 0, length) + content
    return head + vr.encode() + struct.pack(f"{order}H", length) + content


def _item(item: Item, encoding: str, order: str) -> bytes:
    body = encoded(item.elements, encoding)
    head = struct.pack(f"{order}HHL", 0xFFFE, 0xE000, UNDEFINED if item.is_open else len(body))
    return head + body + (struct.pack(f"{order}HHL", 0xFFFE, 0xE00D, 0) if item.is_open else b"")


def _swapped(value: bytes, vr: str) -> bytes:
    width = WIDTHS.get(vr, 1)
    return b"".join(value[at : at + width][::-1] for at in range(0, len(value), width))
