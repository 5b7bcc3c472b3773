"""Reads the frame index of one object from its store."""

import logging
from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Final, TypeVar

import anyio

from harvester.dicom.frames import Effort, Found, FrameIndex, PixelData, Wanted, find_frames
from harvester.errors import FrameIndexError, ungrouped
from harvester.fetch.headers import FetchedHeader, read_range
from harvester.model import ByteRange
from harvester.store.base import Store, check_unchanged
from harvester.store.cost import RequestCost

_logger = logging.getLogger("harvester")

T = TypeVar("T")
Read = Callable[[Wanted], Awaitable[list[bytes]]]
"""Reads some ranges of one object; a range that reaches behind its end is cut."""


async def search(fetched: FetchedHeader, effort: Effort, read: Read) -> Found:
    """Find the frames of an object.

    Args:
        fetched: Its header.
        effort: How far to search.
        read: Reads ranges of the object.

    Raises:
        FrameIndexError: The object cannot have an index.
        StoreError: It cannot be read.
    """
    return await run_steps(find_frames(fetched.header, fetched.size, effort), read)


async def run_steps(steps: Generator[Wanted, Sequence[bytes], T], read: Read) -> T:
    """Run a generator that yields ranges and receives their bytes; return its result.

    Args:
        steps: From `find_frames` or `read_index`.
        read: Reads ranges of the object.

    Raises:
        FrameIndexError: The index that was read is wrong.
        StoreError: The object cannot be read.
    """
    data: list[bytes] | None = None
    while True:
        try:
            wanted = next(steps) if data is None else steps.send(data)
        except StopIteration as stopped:
            found: T = stopped.value
            return found
        data = await read(wanted)


def warn_of_refused(url: str, found: Found) -> None:
    """Log a warning for each frame index of an object that was refused as wrong."""
    for source, reason in found.refused:
        _logger.warning("%s: its frame index (%s) is not used: %s", url, source, reason)


class FrameSearch:
    """Searches the frame indexes of a crawl's multi-frame objects.

    Args:
        store: Reads the objects.
        effort: How far to search.
    """

    def __init__(self, store: Store, effort: Effort) -> None:
        self._store = store
        self._effort: Final[Effort] = effort

    async def find(self, fetched: FetchedHeader, cost: RequestCost) -> FrameIndex | None:
        """The frame index of one object; None if it needs none, or has none that is right.

        Args:
            fetched: Its header; the index is read from the same copy.
            cost: Increased by the requests, also if there is no index.

        Raises:
            StoreError: The object cannot be read, or was replaced.
        """
        url = fetched.ref.url
        try:
            if not _needs_index(fetched):
                return None
            found = await search(fetched, self._effort, _Ranges(self._store, fetched, cost).read)
            if found.index is not None:
                found.index.check_number(PixelData.of(fetched.header, fetched.size))
        except FrameIndexError as error:
            _logger.warning("%s: no frame index: %s", url, error)
            return None
        warn_of_refused(url, found)
        return found.index


def _needs_index(fetched: FetchedHeader) -> bool:
    """Whether frames need an index: native ones are found by arithmetic, a video is one stream."""
    header = fetched.header
    if not header.encapsulated or header.deflated:
        return False
    pixels = PixelData.of(header, fetched.size)
    return pixels.number_of_frames > 1 and not pixels.is_stream


class _Ranges:
    """Reads ranges of the copy that a header was read from."""

    def __init__(self, store: Store, fetched: FetchedHeader, cost: RequestCost) -> None:
        self._store = store
        self._fetched = fetched
        self._cost = cost

    async def read(self, wanted: Wanted) -> list[bytes]:
        parts = [b""] * len(wanted)
        with ungrouped():
            async with anyio.create_task_group() as tasks:
                for place, one in enumerate(wanted):
                    if one.start < self._fetched.size:
                        tasks.start_soon(self._read_one, one, parts, place)
        return parts

    async def _read_one(self, wanted: ByteRange, parts: list[bytes], place: int) -> None:
        fetched = self._fetched
        response = await read_range(self._store, fetched.ref, self._cost, wanted, fetched.etag)
        check_unchanged(fetched.ref, wanted.start, fetched.size, response)
        parts[place] = response.data
