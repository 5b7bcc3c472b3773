"""Finds where the frames of an opened object lie: as known, as kept, or as the object itself says."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from harvester.dicom import Header
from harvester.dicom.frames import FrameIndex, PixelData, is_item, read_index
from harvester.errors import FrameIndexError
from harvester.fetch.frame_index import answered, search, warn_of_refused
from harvester.fetch.headers import FetchedHeader
from harvester.model import ByteRange
from harvester.reader.dataset_hints import ObjectHints
from harvester.reader.event_loop import FRAME_INDEXES
from harvester.reader.offset_table import own_table
from harvester.reader.read_ahead import reading_ahead
from harvester.reader.source import ObjectSource

_logger = logging.getLogger("harvester")

_HEADER: Final = 8  # bytes of an item's


async def find_index(source: ObjectSource) -> FrameIndex:
    """The frame index of an encapsulated object; what was found is kept for the next time.

    Raises:
        FrameIndexError: None of the object's sources tells where its frames lie.
        StoreError: The object cannot be read.
    """
    kept = FRAME_INDEXES.get(source.ref.url, source.etag)
    return await _of(source, _found) if kept is None else kept


async def find_again(source: ObjectSource, wrong: FrameIndex, reason: FrameIndexError) -> FrameIndex:
    """The frame index of an object whose index turned out to be wrong when a frame was read: by a scan.

    Args:
        source: The object.
        wrong: What was believed of it; it is forgotten.
        reason: What is wrong with it, for the log.

    Raises:
        FrameIndexError: It cannot be found by one.
        StoreError: The object cannot be read.
    """
    url = source.ref.url
    FRAME_INDEXES.forget(url, source.etag)
    _logger.warning("%s: its frame index (%s) is not believed: %s", url, wrong.source, reason.message)
    return await _of(source, _scanned)


async def known_index(source: ObjectSource, known: ObjectHints) -> FrameIndex | None:
    """What is kept of an opened object, or what a dataset says of it, where that can be true.

    It is not looked at: a frame that is read says whether it is there.
    """
    kept = FRAME_INDEXES.get(source.ref.url, source.etag)
    if kept is not None or known.index is None or known.etag != source.etag or source.header is None:
        return kept
    try:
        known.index.check(PixelData.of(source.header, source.size))
    except FrameIndexError as error:
        _refuse(source, known.index, error)
        return None
    FRAME_INDEXES.put(source.ref.url, source.etag, known.index)
    return known.index


async def looked_up(source: ObjectSource, index: FrameIndex) -> FrameIndex | None:
    """An index that a dataset knows, held against its object at the longest frame; None where it is wrong.

    There it is seen whether frames are in fragments: programs that cut frames into fragments cut them at a
    length, so that the longest is cut if any is.
    """
    if index.fragmented is not None:
        return index
    place = max(range(len(index)), key=index.lengths.__getitem__)
    start, length = index.offsets[place], index.lengths[place]
    (header,) = await source.fetch([ByteRange(start, start + _HEADER)])
    if not is_item(header, length):
        _refuse(source, index, FrameIndexError(f"frame {place + 1} is not where it says"))
        return None
    found = replace(index, fragmented=int.from_bytes(header[4:8], "little") != length - _HEADER)
    FRAME_INDEXES.put(source.ref.url, source.etag, found)
    return found


def _refuse(source: ObjectSource, index: FrameIndex, error: FrameIndexError) -> None:
    url = source.ref.url
    FRAME_INDEXES.forget(url, source.etag)
    _logger.warning(
        "%s: the dataset's frame index (%s) is not believed: %s", url, index.source, error.message
    )


async def _scanned(source: ObjectSource, header: Header) -> FrameIndex:
    pixels = PixelData.of(header, source.size)
    async with reading_ahead(source) as read:
        index = await answered(read_index(pixels, "scan"), read)
    FRAME_INDEXES.put(source.ref.url, source.etag, index)
    return index


async def _found(source: ObjectSource, header: Header) -> FrameIndex:
    believed = await _credible(source, header)
    if believed is not None:
        FRAME_INDEXES.put(source.ref.url, source.etag, believed)
        return believed
    fetched = FetchedHeader(source.ref, header, source.size, source.etag)
    async with reading_ahead(source) as read:
        found = await search(fetched, "scan", read)
    if found.index is None:
        reason = found.refused[-1][1]
        raise FrameIndexError(reason.message, offset=reason.offset)
    warn_of_refused(source.ref.url, found)
    FRAME_INDEXES.put(source.ref.url, source.etag, found.index)
    return found.index


async def _credible(source: ObjectSource, header: Header) -> FrameIndex | None:
    """The index of an extended table that need not be looked up: a frame that is read says if it is there."""
    if not header.extended_offset_table:
        return None
    pixels = PixelData.of(header, source.size)
    pixels.check_number_of_frames()
    table = own_table(header, pixels.number_of_frames, b"")
    if table is None or table.own is None:
        return None
    (own,) = await source.fetch([table.own])
    return table.credible_index(own, source.size)


async def _of(
    source: ObjectSource, find: Callable[[ObjectSource, Header], Awaitable[FrameIndex]]
) -> FrameIndex:
    header = source.header
    if header is None:
        raise FrameIndexError("this is no DICOM object that has frames", url=source.ref.url)
    try:
        return await find(source, header)
    except FrameIndexError as error:
        error.url = source.ref.url
        raise
