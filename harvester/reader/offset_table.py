"""An offset table put into a file, or in place of a wrong one: its bytes, its place, and what moves.

The frames' bytes stay as they are, and so do the distances between them, which are what a table holds.
"""

import struct
from array import array
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

from harvester.dicom import Header
from harvester.dicom.frames import FrameIndex, PixelData, contiguous_index, plausible_index
from harvester.errors import FrameIndexError
from harvester.model import ByteRange

TableKind = Literal["extended", "basic"]

_EXTENDED: Final = (0x7FE00001, 0x7FE00002)
_LONG_VRS: Final = frozenset({"OV", "OB", "OW", "UN"})  # with a length of 32 bits (PS3.5 7.1.2)
_ITEM: Final = b"\xfe\xff\x00\xe0"
_ITEM_HEADER: Final = 8
_LARGEST_BASIC: Final = 1 << 32  # bytes: a basic table's offsets have 32 bits
_LONGEST_OWN: Final = 32 << 20  # bytes of a table that is read to be compared; a longer one is damaged


@dataclass(frozen=True, slots=True)
class Splice:
    """A range of a file that is replaced by other bytes.

    Attributes:
        at: Offset of the range in the file.
        removed: Its length.
        length: The length of the bytes put in its place.
    """

    at: int
    removed: int
    length: int

    @property
    def shift(self) -> int:
        """The number of bytes by which everything after it moves."""
        return self.length - self.removed

    def pieces(self, start: int, stop: int) -> list[tuple[bool, ByteRange]]:
        """The pieces that make up a range of the resulting file.

        Returns:
            In order: True and a range of the bytes put in, or False and a range of the original file.
        """
        end = self.at + self.length
        bounds = (
            (False, start, min(stop, self.at)),
            (True, max(start, self.at) - self.at, min(stop, end) - self.at),
            (False, max(start, end) - self.shift, stop - self.shift),
        )
        return [(is_inserted, ByteRange(first, last)) for is_inserted, first, last in bounds if first < last]


@dataclass(frozen=True, slots=True)
class VirtualTable:
    """An offset table for an object that has none, or that replaces the object's own.

    Attributes:
        kind: Extended: two elements before the pixel data. Basic: the first item of the pixel data.
        frames: The number of frames.
        header: The object's header.
        own: The bytes of the object that it replaces: both elements of an extended table, or a basic table
            with its item header. None: nothing, or the empty item of a basic table.
        before: Bytes of the object that are kept between the start of `own` and a basic table.
    """

    kind: TableKind
    frames: int
    header: Header
    own: ByteRange | None = None
    before: bytes = b""

    @property
    def splice(self) -> Splice:
        """Place and length of the table; they are known before the frames are."""
        if self.kind == "basic":
            start = self.header.pixel_data_offset or 0
            place, removed = start, _ITEM_HEADER
            length = len(self.before) + _ITEM_HEADER + 4 * self.frames
        else:
            place, removed = self.header.header_bytes, 0
            length = 2 * (self.element_header + 8 * self.frames)
        if self.own is not None:
            place, removed = self.own.start, len(self.own)
        return Splice(place, removed, length)

    @property
    def element_header(self) -> int:
        """Number of bytes before the value of an element of an extended table."""
        return 8 if self.header.implicit else 12  # PS3.5 7.1.2 and 7.1.3

    def credible_index(self, own: bytes, size: int) -> FrameIndex | None:
        """The index of the object's own table if arithmetic alone confirms it; frames are checked when read.

        The offsets ascend from the first fragment. The frames of an extended table also follow each other up
        to the object's end: a wrong one counts from another place, lost bits, or describes other frames.

        Args:
            own: The bytes of the object's table.
            size: The object's size in bytes.
        """
        value, behind = self.element_header, self.element_header + 8 * self.frames
        if self.kind == "basic":
            fits = len(own) == _ITEM_HEADER + 4 * self.frames
            return plausible_index(own[_ITEM_HEADER:], PixelData.of(self.header, size)) if fits else None
        if len(own) != 2 * behind or self.header.basic_offset_table:
            return None
        first = (self.header.pixel_data_offset or 0) + _ITEM_HEADER
        return contiguous_index(own[value:behind], own[behind + value :], first, size)

    def agrees(self, own: bytes, index: FrameIndex) -> bool:
        """Whether the object's own table equals an index; the padding of an odd frame may be left out."""
        content = self.content(index)
        if self.kind == "basic" or len(own) != len(content):
            return own == content
        behind = self.element_header + 8 * self.frames
        if own[:behind] != content[:behind]:
            return False
        said = struct.unpack_from(f"<{self.frames}Q", own, behind + self.element_header)
        return all(
            length - _ITEM_HEADER - one in (0, 1) for one, length in zip(said, index.lengths, strict=True)
        )

    def content(self, index: FrameIndex) -> bytes:
        """The bytes to put in.

        Raises:
            FrameIndexError: The index has another number of frames, or the table cannot hold it.
        """
        if len(index) != self.frames:
            raise FrameIndexError(f"the index has {len(index)} frames, the object has {self.frames}")
        first = index.offsets[0]
        offsets = [offset - first for offset in index.offsets]
        if self.kind == "basic":
            if offsets[-1] >= _LARGEST_BASIC:
                raise FrameIndexError("the pixel data is too long for a basic offset table")
            return self.before + _ITEM + struct.pack(f"<L{self.frames}L", 4 * self.frames, *offsets)
        if index.fragmented:  # PS3.3 C.7.6.3.1.8
            raise FrameIndexError("an extended offset table is for frames of one fragment each")
        lengths = [length - _ITEM_HEADER for length in index.lengths]
        return b"".join(
            self._element(tag, array("Q", values))
            for tag, values in zip(_EXTENDED, (offsets, lengths), strict=True)
        )

    def padding(self) -> bytes:
        """An element as long as the table that was to be put in, to follow the object's last byte."""
        length = self.splice.shift
        if self.header.implicit:
            return struct.pack("<HHL", 0xFFFC, 0xFFFC, length - 8) + bytes(length - 8)
        if length < 12:  # Data Set Trailing Padding has VR OB, whose header is longer
            return struct.pack("<HH2sH", 0xFFFC, 0xFFFC, b"LO", length - 8) + bytes(length - 8)
        return struct.pack("<HH2sHL", 0xFFFC, 0xFFFC, b"OB", 0, length - 12) + bytes(length - 12)

    def _element(self, tag: int, values: "array[int]") -> bytes:
        group, element = tag >> 16, tag & 0xFFFF
        raw = struct.pack(f"<{len(values)}Q", *values)
        if self.header.implicit:
            return struct.pack("<HHL", group, element, len(raw)) + raw
        return struct.pack("<HH2sHL", group, element, b"OV", 0, len(raw)) + raw


def lacks_table(header: Header) -> bool:
    """Whether an offset table can be put into a file: it has encapsulated pixel data and no table."""
    return (
        bool(header.encapsulated)
        and not header.deflated
        and not header.big_endian
        and not header.basic_offset_table
        # A group length (7FE0,0000) is retired, and readers ignore it (PS3.5 7.2).
        and not any(element[0] >> 16 == 0x7FE0 and element[0] & 0xFFFF for element in header.elements)
    )


def own_table(header: Header, frames: int, first_item: bytes) -> VirtualTable | None:
    """The object's own table, if another one could replace it.

    Args:
        header: The object's header; its pixel data is encapsulated.
        frames: The number of frames.
        first_item: The first eight bytes of the pixel data's value: the basic offset table's item header.
    """
    found = [element for element in header.elements if element[0] in _EXTENDED]
    if found:  # with both tables, programs read this one
        head = VirtualTable("extended", frames, header).element_header
        together = all(one[3] + one[4] == other[3] - head for one, other in pairwise(found))
        if not together or any(vr not in _LONG_VRS for _tag, vr, *_ in found):
            return None
        own = ByteRange(found[0][3] - head, found[-1][3] + found[-1][4])
        return VirtualTable("extended", frames, header, own)
    start, length = header.pixel_data_offset, int.from_bytes(first_item[4:8], "little")
    if start is None or not header.basic_offset_table or not first_item.startswith(_ITEM):
        return None
    if length > _LONGEST_OWN:
        return None
    return VirtualTable("basic", frames, header, ByteRange(start, start + _ITEM_HEADER + length))


def fits_basic(size: int) -> bool:
    """Whether the frame offsets of an object of this size fit into 32 bits."""
    return size <= _LARGEST_BASIC
