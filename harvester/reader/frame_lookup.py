"""Finds where the frames of an opened object lie, and remembers it by ETag."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from anyio import to_thread

from harvester.config.operating_system import after_fork_in_child
from harvester.dicom import Header
from harvester.dicom.frames import FrameIndex, PixelData, is_item, read_index
from harvester.errors import FrameIndexError
from harvester.fetch.frame_index import run_steps, search, warn_of_refused
from harvester.fetch.headers import FetchedHeader
from harvester.model import ByteRange
from harvester.reader.dataset_hints import ObjectHints
from harvester.reader.offset_table import own_table
from harvester.reader.read_ahead import reading_ahead
from harvester.reader.source import ObjectSource

_logger = logging.getLogger("harvester")

_ITEM_HEADER: Final = 8  # bytes
_MOST_CACHED_FRAMES: Final = 4_000_000  # of all cached indexes: 64 MB


class FrameIndexCache:
    """The most recently used frame indexes, by object and ETag; any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._indexes: OrderedDict[tuple[str, str | None], FrameIndex] = OrderedDict()

    def get(self, url: str, etag: str | None) -> FrameIndex | None:
        """The index of an object, if it is cached."""
        with self._lock:
            index = self._indexes.get((url, etag))
            if index is not None:
                self._indexes.move_to_end((url, etag))
            return index

    def put(self, url: str, etag: str | None, index: FrameIndex) -> None:
        """Cache the index of an object; without an ETag a replaced object would not be noticed."""
        if etag is None:
            return
        with self._lock:
            self._indexes[url, etag] = index
            self._indexes.move_to_end((url, etag))
            while sum(len(one) for one in self._indexes.values()) > _MOST_CACHED_FRAMES:
                self._indexes.popitem(last=False)

    def forget(self, url: str, etag: str | None) -> None:
        """Drop the index of an object."""
        with self._lock:
            self._indexes.pop((url, etag), None)

    def clear(self) -> None:
        """Drop all indexes."""
        with self._lock:
            self._indexes.clear()

    def unlock_after_fork(self) -> None:
        """Replace the lock, which a thread of the parent process may have held."""
        self._lock = threading.Lock()


FRAME_INDEXES: Final = FrameIndexCache()
after_fork_in_child(FRAME_INDEXES.unlock_after_fork)


async def find_index(source: ObjectSource) -> FrameIndex:
    """The frame index of an encapsulated object: the cached one, else the object is searched.

    Raises:
        FrameIndexError: No source of the object gives the positions of its frames.
        StoreError: The object cannot be read.
    """
    cached = FRAME_INDEXES.get(source.ref.url, source.etag)
    return await _cached(source, _search) if cached is None else cached


async def verified_index(source: ObjectSource) -> FrameIndex:
    """The frame index of an object, checked by the items that it points to, the last frame's end included.

    Raises:
        FrameIndexError: No source of the object gives the positions of its frames.
        StoreError: The object cannot be read.
    """
    return await _cached(source, _search_items)


async def find_again(source: ObjectSource, wrong: FrameIndex, reason: FrameIndexError) -> FrameIndex:
    """Scan an object for its frames after a frame was not where its index says.

    Args:
        source: The object.
        wrong: The index, which is dropped.
        reason: The difference, for the log.

    Raises:
        FrameIndexError: The scan cannot find the positions of the frames.
        StoreError: The object cannot be read.
    """
    _refuse(source, f"its frame index ({wrong.source})", reason)
    return await _cached(source, _scan)


async def known_index(source: ObjectSource, hints: ObjectHints) -> FrameIndex | None:
    """The index of an opened object in memory, in a dataset or on disk, if it fits the object.

    Frames are checked when they are read.
    """
    url, etag, disk = source.ref.url, source.etag, source.store.cache_of(source.ref)
    index = FRAME_INDEXES.get(url, etag)
    if index is not None or source.header is None or etag is None:
        return index
    if hints.etag == etag:
        index = hints.index
    if index is None and disk is not None:
        index = await to_thread.run_sync(disk.read_index, url, etag)
    if index is not None:
        try:
            index.check(PixelData.of(source.header, source.size))
        except FrameIndexError as error:
            _refuse(source, f"the known frame index ({index.source})", error)
            return None
        FRAME_INDEXES.put(url, etag, index)
    return index


async def with_fragmentation(source: ObjectSource, index: FrameIndex) -> FrameIndex | None:
    """The index of a dataset, with `fragmented` set from the object's longest frame; None if it is wrong.

    Programs that cut frames into fragments cut them at a fixed length, so the longest is cut if any is.
    """
    if index.fragmented is not None:
        return index
    place = max(range(len(index)), key=index.lengths.__getitem__)
    start, length = index.offsets[place], index.lengths[place]
    (header,) = await source.fetch([ByteRange(start, start + _ITEM_HEADER)])
    if not is_item(header, length):
        error = FrameIndexError(f"frame {place + 1} does not start there", offset=start)
        _refuse(source, f"the known frame index ({index.source})", error)
        return None
    found = replace(index, fragmented=int.from_bytes(header[4:8], "little") != length - _ITEM_HEADER)
    FRAME_INDEXES.put(source.ref.url, source.etag, found)
    return found


def _refuse(source: ObjectSource, name: str, error: FrameIndexError) -> None:
    FRAME_INDEXES.forget(source.ref.url, source.etag)
    _logger.warning("%s: %s is not used: %s", source.ref.url, name, error.message)


async def _scan(source: ObjectSource, header: Header) -> FrameIndex:
    pixels = PixelData.of(header, source.size)
    async with reading_ahead(source) as read:
        return await run_steps(read_index(pixels, "scan"), read)


async def _search(source: ObjectSource, header: Header) -> FrameIndex:
    pixels = PixelData.of(header, source.size)
    if pixels.is_stream:
        return await _scan(source, header)
    credible = await _credible(source, header, pixels.number_of_frames)
    return await _search_items(source, header) if credible is None else credible


async def _search_items(source: ObjectSource, header: Header) -> FrameIndex:
    async with reading_ahead(source) as read:
        found = await search(FetchedHeader(source.ref, header, source.size, source.etag), "scan", read)
    if found.index is None:
        reason = found.refused[-1][1]
        raise FrameIndexError(reason.message, offset=reason.offset)
    warn_of_refused(source.ref.url, found)
    return found.index


async def _credible(source: ObjectSource, header: Header, frames: int) -> FrameIndex | None:
    """The index of the object's own table if arithmetic confirms it."""
    if not header.extended_offset_table and not header.basic_offset_table:
        return None
    start = header.pixel_data_offset or 0
    table = own_table(header, frames, await source.read(start, start + _ITEM_HEADER))
    if table is None or table.own is None:
        return None
    # With read-ahead: the first frames follow a basic table.
    return table.credible_index(await source.read(table.own.start, table.own.stop), source.size)


async def _cached(
    source: ObjectSource, find: Callable[[ObjectSource, Header], Awaitable[FrameIndex]]
) -> FrameIndex:
    """Find an index and cache it."""
    if source.header is None:
        raise FrameIndexError("the object has no DICOM header, and so no frames", url=source.ref.url)
    try:
        index = await find(source, source.header)
    except FrameIndexError as error:
        error.url = source.ref.url
        raise
    FRAME_INDEXES.put(source.ref.url, source.etag, index)
    disk = source.store.cache_of(source.ref)
    is_credible = len(index) == PixelData.of(source.header, source.size).number_of_frames
    if disk is not None and source.etag is not None and is_credible:
        await to_thread.run_sync(disk.write_index, source.ref.url, source.etag, index)
    return index
