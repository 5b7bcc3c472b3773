"""The same file with an offset table: what is put in, where, and how everything behind it moves.

The bytes of the frames stay as they are, and so do their distances, which are what a table holds.
"""

import struct
from array import array
from dataclasses import dataclass
from typing import Final, Literal

from harvester.dicom import Header
from harvester.dicom.frames import FrameIndex
from harvester.errors import FrameIndexError
from harvester.model import ByteRange

TableKind = Literal["extended", "basic"]

_EXTENDED: Final = (0x7FE00001, 0x7FE00002)
_GROUP_LENGTH: Final = 0x7FE00000
_ITEM_HEADER: Final = 8
_LARGEST_BASIC: Final = 1 << 32  # bytes: its offsets have 32 bits


@dataclass(frozen=True, slots=True)
class Splice:
    """Some bytes of a file that others stand in for.

    Attributes:
        at: Where they start, in the file as it is.
        removed: How many they are.
        length: How many stand in for them.
    """

    at: int
    removed: int
    length: int

    @property
    def shift(self) -> int:
        """By how much everything behind moves."""
        return self.length - self.removed

    def pieces(self, start: int, stop: int) -> list[tuple[bool, ByteRange]]:
        """What a range of the spliced file is made of.

        Returns:
            In order: True and a range of the bytes put in, or False and a range of the file as it is.
        """
        end = self.at + self.length
        bounds = (
            (False, start, min(stop, self.at)),
            (True, max(start, self.at) - self.at, min(stop, end) - self.at),
            (False, max(start, end) - self.shift, stop - self.shift),
        )
        return [(put_in, ByteRange(first, last)) for put_in, first, last in bounds if first < last]


@dataclass(frozen=True, slots=True)
class VirtualTable:
    """An offset table for an object whose file has none.

    Attributes:
        kind: Extended: two elements in front of the pixel data; basic: in its first item, which is empty.
        frames: How many it has.
        header: The object's.
    """

    kind: TableKind
    frames: int
    header: Header

    @property
    def splice(self) -> Splice:
        """Where it goes. Its length is known before its content is."""
        if self.kind == "basic":
            offset = self.header.pixel_data_offset or 0
            return Splice(offset, _ITEM_HEADER, _ITEM_HEADER + 4 * self.frames)
        return Splice(self.header.header_bytes, 0, 2 * (self._element_header + 8 * self.frames))

    @property
    def _element_header(self) -> int:
        return 8 if self.header.implicit else 12  # PS3.5 7.1.2 and 7.1.3

    def content(self, index: FrameIndex) -> bytes:
        """The bytes to put in.

        Raises:
            FrameIndexError: The index is not of this object, or too far for 32 bits.
        """
        if len(index) != self.frames:
            raise FrameIndexError(f"{len(index)} places of frames, but {self.frames} frames")
        first = index.offsets[0]
        offsets = [offset - first for offset in index.offsets]
        if self.kind == "basic":
            if offsets[-1] >= _LARGEST_BASIC:
                raise FrameIndexError("the pixel data is too long for a basic offset table")
            return b"\xfe\xff\x00\xe0" + struct.pack(f"<L{self.frames}L", 4 * self.frames, *offsets)
        lengths = [length - _ITEM_HEADER for length in index.lengths]
        return b"".join(
            self._element(tag, array("Q", values))
            for tag, values in zip(_EXTENDED, (offsets, lengths), strict=True)
        )

    def _element(self, tag: int, values: "array[int]") -> bytes:
        group, element = tag >> 16, tag & 0xFFFF
        raw = struct.pack(f"<{len(values)}Q", *values)
        if self.header.implicit:
            return struct.pack("<HHL", group, element, len(raw)) + raw
        return struct.pack("<HH2sHL", group, element, b"OV", 0, len(raw)) + raw


def lacks_table(header: Header | None) -> bool:
    """Whether an offset table can be put into a file: it is encapsulated, and has none."""
    return (
        header is not None
        and bool(header.encapsulated)
        and not header.deflated
        and not header.big_endian
        and not header.basic_offset_table
        and not any(element[0] >> 16 == 0x7FE0 for element in header.elements)
    )


def fits_basic(size: int) -> bool:
    """Whether the offsets of an object's frames have 32 bits for certain."""
    return size <= _LARGEST_BASIC
