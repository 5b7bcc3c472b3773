"""One object as bytes at any place: pinned to one ETag, read ahead, in parallel where much is wanted."""

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
from harvester.reader.dataset_hints import NO_HINTS, ObjectHints
from harvester.reader.header_lengths import RECENT_LENGTHS, traits_of
from harvester.reader.range_cache import RangeCache
from harvester.store.base import Store, check_unchanged
from harvester.store.cost import RequestCost


@dataclass(frozen=True, slots=True)
class ReadSettings:
    """How much is asked for at once, in bytes.

    Args:
        header: By the second request for a header that the first did not hold; each further one asks for
            twice as much, up to `most`.
        least: By a request somewhere: readers take eight bytes, then those behind them. It is a twentieth
            of what a request costs to who waits for it, 20 ms away at 125 MB/s.
        most: Ahead of a reader that goes through the object; each request doubles what it asks for, up to
            this. A read of more is not held in memory a second time.
        part: Longer ranges are asked for in parts of this length, at once.
        cache: Held in memory, besides the header.
    """

    header: int = 512 << 10
    least: int = 128 << 10
    most: int = 8 << 20
    part: int = 1 << 20
    cache: int = 32 << 20


DEFAULT_READ_SETTINGS: Final = ReadSettings()
AT_ONCE: Final = 32  # requests for one object
_ITEM_HEADER: Final = 8  # bytes

FrameEnd: TypeAlias = Callable[[int], int | None]


def _no_frame(_offset: int) -> None:
    """Of an object of which it is not known where its frames lie."""


class ObjectSource:
    """One object in a store; `open` it first. It belongs to one event loop, `cached` to any thread.

    Args:
        store: DatasetLike it lies.
        ref: Its address.
        predictor: Knows how much to ask for first.
        settings: How much is asked for at once.

    Attributes:
        size: In bytes.
        etag: What it is pinned to; None where the store has none.
        header: Its DICOM header; None where it has none that can be read.
        refusal: Why it has none.
        cost: What reading it took so far.
    """

    def __init__(
        self,
        store: Store,
        ref: ObjectRef,
        predictor: WindowPredictor = RECENT_LENGTHS,
        settings: ReadSettings = DEFAULT_READ_SETTINGS,
    ) -> None:
        self.ref = ref
        self.size = 0
        self.etag: str | None = None
        self.header: Header | None = None
        self.refusal: ObjectError | None = None
        self.cost = RequestCost()
        self._store = store
        self._foresight = predictor
        self._settings = settings
        self._cache = RangeCache(settings.cache)
        self._requests = anyio.CapacityLimiter(AT_ONCE)
        self._fetched_to = 0  # behind what was fetched last: a read from there on goes through the object
        self._ahead = settings.least

    async def open(self, known: ObjectHints = NO_HINTS) -> None:
        """Read the header, or the first bytes where there is none, and keep what was read for good.

        Args:
            known: What a dataset says of the object; if it was replaced since, nothing of it counts.

        Raises:
            StoreError: The object cannot be read.
        """
        if known.etag is not None:
            try:
                await self._open(known)
            except ObjectChangedError:
                known = NO_HINTS
            else:
                return
        await self._open(known)

    async def _open(self, known: ObjectHints) -> None:
        settings, window = self._settings, known.header_window
        windows = Windows(window or settings.least, settings.header, settings.most)
        predictor = self._foresight if window is None else None
        fetcher = HeaderFetcher(_FirstReads(self, known.etag), windows, predictor=predictor)
        try:
            self.header = (await fetcher.fetch([self.ref], RequestCost(), traits_of(self.ref))).header
        except ObjectError as error:
            self.header, self.refusal = None, error  # bytes all the same

    def move_to(self, store: Store) -> None:
        """Read from another store, in another event loop; what is held stays."""
        self._store = store
        self._requests = anyio.CapacityLimiter(AT_ONCE)

    def let_go(self) -> None:
        """Forget what is held; it can be read again."""
        self._cache.clear()

    def unlock(self) -> None:
        """Give what is held to this process, which was forked from one whose threads may have locked it."""
        self._cache.unlock()

    def cached(self, start: int, stop: int) -> bytes | None:
        """The bytes from `start` to `stop`, if nothing needs to be asked for."""
        return self._cache.get(start, stop)

    def keep(self, start: int, data: bytes) -> None:
        """Hold bytes of the object for as long as it is open."""
        self._cache.put(start, data, keep=True)

    async def read(self, start: int, stop: int, frame_end: FrameEnd = _no_frame) -> bytes:
        """The bytes from `start` to `stop`, or to the object's end.

        Args:
            start: The first.
            stop: Behind the last.
            frame_end: DatasetLike the frame ends that a byte belongs to: who reads ahead stops there.

        Raises:
            ObjectChangedError: The object was replaced since it was opened.
            StoreError: It cannot be read any more.
        """
        stop = min(stop, self.size)
        if start >= stop:
            return b""
        held = self._cache.get(start, stop)
        if held is not None:
            return held
        if stop - start > self._settings.most:
            (data,) = await self.fetch([ByteRange(start, stop)])
            self._fetched_to = stop
            return data
        for gap in self._cache.gaps(start, stop):
            wanted = self._with_read_ahead(gap, frame_end)
            (data,) = await self.fetch([wanted])
            self._cache.put(wanted.start, data)
        held = self._cache.get(start, stop)
        if held is None:  # another task's reads pushed it out
            (held,) = await self.fetch([ByteRange(start, stop)])
        return held

    async def prefetch(self, spans: Sequence[ByteRange]) -> None:
        """Fetch what is not held of some spans, all at once, as far as it is not too much to hold.

        Raises:
            ObjectChangedError: The object was replaced since it was opened.
            StoreError: It cannot be read any more.
        """
        gaps: list[ByteRange] = []
        total = 0
        for span in spans:
            # Readers look behind a frame for another fragment of it.
            missing = self._cache.gaps(span.start, min(span.stop + _ITEM_HEADER, self.size))
            total += sum(map(len, missing))
            if total > self._settings.most:
                break
            gaps += missing
        for gap, data in zip(gaps, await self.fetch(gaps), strict=True):
            self._cache.put(gap.start, data)

    async def fetch(self, wanted: Sequence[ByteRange]) -> list[bytes]:
        """These ranges and nothing else, all at once; one that reaches behind the object's end is cut.

        Raises:
            ObjectChangedError: The object was replaced since it was opened.
            StoreError: It cannot be read any more.
        """
        parts: list[list[bytes]] = [[] for _ in wanted]
        with ungrouped():
            async with anyio.create_task_group() as tasks:
                for number, one in enumerate(wanted):
                    held = self._cache.get(one.start, min(one.stop, self.size))  # none is wanted: b""
                    if held is not None:
                        parts[number].append(held)
                        continue
                    pieces = self._pieces(one)
                    parts[number] = [b""] * len(pieces)
                    for place, piece in enumerate(pieces):
                        tasks.start_soon(self._fetch_part, piece, parts[number], place)
        return [one[0] if len(one) == 1 else b"".join(one) for one in parts]

    def _pieces(self, wanted: ByteRange) -> list[ByteRange]:
        stop, part = min(wanted.stop, self.size), self._settings.part
        count = max(1, round((stop - wanted.start) / part))
        bounds = [wanted.start + (stop - wanted.start) * place // count for place in range(count + 1)]
        return [ByteRange(start, end) for start, end in pairwise(bounds)]

    def _with_read_ahead(self, gap: ByteRange, frame_end: FrameEnd) -> ByteRange:
        if gap.start == self._fetched_to:
            self._ahead = min(2 * self._ahead, self._settings.most)
        else:
            self._ahead = self._settings.least
        stop = max(gap.stop, gap.start + self._ahead)
        end = frame_end(stop - 1)
        if end is not None and end - gap.start <= self._settings.most:
            stop = max(stop, end + _ITEM_HEADER)  # readers look behind a frame for another fragment of it
        stop = min(stop, self.size)
        held = self._cache.next_held(gap.start)
        stop = stop if held is None else min(stop, held)
        self._fetched_to = stop
        return ByteRange(gap.start, stop)

    async def _fetch_part(self, wanted: ByteRange, parts: list[bytes], place: int) -> None:
        async with self._requests:
            answer = await self._counted(wanted, self.etag)
        check_unchanged(self.ref, wanted.start, self.size, answer)
        parts[place] = answer.data

    async def _counted(self, wanted: ByteRange, etag: str | None) -> RangeResponse:
        answer = await self._store.get_range(self.ref, wanted, etag=etag)
        self.cost.add(answer)
        return answer

    async def first_range(self, wanted: ByteRange, etag: str | None) -> RangeResponse:
        """A range while the object is opened: what it says of the object, and what it holds, is kept."""
        answer = await self._counted(wanted, etag)
        if wanted.start == 0:
            self._cache.clear()
        self.size, self.etag = answer.size, answer.etag
        self._cache.put(wanted.start, answer.data, keep=True)
        self._fetched_to = wanted.start + len(answer.data)
        return answer


@dataclass(frozen=True, slots=True)
class _FirstReads:
    """The store that an object's header is fetched from: what it gives is kept by the source."""

    source: ObjectSource
    etag: str | None

    async def get_range(self, ref: ObjectRef, wanted: ByteRange, *, etag: str | None = None) -> RangeResponse:
        """A range of the source's object, whatever `ref` says: there is only the one."""
        del ref
        return await self.source.first_range(wanted, self.etag if etag is None else etag)

    def list_objects(self, prefix: ObjectRef) -> AsyncIterator[ListedObject]:
        """Nothing can be listed here."""
        raise NotImplementedError(prefix.url)
