"""Reads the items of encapsulated pixel data, and compares an offset table with the items."""

from array import array
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar

from harvester.dicom.element import UNDEFINED_LENGTH
from harvester.dicom.frames.index import MOST_FRAMES, PixelData, Wanted
from harvester.errors import FrameIndexError
from harvester.model import ByteRange

T = TypeVar("T")
Steps = Generator[Wanted, Sequence[bytes], T]

ITEM: Final = b"\xfe\xff\x00\xe0"
SEQUENCE_DELIMITATION: Final = b"\xfe\xff\xdd\xe0"
ITEM_HEADER: Final = 8  # bytes: the tag and the length, PS3.5 7.5
_FIRST_WINDOW: Final = 64 << 10
_LONGEST_WINDOW: Final = 8 << 20
# A fragment as long as this costs as much time to stream as a request for the next one's header takes:
# 5 ms at 50 MB a second.
_LARGE: Final = 256 << 10
# What an image begins with: JPEG and JPEG-LS (SOI and a marker), JPEG 2000 (SOC and SIZ), JPEG XL, and the
# last two in a box.
_FIRST_BYTES: Final = (
    b"\xff\xd8\xff",
    b"\xff\x4f\xff\x51",
    b"\xff\x0a",
    b"\0\0\0\x0cjP  ",
    b"\0\0\0\x0cJXL ",
)
# Transfer syntaxes of JPEG, JPEG-LS, JPEG 2000, JPEG XL and High-Throughput JPEG 2000 (PS3.6 A).
_IMAGES: Final = frozenset(
    f"1.2.840.10008.1.2.4.{number}"
    for number in (50, 51, 57, 70, 80, 81, 90, 91, 92, 93, 110, 111, 112, 201, 202, 203)
)
RLE: Final = "1.2.840.10008.1.2.5"
_MARKER: Final = 8  # bytes, the longest of `_FIRST_BYTES`
_LAST_MARKER: Final = b"\xff\xd9"  # the end of a JPEG, JPEG-LS or JPEG 2000 image
_TAIL: Final = 10  # bytes at the end of a fragment: its marker, and padding
_CHECKED: Final = 16  # offsets of a table: reading a frame checks its own offset anyway
_DOUBTED: Final = 128  # further offsets, where offsets and lengths of a table disagree


def item_length(header: bytes, offset: int) -> int:
    """The length of the item whose header this is.

    Raises:
        FrameIndexError: It is the header of something else.
    """
    length = int.from_bytes(header[4:8], "little")
    if len(header) < ITEM_HEADER or header[:4] != ITEM or length == UNDEFINED_LENGTH:
        raise FrameIndexError("there is no item of the pixel data", offset=offset)
    return length


def is_item(header: bytes, length: int) -> bool:
    """Whether eight bytes are the header of an item that takes at most `length` bytes with its header."""
    return header[:4] == ITEM and ITEM_HEADER + int.from_bytes(header[4:8], "little") <= length


def may_start_frame(data: bytes, transfer_syntax_uid: str | None) -> bool:
    """Whether these eight bytes of a fragment can be a frame's first; True for codecs without a marker."""
    if transfer_syntax_uid == RLE:  # PS3.5 G.5: the header starts with the number of segments
        return 1 <= int.from_bytes(data[:4], "little") <= 15
    return transfer_syntax_uid not in _IMAGES or data.startswith(_FIRST_BYTES)


def basic_table_length(pixels: PixelData) -> Steps[int]:
    """The length of the pixel data's first item, which is the basic offset table (PS3.5 A.4)."""
    (header,) = yield (ByteRange(pixels.offset, pixels.offset + ITEM_HEADER),)
    length = item_length(header, pixels.offset)
    if pixels.offset + ITEM_HEADER + length > pixels.size:
        raise FrameIndexError("the object ends inside its basic offset table", offset=pixels.offset)
    return length


def check_order(offsets: "array[int]", pixels: PixelData, first: int) -> None:
    """Refuse offsets that are wrong whatever the object contains.

    Args:
        offsets: Of the frames, from the object's start.
        pixels: The object.
        first: Of the first fragment.

    Raises:
        FrameIndexError: The first offset is not that of the first fragment, the offsets do not ascend, or
            the last one lies beyond the object's end.
    """
    if offsets[0] != first:
        raise FrameIndexError("frame 1 does not start at the first fragment", offset=offsets[0])
    before = offsets[0] - ITEM_HEADER
    for number, offset in enumerate(offsets, 1):
        if offset < before + ITEM_HEADER:
            raise FrameIndexError(
                f"frame {number} starts before the previous one in the offset table", offset=offset
            )
        before = offset
    if before + ITEM_HEADER > pixels.size:
        raise FrameIndexError(f"frame {len(offsets)} lies behind the object's end", offset=before)


def gaps(ends: Sequence[int], offsets: "array[int]") -> list[int]:
    """Which frames (from 0) do not end where the next one starts."""
    return [place for place in range(len(offsets) - 1) if ends[place] != offsets[place + 1]]


def check_items(
    offsets: "array[int]", pixels: PixelData, end: int | None = None, doubtful: Sequence[int] = ()
) -> Steps[int]:
    """Check that some of the offsets, always the first and the last, point to items.

    Args:
        offsets: Of the frames, ascending.
        pixels: The object.
        end: Where the last frame ends, if the table has it; the pixel data must end there.
        doubtful: Frames (from 0) to check as well, at most `_DOUBTED` of them.

    Returns:
        Where the last frame ends.

    Raises:
        FrameIndexError: There is no item, or it is longer than the table allows.
    """
    places = sorted(
        {*_spread(len(offsets), _CHECKED), *(doubtful[at] for at in _spread(len(doubtful), _DOUBTED))}
    )
    wanted = [ByteRange(offsets[place], offsets[place] + ITEM_HEADER) for place in places]
    if end is not None and end < pixels.size:
        wanted.append(ByteRange(end, end + ITEM_HEADER))
    headers = yield tuple(wanted)
    stop = 0
    for place, header in zip(places, headers, strict=False):
        try:
            stop = offsets[place] + ITEM_HEADER + item_length(header, offsets[place])
        except FrameIndexError:
            raise FrameIndexError(
                f"no item starts where the offset table has frame {place + 1}", offset=offsets[place]
            ) from None
        bound = offsets[place + 1] if place + 1 < len(offsets) else end or pixels.size
        if stop > bound:
            raise FrameIndexError(
                f"frame {place + 1} is longer than in the offset table", offset=offsets[place]
            )
    if end is None:
        return (yield from scan_fragments(pixels, stop)).end
    if end < pixels.size and headers[-1][:4] != SEQUENCE_DELIMITATION:
        raise FrameIndexError(
            "the pixel data does not end with the last frame of the offset table", offset=end
        )
    return end


@dataclass(slots=True)
class Fragments:
    """The fragments of pixel data, found by going from one item to the next.

    Attributes:
        offsets: Where each starts, in bytes from the object's start.
        starts: Of each, 1 if its first bytes are those that an image of one of the codecs begins with.
        ends: Of each, 1 if an image ends in its last bytes.
        end: Where the last one ends.
    """

    offsets: "array[int]" = field(default_factory=partial(array, "Q"))
    starts: bytearray = field(default_factory=bytearray)
    ends: bytearray = field(default_factory=bytearray)
    end: int = 0


def scan_fragments(pixels: PixelData, start: int) -> Steps[Fragments]:
    """Find all fragments from `start` on, in time and memory linear in their number.

    Small fragments are read whole, in windows of growing length: that is faster than a request for each
    of them. Of large fragments only the item headers are read.

    Raises:
        FrameIndexError: Something other than an item lies between them, the object ends inside one, or
            there are more than `MOST_FRAMES`.
    """
    found = Fragments(end=start)
    base, buffer, window = start, b"", _FIRST_WINDOW
    position = start
    while position < pixels.size:
        at = position - base
        if at + ITEM_HEADER + _MARKER > len(buffer) and base + len(buffer) < pixels.size:
            base = max(start, position - _TAIL)
            length = _TAIL + ITEM_HEADER + _MARKER
            if position - start < _LARGE * len(found.offsets):
                length, window = window, min(2 * window, _LONGEST_WINDOW)
            (buffer,) = yield (ByteRange(base, min(base + length, pixels.size)),)
            at = position - base
        if found.offsets:
            tail = max(found.offsets[-1] + ITEM_HEADER - base, at - _TAIL, 0)
            found.ends.append(_LAST_MARKER in buffer[tail:at])
        if buffer[at : at + 4] == SEQUENCE_DELIMITATION:
            break
        header = buffer[at : at + ITEM_HEADER]
        found.offsets.append(position)
        found.starts.append(buffer.startswith(_FIRST_BYTES, at + ITEM_HEADER))
        position += ITEM_HEADER + item_length(header, position)
        if len(found.offsets) > MOST_FRAMES:
            raise FrameIndexError(f"there are more than {MOST_FRAMES} fragments", offset=position)
    if position > pixels.size:
        raise FrameIndexError("the object ends inside its pixel data", offset=pixels.size)
    found.end = position
    return found


def _spread(count: int, most: int) -> list[int]:
    """At most `most` positions, evenly spread over `count`."""
    if count <= most:
        return list(range(count))
    return sorted({round(step * (count - 1) / (most - 1)) for step in range(most)})
