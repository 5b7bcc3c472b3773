"""Reads the positions of frames from the TIFF directory of a file that is both DICOM and TIFF (PS3.10 7.1).

The directory has the offset and the length of each tile. In the same file these bytes are fragments of the
pixel data: the eight bytes before each must be the header of an item.
"""

import struct
import sys
from array import array
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from harvester.dicom.frames.index import MOST_FRAMES, FrameIndex, PixelData, Reading
from harvester.dicom.frames.items import (
    ITEM_HEADER,
    Steps,
    basic_table_length,
    check_items,
    check_order,
    gaps,
)
from harvester.errors import FrameIndexError
from harvester.model import ByteRange

_MOST_DIRECTORIES: Final = 256
_MOST_ENTRIES: Final = 4096  # of a directory; TIFF 6.0 knows fewer than 100 tags
_READ_AT_ONCE: Final = 4096  # bytes: most directories are shorter
_TILES: Final = ((324, 325), (273, 279))  # offsets and byte counts: of tiles, of strips
_WIDTHS: Final = {3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}  # SHORT, LONG, IFD, LONG8, IFD8


@dataclass(frozen=True, slots=True)
class _Form:
    """Byte order and width of a TIFF file's numbers: classic, or BigTIFF with 64 bits."""

    order: str
    big: bool

    @property
    def offset(self) -> struct.Struct:
        return struct.Struct(self.order + ("Q" if self.big else "L"))

    @property
    def count(self) -> struct.Struct:
        return struct.Struct(self.order + ("Q" if self.big else "H"))

    @property
    def entry(self) -> struct.Struct:
        return struct.Struct(self.order + ("HHQ8s" if self.big else "HHL4s"))

    def numbers(self, kind: int, raw: bytes) -> "array[int]":
        """The numbers of an entry."""
        numbers = array(_WIDTHS[kind], raw)
        if (self.order == "<") != (sys.byteorder == "little"):
            numbers.byteswap()
        return numbers


@dataclass(frozen=True, slots=True)
class _Entry:
    """A directory's entry: what kind of numbers, how many, and they themselves or where they are."""

    kind: int
    count: int
    field: bytes


_Directory = dict[int, _Entry]


def read_tiff_directory(pixels: PixelData) -> Reading:
    """The index that the TIFF directory gives.

    Raises:
        FrameIndexError: The file is no TIFF, its tiles are not the frames, or a tile is no fragment.
    """
    pixels.check_number_of_frames()
    (start,) = yield (ByteRange(0, 16),)
    form, position = _beginning(start)
    directories = yield from _directories(form, position, pixels.size)
    tiles = yield from _tiles(form, directories, pixels)
    length = yield from basic_table_length(pixels)
    if tiles[0][0] < ITEM_HEADER:
        raise FrameIndexError("a tile lies in front of the pixel data", offset=tiles[0][0])
    offsets = array("Q", (offset - ITEM_HEADER for offset, _ in tiles))
    check_order(offsets, pixels, pixels.offset + ITEM_HEADER + length)
    ends = [offset + count + count % 2 for offset, count in tiles]  # an item's length is even, a tile's not
    for place in gaps(ends, offsets):
        raise FrameIndexError(f"tile {place + 1} does not end where the next one starts", offset=ends[place])
    end = yield from check_items(offsets, pixels, ends[-1])
    return FrameIndex.between("tiff", offsets, end, fragmented=False)


def _beginning(start: bytes) -> tuple[_Form, int]:
    """The form of a TIFF file, and where its first directory is."""
    order = {b"II": "<", b"MM": ">"}.get(start[:2])
    if order is not None and len(start) == 16:
        magic = struct.unpack_from(order + "H", start, 2)[0]
        if magic == 42:
            return _Form(order, big=False), struct.unpack_from(order + "L", start, 4)[0]
        if magic == 43 and struct.unpack_from(order + "HH", start, 4) == (8, 0):
            return _Form(order, big=True), struct.unpack_from(order + "Q", start, 8)[0]
    raise FrameIndexError("the object does not begin as a TIFF file does", offset=0)


def _directories(form: _Form, position: int, size: int) -> Steps[list[_Directory]]:
    """All directories, wherever they lie: each says where the next one is."""
    found: list[_Directory] = []
    seen: set[int] = set()
    while position:
        if position in seen or len(seen) == _MOST_DIRECTORIES:
            raise FrameIndexError("the TIFF directories have no end", offset=position)
        seen.add(position)
        if position >= size:
            raise FrameIndexError("a TIFF directory lies behind the object's end", offset=position)
        (raw,) = yield (ByteRange(position, min(position + _READ_AT_ONCE, size)),)
        count = form.count.unpack_from(raw)[0] if len(raw) >= form.count.size else 0
        if not 0 < count <= _MOST_ENTRIES:
            raise FrameIndexError(f"a TIFF directory of {count} entries", offset=position)
        stop = form.count.size + count * form.entry.size
        length = stop + form.offset.size
        if position + length > size:
            raise FrameIndexError("the object ends inside a TIFF directory", offset=position)
        if length > len(raw):
            (raw,) = yield (ByteRange(position, position + length),)
        found.append(
            {
                tag: _Entry(kind, numbers, field)
                for tag, kind, numbers, field in form.entry.iter_unpack(raw[form.count.size : stop])
            }
        )
        position = form.offset.unpack_from(raw, stop)[0]
    if not found:
        raise FrameIndexError("the TIFF file has no directory", offset=0)
    return found


def _tiles(form: _Form, directories: list[_Directory], pixels: PixelData) -> Steps[list[tuple[int, int]]]:
    """Offset and byte count of each tile that is a frame, in the order of the pixel data.

    That is the order of the frames, whatever order the directory has: it names them row by row, and
    may name one twice, or one of no bytes, for an empty place (TILED_SPARSE has no frame there).
    """
    candidates = [pair for directory in directories for pair in _pairs(directory)]
    frames = pixels.number_of_frames
    if sum(offsets.count for offsets, _counts in candidates) > MOST_FRAMES:
        raise FrameIndexError(f"the TIFF directories name more than {MOST_FRAMES} tiles")
    every: set[tuple[int, int]] = set()
    for offsets, counts in candidates:
        starts = yield from _values(form, offsets, pixels.size)
        lengths = yield from _values(form, counts, pixels.size)
        tiles = {tile for tile in zip(starts, lengths, strict=True) if tile[1]}
        if len(tiles) == frames:
            return sorted(tiles)
        every |= tiles
    if len(every) != frames:  # a directory a frame, perhaps
        raise FrameIndexError(f"the TIFF directories name {len(every)} tiles for {frames} frames")
    return sorted(every)


def _pairs(directory: _Directory) -> Iterator[tuple[_Entry, _Entry]]:
    for offsets, counts in _TILES:
        pair = directory.get(offsets), directory.get(counts)
        if pair[0] is not None and pair[1] is not None:
            if pair[0].count != pair[1].count:
                raise FrameIndexError(
                    f"a TIFF directory has {pair[0].count} offsets and {pair[1].count} byte counts"
                )
            yield pair[0], pair[1]


def _values(form: _Form, entry: _Entry, size: int) -> Steps["array[int]"]:
    if entry.kind not in _WIDTHS:
        raise FrameIndexError(f"offsets of tiles are of TIFF type {entry.kind}")
    length = entry.count * array(_WIDTHS[entry.kind]).itemsize
    if length <= len(entry.field):
        return form.numbers(entry.kind, entry.field[:length])
    start = form.offset.unpack(entry.field)[0]
    if start + length > size:
        raise FrameIndexError("a TIFF directory's values lie behind the object's end", offset=start)
    (raw,) = yield (ByteRange(start, start + length),)
    return form.numbers(entry.kind, raw)


def read_tiff_numbers(size: int, tags: Collection[int]) -> Steps[list[Mapping[int, int]]]:
    """Read some tags of each TIFF directory of a file: the first number of each tag that is there.

    Args:
        size: The object's, in bytes.
        tags: Tags whose values are integers.

    Raises:
        FrameIndexError: The file is no TIFF, or an entry is not of integers.
    """
    (start,) = yield (ByteRange(0, 16),)
    form, position = _beginning(start)
    directories = yield from _directories(form, position, size)
    found: list[Mapping[int, int]] = []
    for directory in directories:
        numbers: dict[int, int] = {}
        for tag in tags:
            entry = directory.get(tag)
            if entry is not None and entry.count:
                values = yield from _values(form, entry, size)
                numbers[tag] = values[0]
        found.append(numbers)
    return found
