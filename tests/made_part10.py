"""DICOM files made by hand, byte by byte, for what no library would write."""

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
