"""Finds where the frames of an opened object lie: as known, as kept, or as the object itself says."""

import logging

from harvester.dicom import Header
from harvester.dicom.frames import Effort, Found, FrameIndex, find_frames
from harvester.errors import FrameIndexError
from harvester.reader.engine import KEPT_INDEXES
from harvester.reader.source import ObjectSource

_logger = logging.getLogger("harvester")


async def find_index(source: ObjectSource, effort: Effort = "scan") -> FrameIndex:
    """The frame index of an encapsulated object; what was found is kept for the next time.

    Raises:
        FrameIndexError: None of the object's sources tells where its frames lie.
        StoreError: The object cannot be read.
    """
    kept = KEPT_INDEXES.get(source.ref.url, source.etag)
    if kept is not None:
        return kept
    if source.header is None:
        raise FrameIndexError("this is no DICOM object that has frames", url=source.ref.url)
    try:
        found = await _found(source, source.header, effort)
    except FrameIndexError as error:
        error.url = source.ref.url
        raise
    for name, refusal in found.refused:
        if name != "scan":
            _logger.warning("%s: its frame index (%s) is not believed: %s", source.ref.url, name, refusal)
    if found.index is None:
        reason = found.refused[-1][1] if found.refused else FrameIndexError("the object has no offset table")
        raise FrameIndexError(reason.message, url=source.ref.url, offset=reason.offset)
    KEPT_INDEXES.put(source.ref.url, source.etag, found.index)
    return found.index


async def _found(source: ObjectSource, header: Header, effort: Effort) -> Found:
    steps = find_frames(header, source.size, effort)
    data: list[bytes] | None = None
    while True:
        try:
            wanted = next(steps) if data is None else steps.send(data)
        except StopIteration as stopped:
            found: Found = stopped.value
            return found
        data = await source.fetch(wanted)
