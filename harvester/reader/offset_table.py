"""The same file with an offset table that is true: what is put in, where, and how all behind it moves.

The bytes of the frames stay as they are, and so do their distances, which are what a table holds.
"""

import struct
from array import array
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final, Literal

from harvester.dicom import Header
from harvester.dicom.frames import FrameIndex, filling_index
from harvester.errors import FrameIndexError
from harvester.model import ByteRange

TableKind = Literal["extended", "basic"]

_EXTENDED: Final = (0x7FE00001, 0x7FE00002)
_LONG_VRS: Final = frozenset({"OV", "OB", "OW", "UN"})  # with a length of 32 bits (PS3.5 7.1.2)
_ITEM: Final = b"\xfe\xff\x00\xe0"
_ITEM_HEADER: Final = 8
_LARGEST_BASIC: Final = 1 << 32  # bytes: its offsets have 32 bits
_LONGEST_OWN: Final = 32 << 20  # bytes of a table that is read to be checked: more are no table


@dataclass(frozen=True, slots=True)
class Splice:
    """Some bytes of a file that others stand in for.

    Attributes:
        at: DatasetLike they start, in the file as it is.
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
    """An offset table for an object whose file has none, or in the place of one that may be wrong.

    Attributes:
        kind: Extended: two elements in front of the pixel data; basic: in its first item.
        frames: How many it has.
        header: The object's.
        own: What the file has in its place: both elements of its extended table, or its basic one with
            the header of the item. None: nothing; of a basic table the empty item.
    """

    kind: TableKind
    frames: int
    header: Header
    own: ByteRange | None = None

    @property
    def splice(self) -> Splice:
        """DatasetLike it goes. Its length is known before its content is."""
        if self.kind == "basic":
            start = self.header.pixel_data_offset or 0
            place, removed, length = start, _ITEM_HEADER, _ITEM_HEADER + 4 * self.frames
        else:
            place, removed = self.header.header_bytes, 0
            length = 2 * (self.element_header + 8 * self.frames)
        if self.own is not None:
            place, removed = self.own.start, len(self.own)
        return Splice(place, removed, length)

    @property
    def element_header(self) -> int:
        """How many bytes stand in front of the value of an element of an extended table."""
        return 8 if self.header.implicit else 12  # PS3.5 7.1.2 and 7.1.3

    def credible_index(self, own: bytes, size: int) -> FrameIndex | None:
        """What the file's own table says, where it need not be looked up: an extended one.

        It is so if its frames follow each other from the first fragment to the object's end. A wrong one
        counts from somewhere else, lost bits, or tells of other frames, and does not fill it to the byte.

        Args:
            own: The file's own.
            size: The object's, in bytes.
        """
        value, behind = self.element_header, self.element_header + 8 * self.frames
        if self.kind == "basic" or len(own) != 2 * behind or self.header.basic_offset_table:
            return None
        first = (self.header.pixel_data_offset or 0) + _ITEM_HEADER
        return filling_index(own[value:behind], own[behind + value :], first, size)

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
            return _ITEM + struct.pack(f"<L{self.frames}L", 4 * self.frames, *offsets)
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
        # A group length is retired, and nobody reads it (PS3.5 7.2).
        and not any(element[0] >> 16 == 0x7FE0 and element[0] & 0xFFFF for element in header.elements)
    )


def own_table(header: Header, frames: int, first_item: bytes) -> VirtualTable | None:
    """The table that a file has itself, if another one could be put in its place.

    Args:
        header: The object's; its pixel data is encapsulated.
        frames: How many it has.
        first_item: The first eight bytes of the pixel data's value: the header of its basic offset table.
    """
    found = [element for element in header.elements if element[0] in _EXTENDED]
    if found:  # where there are both, this is the one that programs read
        table = VirtualTable("extended", frames, header)
        head = table.element_header
        together = all(one[3] + one[4] == other[3] - head for one, other in pairwise(found))
        if not together or any(vr not in _LONG_VRS for _tag, vr, *_ in found):
            return None
        return replace(table, own=ByteRange(found[0][3] - head, found[-1][3] + found[-1][4]))
    start, length = header.pixel_data_offset, int.from_bytes(first_item[4:8], "little")
    if start is None or not header.basic_offset_table or not first_item.startswith(_ITEM):
        return None
    if length > _LONGEST_OWN:
        return None
    return VirtualTable("basic", frames, header, own=ByteRange(start, start + _ITEM_HEADER + length))


def fits_basic(size: int) -> bool:
    """Whether the offsets of an object's frames have 32 bits for certain."""
    return size <= _LARGEST_BASIC
