"""Frames by number: exactly their bytes, neighbours in one request, many requests at once."""

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
from harvester.reader.dataset_hints import NO_HINTS, ObjectHints, look_up_hints
from harvester.reader.decoding import decode, frame_bits
from harvester.reader.event_loop import LOOP
from harvester.reader.frame_lookup import find_again, find_index
from harvester.reader.open import DatasetLike, opened_view
from harvester.reader.source import AT_ONCE, ObjectSource
from harvester.store.base import Store

if TYPE_CHECKING:
    import numpy as np

# Frames this far apart are read in one request. While all requests are under way at once, one more costs no
# time but this process's, some 0.2 ms, in which 25 kB arrive at 125 MB/s. Where they have to wait for each
# other, 20 ms away and 32 at once, each costs as much as 90 KiB (scripts/bench read --part gap).
GAP: Final = 16 << 10
WIDE_GAP: Final = 64 << 10
_LONGEST_RUN: Final = 4 << 20  # bytes of one request: longer ones are better made side by side
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
    decode: bool = True,  # noqa: FBT001, FBT002  the name says enough
    *,
    dataset: DatasetLike = None,
    endpoint: str | None = None,
    store: Store | None = None,
) -> "list[np.ndarray] | list[bytes]":
    """Read frames of an object by their numbers, from 1.

    Args:
        url: `s3://`, `gs://`, `https://`, `http://`, `file://` or a path.
        frame_numbers: In any order, which is the order of the answer.
        decode: Give pixels, as `pydicom.pixels.pixel_array` gives them, by the decoders that are
            installed; else the bytes as the object has them: of an encapsulated frame the compressed
            image, of a native one its bytes, moved to start at a byte where it starts within one.
        dataset: A dataset that may know where the frames lie.
        endpoint: Replaces the cloud's address: `http://HOST:PORT`.
        store: Takes the place of the shared one.

    Raises:
        FrameIndexError: There is no such frame, or where the frames lie cannot be found.
        FrameDecodeError: One of them cannot be decoded; the message says why.
        ObjectError: The object is not DICOM.
        StoreError: The object cannot be read.
        ConfigError: The address cannot be one.
    """
    ref = ObjectRef.parse(url)
    known = NO_HINTS if dataset is None else look_up_hints(dataset, ref)
    chosen = LOOP.store(endpoint) if store is None else store
    opened = LOOP.call(open_frames, chosen, ref, known)
    if decode:
        return LOOP.call(opened.decoded, frame_numbers)
    return LOOP.call(opened.raw, frame_numbers)


async def open_frames(store: Store, ref: ObjectRef, known: ObjectHints = NO_HINTS) -> "OpenedFrames":
    """Open an object for its frames.

    Raises:
        FrameIndexError: DatasetLike they lie cannot be found.
        ObjectError: The object is not DICOM.
        StoreError: It cannot be read.
    """
    view = await opened_view(store, ref, known, "none")
    source, header = view.source, view.source.header
    if header is None:
        raise source.refusal or NotDicomError("the object has no DICOM header", url=ref.url)
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
        index: DatasetLike its frames lie; another one, once a frame turned out to lie elsewhere.
    """

    source: ObjectSource
    header: Header
    index: FrameIndex | NativeFrames

    async def raw(self, numbers: Sequence[int]) -> list[bytes]:
        """The bytes of some frames: the compressed image, or the native frame.

        Raises:
            FrameIndexError: There is no such frame, or none where the index says.
            StoreError: The object cannot be read.
        """
        frames = await self._read(numbers)
        return [_joined(frame) for frame in frames] if self.header.encapsulated else frames

    async def decoded(self, numbers: Sequence[int]) -> "list[np.ndarray]":
        """The pixels of some frames, decoded in threads.

        Raises:
            FrameIndexError: There is no such frame, or none where the index says.
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
        """Frames as they lie in the object: items and all, if it is encapsulated."""
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
            # PS3.5 7.3: 8-bit samples in 16-bit words, which are swapped, so that the last one stands behind
            # its padding; the frames of several would share a word.
            if len(index) > 1:
                raise FrameIndexError("frames of an odd length in big endian words cannot be read singly")
            return ByteRange(span.start, span.stop + 1)
        return span

    async def _value_representation(self) -> str:
        if self.header.implicit:
            return "OW"  # PS3.5 A.1
        start = self.header.header_bytes + 4
        return (await self.source.read(start, start + 2)).decode("latin-1")


def _misplaced(found: dict[int, bytes], index: FrameIndex | NativeFrames) -> FrameIndexError | None:
    """What is wrong with an index by which something else was read than items that fill a frame's place."""
    if isinstance(index, FrameIndex):
        for number, raw in found.items():
            if sum(len(fragment) + 8 for fragment in _fragments(raw)) != index.lengths[number - 1]:
                start = index.frame(number).start
                return FrameIndexError(f"frame {number} is not where it says", offset=start)
    return None


def _fragments(raw: bytes) -> Iterator[bytes]:
    """What the items have in them that these bytes begin with."""
    at = 0
    while is_item(raw[at : at + 8], len(raw) - at):
        length = int.from_bytes(raw[at + 4 : at + 8], "little")
        yield raw[at + 8 : at + 8 + length]
        at += 8 + length


def _joined(raw: bytes) -> bytes:
    return b"".join(_fragments(raw))


def runs(spans: dict[int, ByteRange]) -> list[list[int]]:
    """Which frames are read by one request each: neighbours, with little between them, up to 4 MiB."""
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
