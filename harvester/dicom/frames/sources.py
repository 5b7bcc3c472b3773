"""Selects the source of an object's frame index: the first correct one."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from harvester.dicom.frames.index import FrameIndex, FrameSource, PixelData, Reading, Wanted
from harvester.dicom.frames.scan import scan_frames
from harvester.dicom.frames.tables import read_basic_table, read_extended_table
from harvester.dicom.frames.tiff import read_tiff_directory
from harvester.dicom.header import Header
from harvester.errors import FrameIndexError

Effort = Literal["table", "tiff", "scan"]
"""How far to go: DICOM's own tables; or else the TIFF directory; or else a scan of the whole pixel data."""

_READERS: Final[dict[FrameSource, Callable[[PixelData], Reading]]] = {
    "extended": read_extended_table,
    "basic": read_basic_table,
    "tiff": read_tiff_directory,
    "scan": scan_frames,
}
_EFFORTS: Final[tuple[Effort, ...]] = ("table", "tiff", "scan")


@dataclass(frozen=True, slots=True)
class Found:
    """The result of a search for the frames of an object.

    Attributes:
        index: Where they lie; None if no source has it.
        refused: The sources whose index is wrong, with the reason.
    """

    index: FrameIndex | None
    refused: tuple[tuple[FrameSource, FrameIndexError], ...] = ()


def read_index(pixels: PixelData, source: FrameSource) -> Reading:
    """Read the index from one source.

    Raises:
        FrameIndexError: It is not there, or not true.
    """
    return _READERS[source](pixels)


def find_frames(
    header: Header, size: int, effort: Effort = "scan"
) -> Generator[Wanted, Sequence[bytes], Found]:
    """Read the index from the first source that is present and correct.

    Args:
        header: The object's; its pixel data must be encapsulated.
        size: The object's, in bytes.
        effort: How far to go.

    Raises:
        FrameIndexError: The pixel data cannot have an index: it is native, or deflated as a whole.
    """
    pixels = PixelData.of(header, size)
    refused: list[tuple[FrameSource, FrameIndexError]] = []
    for source in _sources(header, effort):
        try:
            index = yield from read_index(pixels, source)
        except FrameIndexError as error:
            refused.append((source, error))
        else:
            return Found(index, tuple(refused))
    return Found(None, tuple(refused))


def _sources(header: Header, effort: Effort) -> list[FrameSource]:
    """Those that an object has, by its header, the cheapest first."""
    reach = _EFFORTS.index(effort)
    sources: list[FrameSource] = []
    if header.extended_offset_table:
        sources.append("extended")
    if header.basic_offset_table:
        sources.append("basic")
    if header.preamble == "tiff" and reach >= _EFFORTS.index("tiff"):
        sources.append("tiff")
    if reach >= _EFFORTS.index("scan"):
        sources.append("scan")
    return sources
