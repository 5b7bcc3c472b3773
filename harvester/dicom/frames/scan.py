"""Finds the frames of an object without an offset table: walks the items, and joins fragments to frames."""

from array import array

from harvester.dicom.frames.index import FrameIndex, PixelData, Reading
from harvester.dicom.frames.items import ITEM_HEADER, RLE, Fragments, basic_table_length, scan_fragments
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
    """The first fragment of each frame; a video stream counts as one frame.

    If Number of Frames does not fit, the frames are the images that start or end at a fragment's border.

    Raises:
        FrameIndexError: The fragments of each frame are not known.
    """
    offsets, frames = fragments.offsets, pixels.number_of_frames
    if not offsets:
        raise FrameIndexError("the pixel data has no fragment", offset=fragments.end)
    if frames == 1 or pixels.is_stream:
        return offsets[:1]
    # One fragment a frame is all that RLE allows (PS3.5 A.4.2).
    if len(offsets) == frames or pixels.transfer_syntax_uid == RLE:
        return offsets
    # Several fragments a frame (PS3.5 A.4): an image starts with its first one, and ends with its last one.
    starting = array("Q", (offset for offset, start in zip(offsets, fragments.starts, strict=True) if start))
    following = zip(offsets[1:], fragments.ends, strict=False)
    behind = array("Q", [offsets[0], *(offset for offset, end in following if end)])
    if starting[:1] != offsets[:1]:
        starting = array("Q")
    if len(starting) != frames and any(fragments.ends):
        return behind
    if not starting:
        raise FrameIndexError(
            f"which of {len(offsets)} fragments make each of {frames} frames cannot be determined",
            offset=offsets[0],
        )
    return starting
