"""DICOM files made byte by byte, for content that no library writes."""

import struct

LONG = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
ITEM, ITEM_END, SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0"
UNDEFINED = 0xFFFFFFFF


def element(tag: int, vr: str, value: bytes, length: int | None = None) -> bytes:
    """One element in Explicit VR Little Endian."""
    size = len(value) if length is None else length
    length_field = struct.pack("<HL", 0, size) if vr in LONG else struct.pack("<H", size)
    return struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr.encode() + length_field + value


def item(*elements: bytes) -> bytes:
    body = b"".join(elements)
    return ITEM + struct.pack("<L", len(body)) + body


def part10(
    *elements: bytes, transfer_syntax: bytes = b"1.2.840.10008.1.2.1\0", preamble: bytes = bytes(128)
) -> bytes:
    syntax = element(0x00020010, "UI", transfer_syntax)
    meta = element(0x00020000, "UL", struct.pack("<L", len(syntax))) + syntax
    return preamble + b"DICM" + meta + b"".join(elements)


def implicit(tag: int, value: bytes, length: int | None = None) -> bytes:
    """One element in Implicit VR Little Endian."""
    return struct.pack("<HHL", tag >> 16, tag & 0xFFFF, len(value) if length is None else length) + value


def big_endian(tag: int, vr: str, value: bytes) -> bytes:
    """One element in Explicit VR Big Endian; the value is as given."""
    length_field = struct.pack(">HL", 0, len(value)) if vr in LONG else struct.pack(">H", len(value))
    return struct.pack(">HH", tag >> 16, tag & 0xFFFF) + vr.encode() + length_field + value


def open_item(*elements: bytes) -> bytes:
    """An item of undefined length."""
    return ITEM + struct.pack("<L", UNDEFINED) + b"".join(elements) + ITEM_END + bytes(4)


def sequence(tag: int, *items: bytes, vr: str = "SQ") -> bytes:
    """A sequence of defined length in Explicit VR Little Endian."""
    return element(tag, vr, b"".join(items))


def open_sequence(tag: int, *items: bytes, vr: str = "SQ") -> bytes:
    """A sequence of undefined length in Explicit VR Little Endian."""
    return element(tag, vr, b"".join(items) + SEQUENCE_END + bytes(4), UNDEFINED)
