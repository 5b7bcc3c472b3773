"""Finds where the frames of an opened object lie: as known, as kept, or as the object itself says."""

from harvester.dicom.frames import FrameIndex
from harvester.errors import FrameIndexError
from harvester.fetch import FetchedHeader
from harvester.frame_search import search, warn_of_refused
from harvester.reader.engine import KEPT_INDEXES
from harvester.reader.source import ObjectSource


async def find_index(source: ObjectSource) -> FrameIndex:
    """The frame index of an encapsulated object; what was found is kept for the next time.

    Raises:
        FrameIndexError: None of the object's sources tells where its frames lie.
        StoreError: The object cannot be read.
    """
    url = source.ref.url
    kept = KEPT_INDEXES.get(url, source.etag)
    if kept is not None:
        return kept
    if source.header is None:
        raise FrameIndexError("this is no DICOM object that has frames", url=url)
    try:
        fetched = FetchedHeader(source.ref, source.header, source.size, source.etag)
        found = await search(fetched, "scan", source.fetch)
    except FrameIndexError as error:
        error.url = url
        raise
    if found.index is None:
        reason = found.refused[-1][1]
        raise FrameIndexError(reason.message, url=url, offset=reason.offset)
    warn_of_refused(url, found)
    KEPT_INDEXES.put(url, source.etag, found.index)
    return found.index
