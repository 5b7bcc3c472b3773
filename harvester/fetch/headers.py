"""Reads one object's header from a store: a first window, then as much as the parser asks for."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeAlias

from harvester.dicom import Header, HeaderMemories, HeaderMemory, HeaderParser, NeedMore, WalkLimits
from harvester.errors import ObjectChangedError, ObjectError, StoreError
from harvester.fetch.window_predictor import ObjectTraits, WindowPredictor
from harvester.model import ByteRange, ObjectRef, RangeResponse
from harvester.store.base import Store, check_unchanged, first_informative
from harvester.store.cost import RequestCost
from harvester.store.replicas import CopyReader


@dataclass(frozen=True, slots=True)
class Windows:
    """How much is asked for at once, where nothing was learnt that says better.

    Args:
        first_bytes: What the first request of an object asks for.
        read_ahead_bytes: The least that the next one asks for where the first was too short; each
            further one doubles it.
        longest_bytes: Up to this.
    """

    first_bytes: int = 16 << 10
    read_ahead_bytes: int = 64 << 10
    longest_bytes: int = 1 << 20


_DEFAULT_WINDOWS: Final = Windows()
_DEFAULT_LIMITS: Final = WalkLimits()


@dataclass(frozen=True, slots=True)
class FetchedHeader:
    """A whole header, the copy of the object it was read from, and the object's size and ETag."""

    ref: ObjectRef
    header: Header
    size: int
    etag: str | None


@dataclass(frozen=True, slots=True)
class _Expected:
    """What its siblings say of an object: how long its windows should be, and what they had in common."""

    windows: tuple[int, ...]
    memory: HeaderMemory


_Fetched: TypeAlias = tuple[FetchedHeader, list[int]]


def _needs(header: Header, hops: Sequence[tuple[int, int]], fed: int, size: int) -> list[int]:
    """How long each window would have had to be to hold the header, and nothing else."""
    if header.deflated:
        return [fed]
    end = size
    if header.pixel_data_offset is not None:
        end = min(size, header.pixel_data_offset + (8 if header.encapsulated else 0))
    needs, start = [], 0
    for stop, resumed in hops:
        needs.append(stop - start)
        start = resumed
    needs.append(end - start)
    return [need for need in needs if need > 0] or [1]


@dataclass(frozen=True, slots=True)
class HeaderFetcher:
    """Reads headers from a store.

    Args:
        store: Where the objects lie.
        windows: How much is asked for at once.
        limits: Bounds on one header's memory and time.
        memories: What the headers of each series have in common.
        predictor: What was learnt of their lengths; None: each object is asked for alike.
        copy_reader: Chooses between the copies of an object; None: they are tried in their order.
    """

    store: Store
    windows: Windows = _DEFAULT_WINDOWS
    limits: WalkLimits = _DEFAULT_LIMITS
    memories: HeaderMemories = field(default_factory=HeaderMemories)
    predictor: WindowPredictor | None = None
    copy_reader: CopyReader | None = None

    async def fetch(
        self, copies: Sequence[ObjectRef], cost: RequestCost, kind: ObjectTraits | None = None
    ) -> FetchedHeader:
        """Read one header from the first copy of its object that can be read.

        Args:
            copies: The same object in one or more places, in the order they are tried.
            cost: Is added to, whether the header comes or not.
            kind: What is known of the object, for the fetcher's predictor; the next ones learn from it.

        Raises:
            ObjectError: The object has no header that can be read; every copy has the same bytes.
            StoreError: No copy could be read; it is the first one's error that is more than "not found".
        """
        memory = self.memories.of(None if kind is None else kind.series)
        if self.predictor is None or kind is None:
            expected = _Expected((self.windows.first_bytes,), memory)
            return (await self._from_copies(copies, expected, cost))[0]
        expected = _Expected(await self.predictor.windows(kind), memory)
        try:
            fetched, needs = await self._from_copies(copies, expected, cost)
            self.predictor.learn(kind, needs)
            return fetched
        finally:
            self.predictor.give_up(kind)

    async def _from_copies(
        self, copies: Sequence[ObjectRef], expected: _Expected, cost: RequestCost
    ) -> _Fetched:
        async def read(store: Store, ref: ObjectRef) -> _Fetched:
            return await self._fetch_unchanged(store, ref, expected, cost)

        if self.copy_reader is not None:
            return await self.copy_reader.read(copies, read)
        errors: list[StoreError] = []
        for ref in copies:
            try:
                return await read(self.store, ref)
            except StoreError as error:
                errors.append(error)  # the next copy may be there
        raise first_informative(errors)

    async def _fetch_unchanged(
        self, store: Store, ref: ObjectRef, expected: _Expected, cost: RequestCost
    ) -> _Fetched:
        try:
            return await self._fetch(store, ref, expected, cost)
        except ObjectChangedError:
            # Replaced between two windows: once more, from the start.
            return await self._fetch(store, ref, expected, cost)

    async def _fetch(self, store: Store, ref: ObjectRef, expected: _Expected, cost: RequestCost) -> _Fetched:
        try:
            return await self._read(store, ref, expected, cost)
        except ObjectError as error:
            error.url = ref.url
            raise

    async def _read(self, store: Store, ref: ObjectRef, expected: _Expected, cost: RequestCost) -> _Fetched:
        windows, memory = expected.windows, expected.memory
        read_range = partial(_range, store, ref, cost)
        first = await read_range(ByteRange(0, windows[0]), None)
        parser = HeaderParser(first.size, limits=self.limits, memory=memory)
        step, fed = parser.feed(first.data), len(first.data)
        read_ahead, islands = self.windows.read_ahead_bytes, 1
        while isinstance(step, NeedMore):
            ahead = read_ahead
            if step.start > fed:  # behind a value that was hopped over: as with its siblings
                ahead = windows[islands] if islands < len(windows) else self.windows.first_bytes
                islands += 1
            stop = step.stop if step.last else max(step.stop, step.start + ahead)
            wanted = ByteRange(step.start, min(stop, first.size))
            answer = await read_range(wanted, first.etag)
            check_unchanged(ref, wanted.start, first.size, answer)
            step, fed = parser.feed(answer.data), wanted.start + len(answer.data)
            read_ahead = min(2 * read_ahead, self.windows.longest_bytes)
        fetched = FetchedHeader(ref, step, first.size, first.etag)
        return fetched, _needs(step, parser.hops, fed, first.size)


async def _range(
    store: Store, ref: ObjectRef, cost: RequestCost, wanted: ByteRange, etag: str | None
) -> RangeResponse:
    try:
        answer = await store.get_range(ref, wanted, etag=etag)
    except StoreError as error:
        cost.add(error)
        raise
    cost.add(answer)
    return answer
