"""Finds the frames of an object that has no table: from item to item, and fragments joined to frames."""

from array import array

from harvester.dicom.frames.index import FrameIndex, PixelData, Reading
from harvester.dicom.frames.items import ITEM_HEADER, Fragments, basic_table_length, scan_fragments
from harvester.errors import FrameIndexError


def scan_frames(pixels: PixelData) -> Reading:
    """The index that the fragments themselves give.

    Raises:
        FrameIndexError: They cannot be followed, or the fragments of each frame are not known.
    """
    length = yield from basic_table_length(pixels)
    fragments = yield from scan_fragments(pixels, pixels.offset + ITEM_HEADER + length)
    firsts = first_fragments(fragments, pixels)
    fragmented = len(firsts) != len(fragments.offsets)
    return FrameIndex.between("scan", firsts, fragments.end, fragmented=fragmented)


def first_fragments(fragments: Fragments, pixels: PixelData) -> "array[int]":
    """The first fragment of each frame; a video stream is taken for one frame.

    Raises:
        FrameIndexError: The fragments of each frame are not known.
    """
    offsets, frames = fragments.offsets, pixels.number_of_frames
    if not offsets:
        raise FrameIndexError("the pixel data has no fragment", offset=fragments.end)
    if frames == 1 or pixels.is_stream:
        return offsets[:1]
    if len(offsets) == frames:
        return offsets
    # Several fragments a frame (PS3.5 A.4): each frame's first one begins as an image does. One fragment a
    # frame is all that RLE allows (A.4.2), and its frames begin with nothing that can be told from others.
    firsts = array("Q", (offset for offset, start in zip(offsets, fragments.starts, strict=True) if start))
    if len(firsts) != frames or firsts[0] != offsets[0]:
        raise FrameIndexError(
            f"which of {len(offsets)} fragments make each of {frames} frames cannot be told",
            offset=offsets[0],
        )
    return firsts
