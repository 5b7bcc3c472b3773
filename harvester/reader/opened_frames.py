"""An object whose frames are read by number: exactly their bytes, neighbours in one request."""

import logging
import operator
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio
from anyio import to_thread

from harvester.dicom import Header
from harvester.dicom.frames import FrameIndex, NativeFrames, PixelData, is_item, may_start_frame
from harvester.errors import FrameDecodeError, FrameIndexError, NotDicomError, ungrouped
from harvester.model import ByteRange, ObjectRef
from harvester.reader.access import ReaderStore
from harvester.reader.dataset_hints import NO_HINTS, ObjectHints
from harvester.reader.decoding import decode, frame_bits
from harvester.reader.frame_lookup import find_again, find_index, verified_index
from harvester.reader.source import AT_ONCE, ObjectSource
from harvester.reader.view import open_view

if TYPE_CHECKING:
    import numpy as np

_logger = logging.getLogger("harvester")

# Frames this far apart are read in one request. While all requests run at once, one more costs only this
# process's time, 0.2 ms, in which 25 kB arrive at 125 MB/s. If they wait for each other, at 20 ms and 32 at
# once, each costs as much as 90 KiB (scripts/bench read --part gap).
GAP: Final = 16 << 10
WIDE_GAP: Final = 64 << 10
_LONGEST_RUN: Final = 4 << 20  # bytes of one request: longer ones are faster in parallel
_DECODERS: Final = 4
LARGEST_INFLATED: Final = 1 << 30  # bytes of a deflated object in memory
_DELIMITATION: Final = b"\xfe\xff\xdd\xe0"


async def open_frames(store: ReaderStore, ref: ObjectRef, hints: ObjectHints = NO_HINTS) -> "OpenedFrames":
    """Open an object to read its frames.

    Raises:
        FrameIndexError: No source gives their positions.
        ObjectError: The object is not DICOM.
        StoreError: It cannot be read.
    """
    source = (await open_view(store, ref, hints, "none")).source
    header = source.header
    if header is None:
        raise source.header_error or NotDicomError("the object has no DICOM header", url=ref.url)
    try:
        if header.deflated:
            header = await _inflate(source, header)
        if header.encapsulated:
            index = await find_index(source)
            _warn_of_number(source, header, index)
            return OpenedFrames(source, header, index)
        return OpenedFrames(source, header, NativeFrames.of(header, source.size))
    except FrameIndexError as error:
        error.url = ref.url
        raise


def _warn_of_number(source: ObjectSource, header: Header, index: FrameIndex) -> None:
    try:
        index.check_number(PixelData.of(header, source.size))
    except FrameIndexError as error:
        _logger.warning("%s: %s", source.ref.url, error.message)


async def _inflate(source: ObjectSource, header: Header) -> Header:
    """Read all of a deflated object and inflate its data set (PS3.5 A.5)."""
    meta = max(offset + length for tag, _vr, _raw, offset, length in header.elements if tag >> 16 == 2)
    (raw,) = await source.fetch([ByteRange(0, source.size)])
    try:
        data_set = await to_thread.run_sync(
            zlib.decompressobj(-zlib.MAX_WBITS).decompress, raw[meta:], LARGEST_INFLATED
        )
    except zlib.error as error:
        raise FrameIndexError(f"the data set cannot be inflated: {error}") from error
    if len(data_set) >= LARGEST_INFLATED:
        raise FrameIndexError(f"the inflated data set is longer than {LARGEST_INFLATED >> 20} MiB")
    source.replace_bytes(raw[:meta] + data_set)
    source.header = replace(header, deflated=False)
    return source.header


@dataclass(slots=True)
class OpenedFrames:
    """An object whose frames can be read.

    Attributes:
        source: The object.
        header: Its header.
        index: The frame index; replaced when a frame turns out to lie elsewhere.
    """

    source: ObjectSource
    header: Header
    index: FrameIndex | NativeFrames

    async def verify(self) -> None:
        """Check an index that arithmetic alone confirmed, by the items that it points to.

        Raises:
            FrameIndexError: No source gives the frames' positions.
            StoreError: The object cannot be read.
        """
        if isinstance(self.index, FrameIndex) and self.index.source == "basic":
            self.index = await verified_index(self.source)

    async def raw(self, numbers: Sequence[int]) -> list[bytes]:
        """The bytes of some frames: compressed images or native frames.

        Raises:
            FrameIndexError: There is no such frame, or it cannot be found.
            StoreError: The object cannot be read.
        """
        frames = await self._read([operator.index(number) for number in numbers])
        return [b"".join(_fragments(frame)) for frame in frames] if self.header.encapsulated else frames

    async def decoded(self, numbers: Sequence[int]) -> "list[np.ndarray]":
        """The pixels of some frames, decoded in threads.

        Raises:
            FrameIndexError: There is no such frame, or it cannot be found.
            FrameDecodeError: One of them cannot be decoded.
            StoreError: The object cannot be read.
        """
        frames = await self._read([operator.index(number) for number in numbers])
        vr = await self._value_representation()
        pixels: dict[int, np.ndarray] = {}
        decoders = anyio.CapacityLimiter(_DECODERS)

        async def decode_one(place: int) -> None:
            work = partial(decode, self.header, frames[place], vr)
            try:
                pixels[place] = await to_thread.run_sync(work, limiter=decoders)
            except FrameDecodeError as error:
                error.message = f"frame {numbers[place]}: {error.message}"
                error.url = self.source.ref.url
                raise

        with ungrouped():
            async with anyio.create_task_group() as tasks:
                for place in range(len(numbers)):
                    tasks.start_soon(decode_one, place)
        return [pixels[place] for place in range(len(numbers))]

    async def _read(self, numbers: Sequence[int]) -> list[bytes]:
        """The stored bytes of frames, with the items of encapsulated ones."""
        try:
            if isinstance(self.index, FrameIndex):
                found = await self._checked(numbers, self.index)
            else:
                found = await self._found(numbers, self.index)
        except FrameIndexError as error:
            error.url = self.source.ref.url
            raise
        return [found[number] for number in numbers]

    async def _checked(self, numbers: Sequence[int], index: FrameIndex) -> dict[int, bytes]:
        """Encapsulated frames; if one is not where the index says, all are found by a scan."""
        is_stream = PixelData.of(self.header, self.source.size).is_stream
        if is_stream and set(numbers) - {1}:
            raise FrameIndexError("the frames are one video stream, which frame 1 holds (decode=False)")
        found = await self._found(numbers, index)
        wrong = _first_without_items(found, index)
        unlikely = None if wrong else self._first_without_marker(found, index)
        if not wrong and not unlikely:
            return found
        number = wrong or unlikely or 0
        error = FrameIndexError(f"frame {number} does not start there", offset=index.offsets[number - 1])
        try:
            self.index = index = await find_again(self.source, index, error)
        except FrameIndexError:
            if wrong:
                raise
            return found
        found = await self._found(numbers, index)
        wrong = _first_without_items(found, index)
        if wrong:
            raise FrameIndexError(f"frame {wrong} does not consist of items", offset=index.offsets[wrong - 1])
        return found

    def _first_without_marker(self, found: dict[int, bytes], index: FrameIndex) -> int | None:
        """The first frame that does not begin as an image does, if a table alone says where it is."""
        uid = self.header.transfer_syntax_uid
        if index.source == "scan":
            return None
        return next((number for number, raw in found.items() if not may_start_frame(raw[8:16], uid)), None)

    async def _found(self, numbers: Sequence[int], index: FrameIndex | NativeFrames) -> dict[int, bytes]:
        spans = {number: self._span(number, index) for number in numbers}
        found: dict[int, bytes] = {}

        async def read_run(run: list[int]) -> None:
            start, stop = spans[run[0]].start, max(spans[number].stop for number in run)
            (data,) = await self.source.fetch([ByteRange(start, stop)])
            for number in run:
                span = spans[number]
                raw = data[span.start - start : span.stop - start]
                found[number] = frame_bits(raw, index, number) if isinstance(index, NativeFrames) else raw

        with ungrouped():
            async with anyio.create_task_group() as tasks:
                for run in runs(spans):
                    tasks.start_soon(read_run, run)
        return found

    def _span(self, number: int, index: FrameIndex | NativeFrames) -> ByteRange:
        span = index.frame(number)
        if self.header.big_endian and len(span) % 2:
            # PS3.5 7.3: 8-bit samples in swapped 16-bit words, so the last sample comes after its padding;
            # with several frames, two would share a word.
            if len(index) > 1:
                raise FrameIndexError("frames of odd length in big endian words cannot be read one by one")
            return ByteRange(span.start, span.stop + 1)
        return span

    async def _value_representation(self) -> str:
        if self.header.implicit:
            return "OW"  # PS3.5 A.1
        start = self.header.header_bytes + 4
        return (await self.source.read(start, start + 2)).decode("latin-1")


def _first_without_items(found: dict[int, bytes], index: FrameIndex) -> int | None:
    """The first frame whose bytes are not items up to its end."""
    for number, raw in found.items():
        length = sum(len(fragment) + 8 for fragment in _fragments(raw))
        # Elements after the pixel data count as the last frame's until it is read.
        is_last = number == len(index) and raw[length : length + 4] == _DELIMITATION
        if length != len(raw) and not (length and is_last):
            return number
    return None


def _fragments(raw: bytes) -> Iterator[bytes]:
    """The contents of the items at the start of these bytes."""
    at = 0
    while is_item(raw[at : at + 8], len(raw) - at):
        length = int.from_bytes(raw[at + 4 : at + 8], "little")
        yield raw[at + 8 : at + 8 + length]
        at += 8 + length


def runs(spans: dict[int, ByteRange]) -> list[list[int]]:
    """The frames of each request: neighbours with small gaps, up to 4 MiB."""
    found = _runs(spans, GAP)
    return found if len(found) <= AT_ONCE else _runs(spans, WIDE_GAP)


def _runs(spans: dict[int, ByteRange], gap: int) -> list[list[int]]:
    found: list[list[int]] = []
    start = stop = 0
    for number in sorted(spans, key=lambda number: spans[number].start):
        span = spans[number]
        if found and span.start - stop <= gap and span.stop - start <= _LONGEST_RUN:
            found[-1].append(number)
        else:
            found.append([number])
            start = span.start
        stop = max(stop, span.stop) if len(found[-1]) > 1 else span.stop
    return found
