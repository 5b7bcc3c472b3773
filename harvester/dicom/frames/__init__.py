"""Where the frames of an object lie: read from its tables, from its TIFF directory, or found by scanning.

Everything here is sans-I/O: a generator yields the ranges of bytes that it needs next, all at once, and is
sent their bytes. For a range that reaches beyond the object's end it is sent the bytes that exist.
"""

from harvester.dicom.frames.index import FrameIndex, FrameSource, PixelData, Reading, Wanted
from harvester.dicom.frames.items import is_item, may_start_frame
from harvester.dicom.frames.native import NativeFrames
from harvester.dicom.frames.sources import Effort, Found, find_frames, read_index
from harvester.dicom.frames.tables import contiguous_index, plausible_index

__all__ = [
    "Effort",
    "Found",
    "FrameIndex",
    "FrameSource",
    "NativeFrames",
    "PixelData",
    "Reading",
    "Wanted",
    "contiguous_index",
    "find_frames",
    "is_item",
    "may_start_frame",
    "plausible_index",
    "read_index",
]
