"""TIFF directories, for files that are both DICOM and TIFF."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LONG, LONG8, SHORT = 4, 16, 3


@dataclass(frozen=True)
class Form:
    order: str
    big: bool

    @property
    def name(self) -> str:
        return f"{'BigTIFF' if self.big else 'classic'} {'little' if self.order == '<' else 'big'} endian"


FORMS = [Form(order, big) for big in (False, True) for order in "<>"]


def beginning(form: Form, directory: int) -> bytes:
    """The first bytes of a TIFF file whose first directory is there; they fill a preamble."""
    mark = b"II" if form.order == "<" else b"MM"
    if form.big:
        return (mark + struct.pack(form.order + "HHHQ", 43, 8, 0, directory)).ljust(128, b"\0")
    return (mark + struct.pack(form.order + "HL", 42, directory)).ljust(128, b"\0")


def directory(form: Form, at: int, entries: Mapping[int, Sequence[int]], following: int = 0) -> bytes:
    """One directory at offset `at`, followed by the values that do not fit into it."""
    kind, letter, width = (LONG8, "Q", 8) if form.big else (LONG, "L", 4)
    count, entry, pointer = ("Q", "HHQ", "Q") if form.big else ("H", "HHL", "L")
    size = struct.calcsize("<" + count) + len(entries) * (struct.calcsize("<" + entry) + width) + width
    body, values = struct.pack(form.order + count, len(entries)), b""
    for tag, numbers in sorted(entries.items()):
        raw = struct.pack(f"{form.order}{len(numbers)}{letter}", *numbers)
        body += struct.pack(form.order + entry, tag, kind, len(numbers))
        if len(raw) <= width:
            body += raw.ljust(width, b"\0")
        else:
            body += struct.pack(form.order + pointer, at + size + len(values))
            values += raw
    return body + struct.pack(form.order + pointer, following) + values
