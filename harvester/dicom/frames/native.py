"""Computes where the frames of uncompressed pixel data lie, to the bit, from their size."""

from dataclasses import dataclass
from typing import Final

from harvester.dicom.frames.index import number_of_frames
from harvester.dicom.header import Header
from harvester.errors import FrameIndexError
from harvester.model import ByteRange

_SAMPLES_PER_PIXEL: Final = 0x00280002
_PHOTOMETRIC_INTERPRETATION: Final = 0x00280004
_ROWS: Final = 0x00280010
_COLUMNS: Final = 0x00280011
_BITS_ALLOCATED: Final = 0x00280100


@dataclass(frozen=True, slots=True)
class NativeFrames:
    """The frames of native pixel data, which follow each other without a gap (PS3.5 8.1.1).

    Attributes:
        offset: Of the pixel data's value, in bytes from the object's start.
        number_of_frames: How many there are.
        bits: The length of each: where one bit is allocated, a frame may start within a byte.
    """

    offset: int
    number_of_frames: int
    bits: int

    @classmethod
    def of(cls, header: Header, size: int) -> "NativeFrames":
        """Work them out from a header.

        Args:
            header: The object's; its pixel data must be native.
            size: The object's, in bytes.

        Raises:
            FrameIndexError: The pixel data is not native, is deflated, or is shorter than its frames.
        """
        if header.pixel_data_keyword is None:
            raise FrameIndexError("the object has no pixel data, and so no frames")
        if header.encapsulated or header.pixel_data_offset is None or header.pixel_data_length is None:
            raise FrameIndexError("the object has no native pixel data")
        if header.deflated:
            raise FrameIndexError("the data set is deflated: no byte of it can be reached directly")
        said = {tag: raw for tag, _vr, raw, *_ in header.elements if tag >> 16 == 0x0028}
        samples = _number(said, _SAMPLES_PER_PIXEL, "Samples per Pixel", 1)
        photometric = said.get(_PHOTOMETRIC_INTERPRETATION)
        if isinstance(photometric, bytes) and photometric.strip(b" \0") == b"YBR_FULL_422" and samples == 3:
            samples = 2  # PS3.3 C.7.6.3.1.2: of each pair of pixels, one of both colour samples
        rows = _number(said, _ROWS, "Rows")
        columns = _number(said, _COLUMNS, "Columns")
        bits = rows * columns * samples * _number(said, _BITS_ALLOCATED, "Bits Allocated")
        frames = cls(header.pixel_data_offset, number_of_frames(header), bits)
        there = min(header.pixel_data_length, size - header.pixel_data_offset)
        if not bits or frames.number_of_frames * bits > 8 * there:
            raise FrameIndexError(
                f"{frames.number_of_frames} frames of {bits} bits are more than {there} bytes of pixel data",
                offset=header.pixel_data_offset,
            )
        return frames

    def __len__(self) -> int:
        return self.number_of_frames

    def frame(self, number: int) -> ByteRange:
        """The bytes that hold one frame, by its number from 1; at both ends they may hold more than it."""
        start = self.offset * 8 + self._bit(number)
        return ByteRange(start // 8, (start + self.bits + 7) // 8)

    def first_bit(self, number: int) -> int:
        """At which bit of its first byte a frame starts; 0 is the least significant (PS3.5 8.1.1)."""
        return self._bit(number) % 8

    def _bit(self, number: int) -> int:
        if not 1 <= number <= self.number_of_frames:
            raise FrameIndexError(f"there is no frame {number}: there are {self.number_of_frames}")
        return (number - 1) * self.bits


def _number(said: dict[int, object], tag: int, name: str, default: int | None = None) -> int:
    raw = said.get(tag)
    if isinstance(raw, bytes) and len(raw) >= 2:
        return int.from_bytes(raw[:2], "little")
    if default is None:
        raise FrameIndexError(f"{name} is missing")
    return default
