"""Reads the two offset tables of DICOM: the basic one, and the extended one with 64 bits per frame."""

import sys
from array import array
from typing import Final

from harvester.dicom.element import RawElement
from harvester.dicom.frames.index import FrameIndex, PixelData, Reading
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

_LAST: Final = 1 << 62  # no offset comes near it; sums stay below 64 bits


def read_basic_table(pixels: PixelData) -> Reading:
    """The index that the first item of the pixel data holds (PS3.5 A.4).

    Raises:
        FrameIndexError: The item is empty, or its offsets are wrong.
    """
    length = yield from basic_table_length(pixels)
    if not length:
        raise FrameIndexError("the basic offset table is empty", offset=pixels.offset)
    pixels.check_number_of_frames()
    if length != 4 * pixels.number_of_frames:
        raise FrameIndexError(
            f"the basic offset table has {length} bytes for {pixels.number_of_frames} frames",
            offset=pixels.offset,
        )
    start = pixels.offset + ITEM_HEADER
    (table,) = yield (ByteRange(start, start + length),)
    first = start + length
    offsets = array("Q", (first + offset for offset in _numbers("I", table)))
    check_order(offsets, pixels, first)
    end = yield from check_items(offsets, pixels)
    return FrameIndex.between("basic", offsets, end)


def read_extended_table(pixels: PixelData) -> Reading:
    """The index that (7FE0,0001) and (7FE0,0002) hold (PS3.3 C.7.6.3.1.8): one fragment per frame.

    Some programs include the header of the item in the lengths: then only the offsets are used, and more
    of them are checked.

    Raises:
        FrameIndexError: There is none, or its offsets are wrong.
    """
    pixels.check_number_of_frames()
    length = yield from basic_table_length(pixels)
    first = pixels.offset + ITEM_HEADER + length
    offsets = yield from _table(pixels.tables[0], "the extended offset table", pixels)
    lengths = yield from _table(pixels.tables[1], "the extended offset table's lengths", pixels)
    if max(offsets) >= _LAST or max(lengths) >= _LAST:
        raise FrameIndexError("the extended offset table points beyond the end of any object")
    offsets = array("Q", (first + offset for offset in offsets))
    check_order(offsets, pixels, first)
    ends = [start + ITEM_HEADER + length + length % 2 for start, length in zip(offsets, lengths, strict=True)]
    doubtful = gaps(ends, offsets)
    end = yield from check_items(offsets, pixels, None if doubtful else ends[-1], doubtful)
    # Lengths that do not fit may also mean frames in several fragments.
    return FrameIndex.between("extended", offsets, end, fragmented=None if doubtful else False)


def plausible_index(table: bytes, pixels: PixelData) -> FrameIndex | None:
    """The index of a basic table whose offsets ascend from the first fragment, else None.

    No item is checked here; reading a frame checks its item. The last frame is assumed to end with the
    object: until it is read, elements after the pixel data count as part of it.

    Args:
        table: The first item's value.
        pixels: The object.
    """
    first = pixels.offset + ITEM_HEADER + len(table)
    offsets = array("Q", (first + offset for offset in _numbers("I", table)))
    end = pixels.size - ITEM_HEADER  # PS3.5 A.4: a sequence delimitation item
    try:
        check_order(offsets, pixels, first)
    except FrameIndexError:
        return None
    return FrameIndex.between("basic", offsets, end) if offsets[-1] + ITEM_HEADER <= end else None


def contiguous_index(table: bytes, lengths: bytes, first: int, size: int) -> FrameIndex | None:
    """The index of an extended table whose frames follow each other up to the object's end, else None.

    No item is checked here; reading a frame checks its item.

    Args:
        table: The value of (7FE0,0001).
        lengths: The value of (7FE0,0002).
        first: Where the first fragment starts.
        size: The object's, in bytes.
    """
    if not table or len(table) != len(lengths) or len(table) % 8:
        return None
    end, offsets = 0, _numbers("Q", table)
    for offset, length in zip(offsets, _numbers("Q", lengths), strict=True):
        if offset != end:
            return None
        end += ITEM_HEADER + length + length % 2
    if first + end + ITEM_HEADER != size:  # PS3.5 A.4: a sequence delimitation item ends it
        return None
    starts = array("Q", (first + offset for offset in offsets))
    return FrameIndex.between("extended", starts, first + end, fragmented=False)


def _table(element: RawElement | None, name: str, pixels: PixelData) -> Steps["array[int]"]:
    if element is None:
        raise FrameIndexError(f"{name} is missing")
    _tag, _vr, raw, offset, length = element
    if length != 8 * pixels.number_of_frames:
        raise FrameIndexError(
            f"{name} has {length} bytes for {pixels.number_of_frames} frames", offset=offset
        )
    if not isinstance(raw, bytes):
        (raw,) = yield (ByteRange(offset, offset + length),)
    return _numbers("Q", raw)


def _numbers(kind: str, raw: bytes) -> "array[int]":
    numbers = array(kind, raw)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
