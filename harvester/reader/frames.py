"""Reads frames by number: exactly their bytes, neighbours in one request, many requests at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, overload

import anyio
from anyio import to_thread

from harvester.dicom import Header
from harvester.dicom.frames import FrameIndex, NativeFrames, is_item
from harvester.errors import FrameDecodeError, FrameIndexError, NotDicomError, ungrouped
from harvester.model import ByteRange, ObjectRef
from harvester.reader.dataset_hints import NO_HINTS, DatasetLike, ObjectHints, look_up_hints
from harvester.reader.decoding import decode, frame_bits
from harvester.reader.event_loop import LOOP
from harvester.reader.frame_lookup import find_again, find_index
from harvester.reader.source import AT_ONCE, ObjectSource
from harvester.reader.view import open_view
from harvester.store.base import Store

if TYPE_CHECKING:
    import numpy as np

# Frames this far apart are read in one request. While all requests run at once, one more costs only this
# process's time, 0.2 ms, in which 25 kB arrive at 125 MB/s. If they wait for each other, at 20 ms and 32 at
# once, each costs as much as 90 KiB (scripts/bench read --part gap).
GAP: Final = 16 << 10
WIDE_GAP: Final = 64 << 10
_LONGEST_RUN: Final = 4 << 20  # bytes of one request: longer ones are faster in parallel
_DECODERS: Final = 4


@overload
def read_frames(
    url: str,
    frame_numbers: Sequence[int],
    decode: Literal[True] = True,  # noqa: FBT002
    *,
    dataset: DatasetLike = None,
    endpoint: str | None = None,
    store: Store | None = None,
) -> "list[np.ndarray]": ...


@overload
def read_frames(
    url: str,
    frame_numbers: Sequence[int],
    decode: Literal[False],
    *,
    dataset: DatasetLike = None,
    endpoint: str | None = None,
    store: Store | None = None,
) -> list[bytes]: ...


def read_frames(
    url: str,
    frame_numbers: Sequence[int],
    decode: bool = True,  # noqa: FBT001, FBT002
    *,
    dataset: DatasetLike = None,
    endpoint: str | None = None,
    store: Store | None = None,
) -> "list[np.ndarray] | list[bytes]":
    """Read frames of an object by their numbers, from 1.

    Args:
        url: `s3://`, `gs://`, `https://`, `http://`, `file://` or a path.
        frame_numbers: Any order; the frames are returned in the same order.
        decode: Return pixels, as from `pydicom.pixels.pixel_array`, by the installed decoders. If False,
            return the stored bytes: the compressed image of an encapsulated frame; the bytes of a native
            one, shifted to start at a byte.
        dataset: A dataset that may hold the frame index.
        endpoint: Replaces the cloud's address: `http://HOST:PORT`.
        store: Replaces the shared store.

    Raises:
        FrameIndexError: There is no such frame, or no source tells where the frames lie.
        FrameDecodeError: One of them cannot be decoded, with the reason.
        ObjectError: The object is not DICOM.
        StoreError: The object cannot be read.
        ConfigError: The address is not valid.
    """
    ref = ObjectRef.parse(url)
    (hints,) = look_up_hints(dataset, [ref])
    chosen = LOOP.store(endpoint) if store is None else store
    opened = LOOP.call(open_frames, chosen, ref, hints)
    if decode:
        return LOOP.call(opened.decoded, frame_numbers)
    return LOOP.call(opened.raw, frame_numbers)


async def open_frames(store: Store, ref: ObjectRef, hints: ObjectHints = NO_HINTS) -> "OpenedFrames":
    """Open an object to read its frames.

    Raises:
        FrameIndexError: No source tells where they lie.
        ObjectError: The object is not DICOM.
        StoreError: It cannot be read.
    """
    view = await open_view(store, ref, hints, "none")
    source, header = view.source, view.source.header
    if header is None:
        raise source.header_error or NotDicomError("the object has no DICOM header", url=ref.url)
    try:
        if header.encapsulated:
            return OpenedFrames(source, header, await find_index(source))
        return OpenedFrames(source, header, NativeFrames.of(header, source.size))
    except FrameIndexError as error:
        error.url = ref.url
        raise


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

    async def raw(self, numbers: Sequence[int]) -> list[bytes]:
        """The bytes of some frames: compressed images or native frames.

        Raises:
            FrameIndexError: There is no such frame, or it cannot be found.
            StoreError: The object cannot be read.
        """
        frames = await self._read(numbers)
        return [_joined(frame) for frame in frames] if self.header.encapsulated else frames

    async def decoded(self, numbers: Sequence[int]) -> "list[np.ndarray]":
        """The pixels of some frames, decoded in threads.

        Raises:
            FrameIndexError: There is no such frame, or it cannot be found.
            FrameDecodeError: One of them cannot be decoded.
            StoreError: The object cannot be read.
        """
        frames = await self._read(numbers)
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
            found = await self._found(numbers, self.index)
            wrong = _misplaced(found, self.index)
            if wrong is not None and isinstance(self.index, FrameIndex):
                self.index = await find_again(self.source, self.index, wrong)
                found = await self._found(numbers, self.index)
                wrong = _misplaced(found, self.index)
        except FrameIndexError as error:
            wrong = error
        if wrong is not None:
            wrong.url = self.source.ref.url
            raise wrong
        return [found[number] for number in numbers]

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


def _misplaced(found: dict[int, bytes], index: FrameIndex | NativeFrames) -> FrameIndexError | None:
    """The error of an index if one of the frames read by it does not consist of items."""
    if isinstance(index, FrameIndex):
        for number, raw in found.items():
            if sum(len(fragment) + 8 for fragment in _fragments(raw)) != index.lengths[number - 1]:
                start = index.frame(number).start
                return FrameIndexError(f"frame {number} does not start there", offset=start)
    return None


def _fragments(raw: bytes) -> Iterator[bytes]:
    """The contents of the items at the start of these bytes."""
    at = 0
    while is_item(raw[at : at + 8], len(raw) - at):
        length = int.from_bytes(raw[at + 4 : at + 8], "little")
        yield raw[at + 8 : at + 8 + length]
        at += 8 + length


def _joined(raw: bytes) -> bytes:
    return b"".join(_fragments(raw))


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
