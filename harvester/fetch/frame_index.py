"""Finds where the frames of a harvested object lie, by asking its store for what their index is read from."""

import logging
from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Final, TypeVar

import anyio

from harvester.dicom.frames import Effort, Found, FrameIndex, PixelData, Wanted, find_frames
from harvester.errors import FrameIndexError, StoreError, ungrouped
from harvester.fetch.headers import FetchedHeader
from harvester.model import ByteRange
from harvester.store.base import Store, check_unchanged
from harvester.store.cost import RequestCost

_logger = logging.getLogger("harvester")

T = TypeVar("T")
Read = Callable[[Wanted], Awaitable[list[bytes]]]
"""Reads some ranges of one object at once; one that reaches behind its end is cut."""


async def search(fetched: FetchedHeader, effort: Effort, read: Read) -> Found:
    """Find where the frames of an object lie.

    Args:
        fetched: Its header.
        effort: How far to go.
        read: Reads the object.

    Raises:
        FrameIndexError: The object cannot have an index.
        StoreError: It cannot be read.
    """
    return await answered(find_frames(fetched.header, fetched.size, effort), read)


async def answered(steps: Generator[Wanted, Sequence[bytes], T], read: Read) -> T:
    """Give a reading the bytes that it asks for, until it is done.

    Args:
        steps: What `find_frames` or `read_index` gives.
        read: Reads the object.

    Raises:
        FrameIndexError: What was read is not true.
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
    """Log what was said of an object's frames and is not true."""
    for source, refusal in found.refused:
        _logger.warning("%s: its frame index (%s) is not believed: %s", url, source, refusal)


class FrameSearch:
    """Searches the objects of a crawl that have several frames.

    Args:
        store: Where the objects lie.
        effort: How far to go for one.
    """

    def __init__(self, store: Store, effort: Effort) -> None:
        self._store = store
        self._effort: Final[Effort] = effort

    async def find(self, fetched: FetchedHeader, cost: RequestCost) -> FrameIndex | None:
        """The frame index of one object; None where it needs none, has none, or none that can be believed.

        Args:
            fetched: Its header; it is read from the same copy.
            cost: Is added to, whether there is an index or not.

        Raises:
            StoreError: The object cannot be read, or was replaced.
        """
        url = fetched.ref.url
        try:
            if not _has_frames(fetched):
                return None
            found = await search(fetched, self._effort, _Ranges(self._store, fetched, cost).read)
        except FrameIndexError as error:
            _logger.warning("%s: where its frames lie cannot be told: %s", url, error)
            return None
        warn_of_refused(url, found)
        return found.index


def _has_frames(fetched: FetchedHeader) -> bool:
    """Whether there is something to index: native frames are arithmetic, a video is one stream."""
    header = fetched.header
    if not header.encapsulated or header.deflated:
        return False
    pixels = PixelData.of(header, fetched.size)
    return pixels.number_of_frames > 1 and not pixels.is_stream


class _Ranges:
    """Ranges of the very object that a header was read from."""

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
        try:
            answer = await self._store.get_range(fetched.ref, wanted, etag=fetched.etag)
        except StoreError as error:
            self._cost.add(error)
            raise
        self._cost.add(answer)
        check_unchanged(fetched.ref, wanted.start, fetched.size, answer)
        parts[place] = answer.data
