"""Chooses the offset table that an opened object is shown with: one that it lacks, or its own."""

from typing import Literal

from harvester.dicom import Header
from harvester.dicom.frames import FrameIndex, PixelData
from harvester.errors import FrameIndexError
from harvester.model import ByteRange
from harvester.reader.frame_lookup import looked_up
from harvester.reader.offset_table import VirtualTable, fits_basic, lacks_table, own_table
from harvester.reader.source import ObjectSource
from harvester.reader.view import ObjectView

OffsetTable = Literal["auto", "extended", "none"]
"""Which table is put into a file of many frames that has none.

`auto`: an extended one where it is known, from a dataset or from an earlier scan, where the frames lie.
Where it is not, a basic one: it stands inside the pixel data, so that reading the metadata alone does not
set off the scan that reading the table does. `extended`: an extended one always. `none`: none; the file's
own, if it has one, is shown unseen.
"""


async def shown_with_table(
    source: ObjectSource, header: Header, index: FrameIndex | None, wanted: OffsetTable
) -> ObjectView:
    """The view of an opened object that has a header.

    Raises:
        StoreError: It cannot be read.
    """
    frames = _frames(header, source.size)
    if frames is None:
        return ObjectView(source, None, index)
    if not lacks_table(header):
        return ObjectView(source, await _own(source, header, frames), index)
    if index is not None:
        index = await looked_up(source, index)
    is_extended = (
        wanted == "extended"
        or not fits_basic(source.size)
        or (index is not None and index.fragmented is False)
    )
    return ObjectView(source, VirtualTable("extended" if is_extended else "basic", frames, header), index)


def _frames(header: Header, size: int) -> int | None:
    """How many frames an object has, where it has several and a table can say where they are."""
    if not header.encapsulated or header.deflated or header.big_endian:
        return None
    try:
        pixels = PixelData.of(header, size)
        pixels.check_number_of_frames()
    except FrameIndexError:
        return None
    return None if pixels.number_of_frames == 1 or pixels.is_stream else pixels.number_of_frames


async def _own(source: ObjectSource, header: Header, frames: int) -> VirtualTable | None:
    start = header.pixel_data_offset or 0
    (first_item,) = await source.fetch([ByteRange(start, start + 8)])  # the header's windows hold it
    return own_table(header, frames, first_item)
