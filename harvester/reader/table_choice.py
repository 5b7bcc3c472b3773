"""Chooses the offset table that an opened object is shown with: one that it lacks, or its own, corrected."""

import logging
from dataclasses import replace
from typing import Final, Literal, TypeAlias, get_args

from harvester.dicom import Header
from harvester.dicom.frames import FrameIndex, PixelData
from harvester.errors import ConfigError, FrameIndexError
from harvester.model import ByteRange
from harvester.reader.frame_lookup import find_index, with_fragmentation
from harvester.reader.offset_table import VirtualTable, fits_basic, lacks_table, own_table
from harvester.reader.source import ObjectSource

_logger = logging.getLogger("harvester")

OffsetTable = Literal["auto", "extended", "none"]
"""Which table is put into a multi-frame file that has none.

`auto`: a basic one, or an extended one in an object above 4 GiB. A basic table is inside the pixel data, so
reading the metadata alone does not start the search for the frames. An object of up to 64 KiB needs none: the
first request holds all of it. `extended`: an extended one, in an object of any size.
`none`: the file is shown unchanged, also if its own table is wrong.
"""
TableAndIndex: TypeAlias = tuple[VirtualTable | None, FrameIndex | None]

_CHOICES: Final = get_args(OffsetTable)
_SMALL: Final = 64 << 10  # bytes: the first request holds all of such an object
_ITEM_HEADER: Final = 8


def check_offset_table(wanted: str) -> None:
    """Check an argument.

    Raises:
        ConfigError: There is no such choice.
    """
    if wanted not in _CHOICES:
        raise ConfigError(f"offset_table={wanted!r}: it is one of {', '.join(_CHOICES)}")


async def choose_table(source: ObjectSource, index: FrameIndex | None, wanted: OffsetTable) -> TableAndIndex:
    """Choose the table of an opened object; the choice depends on the object's bytes alone.

    Args:
        source: The object.
        index: Its frame index, if it is known.
        wanted: Which table the caller wants.

    Returns:
        The table to put in, or None; and the frame index as far as it is known.

    Raises:
        StoreError: The object cannot be read.
    """
    header = source.header
    frames = None if header is None or wanted == "none" else _number_of_frames(header, source.size)
    if header is None or frames is None:
        return None, index
    if index is not None and len(index) != frames:
        index = None
    if not lacks_table(header):
        return await _own(source, header, frames, index)
    is_small = source.size <= _SMALL
    if is_small and index is None:
        index = await try_find_index(source)
    if is_small and (index is None or wanted == "auto"):
        return None, index
    is_extended = wanted == "extended" or not fits_basic(source.size)
    if is_extended and index is not None:
        index = await with_fragmentation(source, index)
    return VirtualTable("extended" if is_extended else "basic", frames, header), index


async def try_find_index(source: ObjectSource) -> FrameIndex | None:
    """The frame index of an object for a table; None, with a warning, if it cannot be found.

    Raises:
        StoreError: The object cannot be read.
    """
    try:
        index = await find_index(source)
        if source.header is not None:
            index.check_number(PixelData.of(source.header, source.size))
        return index  # noqa: TRY300  the check is one of what fails
    except FrameIndexError as error:
        _logger.warning("%s: shown without a new offset table: %s", source.ref.url, error.message)
        return None


def _number_of_frames(header: Header, size: int) -> int | None:
    """The number of frames if there are several that a table can locate."""
    if not header.encapsulated or header.deflated or header.big_endian:
        return None
    try:
        pixels = PixelData.of(header, size)
        pixels.check_number_of_frames()
    except FrameIndexError:
        return None
    return None if pixels.number_of_frames == 1 or pixels.is_stream else pixels.number_of_frames


async def _own(source: ObjectSource, header: Header, frames: int, index: FrameIndex | None) -> TableAndIndex:
    start = header.pixel_data_offset or 0
    (first_item,) = await source.fetch([ByteRange(start, start + _ITEM_HEADER)])  # read with the header
    table = own_table(header, frames, first_item)
    place = None if table is None else table.own
    if table is None or place is None:
        return None, index
    basic_length = int.from_bytes(first_item[4:8], "little")
    if table.kind == "basic" and basic_length == 4 * frames:
        return table, index  # replaced, if at all, by one of the same length
    if table.kind == "basic":
        index = await try_find_index(source)
        return (None if index is None else table), index
    (own,) = await source.fetch([place])
    credible = table.credible_index(own, source.size)
    if credible is not None:
        return table, index or credible
    index = await try_find_index(source)
    index = None if index is None else await with_fragmentation(source, index)
    if index is None or not index.fragmented:
        return (None if index is None else table), index
    # An extended table cannot describe frames of several fragments: a basic one takes its place.
    (before,) = await source.fetch([ByteRange(place.stop, start)])
    place = ByteRange(place.start, start + _ITEM_HEADER + basic_length)
    return replace(table, kind="basic", own=place, before=before), index
