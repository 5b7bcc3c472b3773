"""Reads one object's header from a store: a first window, then the ranges that the parser needs."""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple, TypeAlias

from harvester.config import FIRST_WINDOW_BYTES, LONGEST_WINDOW_BYTES, READ_AHEAD_BYTES
from harvester.dicom import ElementCache, ElementCaches, Header, NeedMore, PlainFirstParser, PlainHeaders
from harvester.dicom.header_limits import MAX_HEADER_BYTES
from harvester.errors import ObjectChangedError, ObjectError, StoreError
from harvester.fetch.window_predictor import ObjectTraits, WindowPredictor
from harvester.model import ByteRange, ObjectRef, RangeResponse
from harvester.store.base import Store, check_unchanged, first_informative
from harvester.store.cost import RequestCost
from harvester.store.replicas import CopyReader


@dataclass(frozen=True, slots=True)
class Windows:
    """Lengths of range requests where nothing better is predicted.

    Args:
        first_bytes: Length of an object's first request.
        read_ahead_bytes: Least length of the second request; each further one doubles it.
        longest_bytes: Upper bound of that.
    """

    first_bytes: int = FIRST_WINDOW_BYTES
    read_ahead_bytes: int = READ_AHEAD_BYTES
    longest_bytes: int = LONGEST_WINDOW_BYTES


_DEFAULT_WINDOWS: Final = Windows()


class FetchedHeader(NamedTuple):
    """A complete header, the copy of the object it was read from, and the object's size and ETag."""

    ref: ObjectRef
    header: Header
    size: int
    etag: str | None


class _Prediction(NamedTuple):
    """Window lengths and header bytes of the same series, for the next header of it."""

    windows: tuple[int, ...]
    cache: ElementCache


_Fetched: TypeAlias = tuple[FetchedHeader, list[int]]


def _needs(header: Header, hops: Sequence[tuple[int, int]], fed: int, size: int) -> list[int]:
    """The length of each window that would have held exactly the header."""
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
        store: Reads the objects.
        windows: Lengths of range requests.
        max_header_bytes: How many bytes of one header are read at most.
        caches: The elements of earlier headers, by series.
        predictor: Predicts window lengths; None: the lengths of `windows` for every object.
        copy_reader: Chooses between the copies of an object; None: they are tried in their order.
    """

    store: Store
    windows: Windows = _DEFAULT_WINDOWS
    max_header_bytes: int = MAX_HEADER_BYTES
    caches: ElementCaches = field(default_factory=ElementCaches)
    predictor: WindowPredictor | None = None
    copy_reader: CopyReader | None = None
    _plain: PlainHeaders = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_plain", PlainHeaders(self.max_header_bytes))

    def must_wait(self, traits: ObjectTraits) -> bool:
        """Whether `fetch` waits for the first instance of the same series before it reads this one."""
        return self.predictor is not None and self.predictor.must_wait(traits)

    async def fetch(
        self, copies: Sequence[ObjectRef], cost: RequestCost, traits: ObjectTraits | None = None
    ) -> FetchedHeader:
        """Read one header from the first copy of its object that can be read.

        Args:
            copies: The copies of the object, in the order they are tried.
            cost: Increased by the requests, also on an error.
            traits: What is known of the object, for the predictor, which learns from this header.

        Raises:
            ObjectError: The object has no readable header; every copy has the same bytes.
            StoreError: No copy could be read; the first error other than "not found".
        """
        cache = self.caches.of(None if traits is None else traits.series)
        if self.predictor is None or traits is None:
            prediction = _Prediction((self.windows.first_bytes,), cache)
            return (await self._from_copies(copies, prediction, cost))[0]
        prediction = _Prediction(await self.predictor.windows(traits), cache)
        try:
            fetched, needs = await self._from_copies(copies, prediction, cost)
        except BaseException:
            self.predictor.give_up(traits)
            raise
        self.predictor.learn(traits, needs)
        return fetched

    def _from_copies(
        self, copies: Sequence[ObjectRef], prediction: _Prediction, cost: RequestCost
    ) -> Awaitable[_Fetched]:
        if len(copies) == 1:
            return self._fetch_unchanged(prediction, cost, self.store, copies[0])
        if self.copy_reader is None:
            return self._from_first(copies, prediction, cost)
        return self.copy_reader.read(copies, partial(self._fetch_unchanged, prediction, cost))

    async def _from_first(
        self, copies: Sequence[ObjectRef], prediction: _Prediction, cost: RequestCost
    ) -> _Fetched:
        errors: list[StoreError] = []
        for ref in copies:
            try:
                return await self._fetch_unchanged(prediction, cost, self.store, ref)
            except StoreError as error:
                errors.append(error)  # try the next copy
        raise first_informative(errors)

    async def _fetch_unchanged(
        self, prediction: _Prediction, cost: RequestCost, store: Store, ref: ObjectRef
    ) -> _Fetched:
        try:
            try:
                return await self._read(store, ref, prediction, cost)
            except ObjectChangedError:
                # The object was replaced between two windows: read it once more from the start.
                return await self._read(store, ref, prediction, cost)
        except ObjectError as error:
            error.url = ref.url
            raise

    async def _read(
        self, store: Store, ref: ObjectRef, prediction: _Prediction, cost: RequestCost
    ) -> _Fetched:
        windows, cache = prediction
        first = await read_range(store, ref, cost, ByteRange(0, windows[0]), None)
        parser = PlainFirstParser(self._plain, first.size, cache)
        step, fed = parser.feed(first.data), len(first.data)
        read_ahead, next_window = self.windows.read_ahead_bytes, 1
        while isinstance(step, NeedMore):
            ahead = read_ahead
            if step.start > fed:  # the parser skips a long value: use the window behind it, as in the series
                ahead = windows[next_window] if next_window < len(windows) else self.windows.first_bytes
                next_window += 1
            stop = step.stop if step.last else max(step.stop, step.start + ahead)
            wanted = ByteRange(step.start, min(stop, first.size))
            response = await read_range(store, ref, cost, wanted, first.etag)
            check_unchanged(ref, wanted.start, first.size, response)
            step, fed = parser.feed(response.data), wanted.start + len(response.data)
            read_ahead = min(2 * read_ahead, self.windows.longest_bytes)
        fetched = FetchedHeader(ref, step, first.size, first.etag)
        return fetched, _needs(step, parser.skipped, fed, first.size)


async def read_range(
    store: Store, ref: ObjectRef, cost: RequestCost, wanted: ByteRange, etag: str | None
) -> RangeResponse:
    """Read a range of one version of an object, and add its requests to a cost.

    Args:
        store: Reads the object.
        ref: The object.
        cost: Increased by the requests, also on an error.
        wanted: The range.
        etag: The version's ETag; None: any version.

    Raises:
        StoreError: The range cannot be read.
    """
    try:
        response = await store.get_range(ref, wanted, etag=etag)
    except StoreError as error:
        cost.add(error)
        raise
    cost.add(response)
    return response
