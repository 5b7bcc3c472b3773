"""Reads ranges of one object: pinned to one ETag, with read-ahead, long ranges in parallel parts."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, TypeAlias

import anyio

from harvester.dicom import Header
from harvester.errors import ObjectChangedError, ObjectError, ungrouped
from harvester.fetch.headers import HeaderFetcher, Windows
from harvester.fetch.window_predictor import WindowPredictor
from harvester.model import ByteRange, ListedObject, ObjectRef, RangeResponse
from harvester.reader.access import ReaderStore
from harvester.reader.dataset_hints import NO_HINTS, ObjectHints
from harvester.reader.header_lengths import RECENT_LENGTHS, traits_of
from harvester.reader.range_cache import RangeCache
from harvester.store.base import check_unchanged
from harvester.store.cost import RequestCost

AT_ONCE: Final = 32  # requests for one object
# Readers take eight bytes, then those after them. At 20 ms and 125 MB/s these bytes take a twentieth of the
# time of a request.
SHORTEST_REQUEST: Final = 128 << 10  # bytes, of a read anywhere in the object
_HEADER_REQUEST: Final = 512 << 10  # bytes of the second request for a header; each further one doubles it
_LONGEST_READ_AHEAD: Final = 8 << 20  # bytes; sequential reads double up to it. Longer reads are not cached
_PART: Final = 1 << 20  # bytes: longer ranges are requested in parts of this length at once
_CACHED: Final = 32 << 20  # bytes in memory, besides the header
_ITEM_HEADER: Final = 8  # bytes

FrameEnd: TypeAlias = Callable[[int], int | None]
"""The end of the frame that an offset belongs to, if it belongs to one."""


def _no_frame(_offset: int) -> None:
    """The end of a frame where no index is known."""


class ObjectSource:
    """One object in a store; call `open` first. It belongs to one event loop, `cached` to any thread.

    Args:
        store: The store that holds the object.
        ref: The object's address.
        predictor: Predicts the length of the first window.

    Attributes:
        size: The object's size in bytes.
        etag: The ETag that reads are pinned to; None if the store has none.
        header: The DICOM header; None if there is no readable one.
        header_error: The reason why there is none.
        cost: Requests and bytes so far.
        store: The store that holds it.
    """

    def __init__(
        self, store: ReaderStore, ref: ObjectRef, predictor: WindowPredictor = RECENT_LENGTHS
    ) -> None:
        self.ref = ref
        self.size = 0
        self.etag: str | None = None
        self.header: Header | None = None
        self.header_error: ObjectError | None = None
        self.cost = RequestCost()
        self.store = store
        self._predictor = predictor
        self._cache = RangeCache(_CACHED)
        self._requests = anyio.CapacityLimiter(AT_ONCE)
        self._fetched_to = 0  # the end of the last fetch: a read that starts here is sequential
        self._ahead = SHORTEST_REQUEST

    async def open(self, hints: ObjectHints = NO_HINTS) -> None:
        """Read the header, or the first bytes if there is none, and keep them in memory.

        Args:
            hints: What a dataset holds of the object; ignored if the object was replaced since.

        Raises:
            StoreError: The object cannot be read.
        """
        if hints.etag is not None:
            try:
                await self._open(hints)
            except ObjectChangedError:
                hints = NO_HINTS
            else:
                return
        await self._open(hints)

    async def _open(self, hints: ObjectHints) -> None:
        window = hints.header_window
        windows = Windows(window or SHORTEST_REQUEST, _HEADER_REQUEST, _LONGEST_READ_AHEAD)
        predictor = self._predictor if window is None else None
        fetcher = HeaderFetcher(_OpeningStore(self, hints.etag), windows, predictor=predictor)
        try:
            self.header = (await fetcher.fetch([self.ref], RequestCost(), traits_of(self.ref))).header
        except ObjectError as error:
            self.header, self.header_error = None, error  # it still is a file of bytes

    def move_to(self, store: ReaderStore) -> None:
        """Continue with another store in another event loop; cached bytes stay."""
        self.store = store
        self._requests = anyio.CapacityLimiter(AT_ONCE)

    def drop_cache(self) -> None:
        """Free the cached bytes; they can be read again."""
        self._cache.clear()

    def replace_bytes(self, data: bytes) -> None:
        """Hold the whole object in other bytes: inflated ones."""
        self._cache.clear()
        self._cache.put(0, data, pin=True)
        self.size = len(data)

    def unlock_after_fork(self) -> None:
        """Replace the locks that a thread of the parent process may have held."""
        self._cache.unlock_after_fork()

    def cached(self, start: int, stop: int) -> bytes | None:
        """The bytes from `start` to `stop` if all of them are in memory."""
        return self._cache.get(start, stop)

    async def read(self, start: int, stop: int, frame_end: FrameEnd = _no_frame) -> bytes:
        """The bytes from `start` to `stop`, or to the object's end, with read-ahead.

        Args:
            start: The first byte.
            stop: The byte after the last.
            frame_end: Read-ahead stops at the end of a frame.

        Raises:
            ObjectChangedError: The object was replaced since it was opened.
            StoreError: It cannot be read any more.
        """
        stop = min(stop, self.size)
        if start >= stop:
            return b""
        cached = self._cache.get(start, stop)
        if cached is not None:
            return cached
        if stop - start > _LONGEST_READ_AHEAD:
            (data,) = await self.fetch([ByteRange(start, stop)])
            self._fetched_to = stop
            return data
        for gap in self._cache.gaps(start, stop):
            wanted = self._with_read_ahead(gap, frame_end)
            (data,) = await self.fetch([wanted])
            self._cache.put(wanted.start, data)
        cached = self._cache.get(start, stop)
        if cached is None:  # reads of another task displaced it
            (cached,) = await self.fetch([ByteRange(start, stop)])
        return cached

    async def prefetch(self, spans: Sequence[ByteRange]) -> None:
        """Fetch the missing bytes of some spans at once, up to the longest read-ahead.

        Raises:
            ObjectChangedError: The object was replaced since it was opened.
            StoreError: It cannot be read any more.
        """
        gaps: list[ByteRange] = []
        total = 0
        for span in spans:
            # Readers look after a frame for a further fragment of it.
            missing = self._cache.gaps(span.start, min(span.stop + _ITEM_HEADER, self.size))
            total += sum(map(len, missing))
            if total > _LONGEST_READ_AHEAD:
                break
            gaps += missing
        for gap, data in zip(gaps, await self.fetch(gaps), strict=True):
            self._cache.put(gap.start, data)

    async def fetch(self, wanted: Sequence[ByteRange]) -> list[bytes]:
        """Exactly these ranges, all at once; a range that passes the object's end is cut.

        Raises:
            ObjectChangedError: The object was replaced since it was opened.
            StoreError: It cannot be read any more.
        """
        parts: list[list[bytes]] = [[] for _ in wanted]
        with ungrouped():
            async with anyio.create_task_group() as tasks:
                for number, one in enumerate(wanted):
                    cached = self._cache.get(one.start, min(one.stop, self.size))
                    if cached is not None:
                        parts[number].append(cached)
                        continue
                    pieces = self._pieces(one)
                    parts[number] = [b""] * len(pieces)
                    for place, piece in enumerate(pieces):
                        tasks.start_soon(self._fetch_part, piece, parts[number], place)
        return [one[0] if len(one) == 1 else b"".join(one) for one in parts]

    def _pieces(self, wanted: ByteRange) -> list[ByteRange]:
        stop = min(wanted.stop, self.size)
        count = max(1, round((stop - wanted.start) / _PART))
        bounds = [wanted.start + (stop - wanted.start) * place // count for place in range(count + 1)]
        return [ByteRange(start, end) for start, end in pairwise(bounds)]

    def _with_read_ahead(self, gap: ByteRange, frame_end: FrameEnd) -> ByteRange:
        sequential = gap.start == self._fetched_to
        self._ahead = min(2 * self._ahead, _LONGEST_READ_AHEAD) if sequential else SHORTEST_REQUEST
        stop = max(gap.stop, gap.start + self._ahead)
        end = frame_end(stop - 1)
        if end is not None and end - gap.start <= _LONGEST_READ_AHEAD:
            stop = max(stop, end + _ITEM_HEADER)  # readers look after a frame for a further fragment of it
        stop = min(stop, self.size)
        next_cached = self._cache.next_start(gap.start)
        stop = stop if next_cached is None else min(stop, next_cached)
        self._fetched_to = stop
        return ByteRange(gap.start, stop)

    async def _fetch_part(self, wanted: ByteRange, parts: list[bytes], place: int) -> None:
        async with self._requests:
            response = await self._counted(wanted, self.etag)
        check_unchanged(self.ref, wanted.start, self.size, response)
        parts[place] = response.data

    async def _counted(self, wanted: ByteRange, etag: str | None) -> RangeResponse:
        response = await self.store.get_range(self.ref, wanted, etag=etag)
        self.cost.add(response)
        return response

    async def first_range(self, wanted: ByteRange, etag: str | None) -> RangeResponse:
        """Read a range while the object is opened; keep it, and the object's size and ETag."""
        response = await self._counted(wanted, etag)
        if wanted.start == 0:
            self._cache.clear()
        self.size, self.etag = response.size, response.etag
        self._cache.put(wanted.start, response.data, pin=True)
        self._fetched_to = wanted.start + len(response.data)
        return response


@dataclass(frozen=True, slots=True)
class _OpeningStore:
    """The store from which an object's header is fetched: the source keeps each response."""

    source: ObjectSource
    etag: str | None

    async def get_range(self, ref: ObjectRef, wanted: ByteRange, *, etag: str | None = None) -> RangeResponse:
        """Read a range of the source's object, the only one here."""
        del ref
        return await self.source.first_range(wanted, self.etag if etag is None else etag)

    def list_objects(self, prefix: ObjectRef) -> AsyncIterator[ListedObject]:
        """Nothing can be listed here."""
        raise NotImplementedError(prefix.url)
