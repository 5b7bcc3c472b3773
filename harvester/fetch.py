"""Reads one object's header from a store: a first window, then as much as the parser asks for."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from harvester.dicom import Header, HeaderMemory, HeaderParser, NeedMore, WalkLimits
from harvester.errors import NotFoundError, ObjectChangedError, ObjectError, StoreError
from harvester.model import ByteRange, ObjectRef, RangeAnswer
from harvester.store.base import Store

_LONGEST_READ_AHEAD: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Windows:
    """How much is asked for at once.

    Args:
        first_bytes: What the first request asks for.
        read_ahead_bytes: The least that the second one asks for; each further one doubles it, up to 1 MiB.
    """

    first_bytes: int = 16 << 10
    read_ahead_bytes: int = 64 << 10


_DEFAULT_WINDOWS: Final = Windows()
_DEFAULT_LIMITS: Final = WalkLimits()


@dataclass(slots=True)
class Cost:
    """What reading one object cost, in requests and in bytes of bodies; also where it failed."""

    requests: int = 0
    bytes_fetched: int = 0

    def add(self, spent: RangeAnswer | StoreError) -> None:
        """Count one answer, or the error in its place."""
        self.requests += spent.requests
        self.bytes_fetched += spent.bytes_fetched


@dataclass(frozen=True, slots=True)
class FetchedHeader:
    """A whole header, the copy of the object it was read from, and the object's size and ETag."""

    ref: ObjectRef
    header: Header
    size: int
    etag: str | None


@dataclass(frozen=True, slots=True)
class HeaderFetcher:
    """Reads headers from a store.

    Args:
        store: Where the objects lie.
        windows: How much is asked for at once.
        limits: Bounds on one header's memory and time.
        memory: What the headers read so far have in common.
    """

    store: Store
    windows: Windows = _DEFAULT_WINDOWS
    limits: WalkLimits = _DEFAULT_LIMITS
    memory: HeaderMemory = field(default_factory=HeaderMemory)

    async def fetch(self, copies: Sequence[ObjectRef], cost: Cost) -> FetchedHeader:
        """Read one header from the first copy of its object that can be read.

        Args:
            copies: The same object in one or more places, in the order they are tried.
            cost: Is added to, whether the header comes or not.

        Raises:
            ObjectError: The object has no header that can be read; every copy has the same bytes.
            StoreError: No copy could be read; it is the first one's error that is more than "not found".
        """
        errors: list[StoreError] = []
        for ref in copies:
            try:
                return await self._fetch_unchanged(ref, cost)
            except StoreError as error:
                errors.append(error)  # the next copy may be there
        # A copy that was never made says nothing of why the others could not be read.
        raise next((error for error in errors if not isinstance(error, NotFoundError)), errors[-1])

    async def _fetch_unchanged(self, ref: ObjectRef, cost: Cost) -> FetchedHeader:
        try:
            return await self._fetch(ref, cost)
        except ObjectChangedError:
            return await self._fetch(ref, cost)  # replaced between two windows: once more, from the start

    async def _fetch(self, ref: ObjectRef, cost: Cost) -> FetchedHeader:
        try:
            return await self._read(ref, cost)
        except ObjectError as error:
            error.url = ref.url
            raise

    async def _read(self, ref: ObjectRef, cost: Cost) -> FetchedHeader:
        first = await self._range(ref, ByteRange(0, self.windows.first_bytes), None, cost)
        parser = HeaderParser(first.size, limits=self.limits, memory=self.memory)
        step = parser.feed(first.data)
        read_ahead = self.windows.read_ahead_bytes
        while isinstance(step, NeedMore):
            stop = step.stop if step.last else max(step.stop, step.start + read_ahead)
            wanted = ByteRange(step.start, min(stop, first.size))
            answer = await self._range(ref, wanted, first.etag, cost)
            if answer.size != first.size or not answer.data:
                # Without an ETag, only its size can say that the object was replaced.
                message = f"the object was replaced: it had {first.size} bytes, now it has {answer.size}"
                raise ObjectChangedError(message, url=ref.url, offset=wanted.start)
            step = parser.feed(answer.data)
            read_ahead = min(2 * read_ahead, _LONGEST_READ_AHEAD)
        return FetchedHeader(ref, step, first.size, first.etag)

    async def _range(self, ref: ObjectRef, wanted: ByteRange, etag: str | None, cost: Cost) -> RangeAnswer:
        try:
            answer = await self.store.get_range(ref, wanted, etag=etag)
        except StoreError as error:
            cost.add(error)
            raise
        cost.add(answer)
        return answer
