"""The frame index of an object: offsets, lengths, and the source that they come from."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, Literal, TypeAlias

from harvester.dicom.dictionary import NUMBER_OF_FRAMES
from harvester.dicom.element import RawElement
from harvester.dicom.header import Header
from harvester.errors import FrameIndexError
from harvester.model import ByteRange

FrameSource = Literal["extended", "basic", "tiff", "scan"]
Wanted: TypeAlias = tuple[ByteRange, ...]
"""Ranges that are needed next, all of them at once."""
Reading: TypeAlias = Generator[Wanted, Sequence[bytes], "FrameIndex"]
"""Reads a frame index: yields ranges, is sent their bytes in the same order, returns the index."""

MOST_FRAMES: Final = 2_000_000  # ten times what the largest slides have; 32 MB of offsets and lengths
_ENCAPSULATED_IN_ONE_STREAM: Final = (
    # PS3.5 A.4.5, A.4.6 and A.4.8: MPEG2, MPEG-4 AVC/H.264 and HEVC/H.265
    *(f"1.2.840.10008.1.2.4.{number}" for number in range(100, 109)),
)


@dataclass(frozen=True, slots=True)
class PixelData:
    """The encapsulated pixel data of one object, by its header.

    Attributes:
        offset: Where its value starts: at its first item, which is the basic offset table.
        size: The object's, in bytes.
        number_of_frames: The value of (0028,0008), or 1 without one.
        transfer_syntax_uid: How the frames are compressed.
        tables: The extended offset table and its lengths, where the header has them.
    """

    offset: int
    size: int
    number_of_frames: int
    transfer_syntax_uid: str | None = None
    tables: tuple[RawElement | None, RawElement | None] = field(default=(None, None), repr=False)

    @classmethod
    def of(cls, header: Header, size: int) -> "PixelData":
        """What a header says of its object's pixel data.

        Raises:
            FrameIndexError: The pixel data is not encapsulated, or the object is deflated or big endian.
        """
        if not header.encapsulated or header.pixel_data_offset is None:
            raise FrameIndexError("the pixel data is not encapsulated: its frames follow from their size")
        if header.deflated:
            # PS3.5 A.5: offsets count what is inflated
            raise FrameIndexError("the data set is deflated: no byte of it can be reached directly")
        if header.big_endian:
            raise FrameIndexError("encapsulated pixel data is in little endian, this object is not")  # A.4
        found = header.elements if header.extended_offset_table else ()
        tables = {element[0]: element for element in found if element[0] >> 16 == 0x7FE0}
        return cls(
            offset=header.pixel_data_offset,
            size=size,
            number_of_frames=number_of_frames(header),
            transfer_syntax_uid=header.transfer_syntax_uid,
            tables=(tables.get(0x7FE00001), tables.get(0x7FE00002)),
        )

    @property
    def is_stream(self) -> bool:
        """Whether the frames are one video stream, which is in one fragment or in a few (PS3.5 A.4.5)."""
        uid = self.transfer_syntax_uid or ""
        return uid.removesuffix(".1") in _ENCAPSULATED_IN_ONE_STREAM

    def check_number_of_frames(self) -> None:
        """Refuse more frames than fit into an object of this size: each needs an item of eight bytes.

        Raises:
            FrameIndexError: There are more than that, or more than `MOST_FRAMES`.
        """
        most = min(MOST_FRAMES, max(1, (self.size - self.offset) // 8))
        if self.number_of_frames > most:
            raise FrameIndexError(
                f"{self.number_of_frames} frames are more than the pixel data can have, which is {most}",
                offset=self.offset,
            )


@dataclass(frozen=True, slots=True)
class FrameIndex:
    """Where each frame of one object lies.

    Attributes:
        source: What the index was read from.
        offsets: In bytes from the object's start, of each frame's first fragment item, ascending.
        lengths: In bytes from there to the frame's end, the headers of its items included.
        fragmented: Whether frames are in several fragments; None if that was not checked.
    """

    source: FrameSource
    offsets: Sequence[int] = field(repr=False)
    lengths: Sequence[int] = field(repr=False)
    fragmented: bool | None = None

    def __len__(self) -> int:
        return len(self.offsets)

    def frame(self, number: int) -> ByteRange:
        """The bytes of one frame, items and all, by its number from 1."""
        if not 1 <= number <= len(self.offsets):
            raise FrameIndexError(f"there is no frame {number}: there are {len(self.offsets)}")
        start = self.offsets[number - 1]
        return ByteRange(start, start + self.lengths[number - 1])

    def starting_at(self, offset: int) -> int | None:
        """The number, from 1, of the frame that starts at a byte, if one does."""
        place = bisect_left(self.offsets, offset)
        return place + 1 if place < len(self.offsets) and self.offsets[place] == offset else None

    def end_of(self, offset: int) -> int | None:
        """The end of the frame that contains a byte; None if no frame does."""
        place = bisect_right(self.offsets, offset) - 1
        end = self.offsets[place] + self.lengths[place] if place >= 0 else 0
        return end if offset < end else None

    def check(self, pixels: PixelData) -> None:
        """Compare an index from elsewhere with what the header says of the object; reads nothing.

        Raises:
            FrameIndexError: It has another number of frames, or a frame lies outside the pixel data or
                overlaps the one before it.
        """
        if not len(self.offsets) == len(self.lengths) == pixels.number_of_frames:
            raise FrameIndexError(
                f"{len(self.offsets)} offsets and {len(self.lengths)} lengths of frames for an object of"
                f" {pixels.number_of_frames} frames"
            )
        end = pixels.offset + 8  # behind the basic offset table's item, which may be empty
        for number, (start, length) in enumerate(zip(self.offsets, self.lengths, strict=True), 1):
            if start < end or length < 8 or start + length > pixels.size:
                raise FrameIndexError(f"frame {number} lies outside the pixel data", offset=start)
            end = start + length

    def check_number(self, pixels: PixelData) -> None:
        """Compare the number of frames that a scan found with Number of Frames in the header.

        Raises:
            FrameIndexError: They differ, and the frames are no video stream.
        """
        if len(self) != pixels.number_of_frames and not pixels.is_stream:
            raise FrameIndexError(
                f"Number of Frames is {pixels.number_of_frames}, the fragments make {len(self)} frames"
            )

    @classmethod
    def between(
        cls, source: FrameSource, offsets: "array[int]", end: int, *, fragmented: bool | None = None
    ) -> "FrameIndex":
        """An index of frames that follow each other without a gap, the last of them up to `end`."""
        lengths = array("Q", (after - start for start, after in pairwise(offsets)))
        lengths.append(end - offsets[-1])
        return cls(source, offsets, lengths, fragmented)


def number_of_frames(header: Header) -> int:
    """The value of (0028,0008); 1 if it is missing, empty or below 1, as in single-frame objects.

    Raises:
        FrameIndexError: It is not a number.
    """
    value = header.value(NUMBER_OF_FRAMES) or b""
    text = value.partition(b"\\")[0].strip(b" \0")
    if not text:
        return 1
    if not text.removeprefix(b"+").isdigit() or len(text) > 12:
        raise FrameIndexError(f"Number of Frames is {value!r}, which is no number")
    return max(1, int(text))
