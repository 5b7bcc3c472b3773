"""Frames are found from item to item, in time and bytes that follow from the size of fragments."""

import pytest
from frame_reading import DELIMITER, RLE, Asked, found_in, index_from, made, places
from header_feeding import read
from hypothesis import given
from hypothesis import strategies as st
from made_part10 import element, item, part10

from harvester.dicom.frames import PixelData, read_index
from harvester.errors import FrameIndexError

JPEG_START = b"\xff\xd8\xff\xe0"
STARTS = {
    "1.2.840.10008.1.2.4.50": JPEG_START,
    "1.2.840.10008.1.2.4.80": b"\xff\xd8\xff\xf7",
    "1.2.840.10008.1.2.4.90": b"\xff\x4f\xff\x51",
    "1.2.840.10008.1.2.4.91": b"\0\0\0\x0cjP  ",
    "1.2.840.10008.1.2.4.110": b"\xff\x0a",
    "1.2.840.10008.1.2.4.112": b"\0\0\0\x0cJXL ",
}


def found_places(raw, asked=None):
    index = index_from(raw, "scan", asked)
    return list(index.offsets), list(index.lengths)


@pytest.mark.parametrize(("uid", "start"), STARTS.items())
def test_fragments_are_joined_where_an_image_begins(uid, start):
    frames = [[start + b"ab", b"cdef"], [start + b"gh"], [start + b"ij", b"kl", b"mn"]]
    raw = made(frames, uid=uid)
    assert found_places(raw) == places(raw, frames)


def test_a_fragment_is_a_frame_where_there_are_as_many():
    frames = [[b"no marker"[:8]], [b"at"], [b"all!"]]
    raw = made(frames, uid=RLE)
    assert found_places(raw) == places(raw, frames)


def test_all_fragments_are_the_one_frame():
    frames = [[b"ab", b"cd", JPEG_START, b"ef"]]
    raw = made(frames)
    assert found_places(raw) == places(raw, frames)


def test_fragments_that_nothing_joins_are_refused():
    raw = made([[b"ab", b"cd", b"ef"]], number_of_frames=2)
    with pytest.raises(FrameIndexError, match="which of 3 fragments make each of 2 frames"):
        index_from(raw, "scan")


IMAGE = JPEG_START + b"image of its own\xff\xd9"


def test_fragments_are_joined_up_to_an_images_end_where_starts_do_not_fit():
    thumbnail = JPEG_START + b"a second start, in the image"
    frames = [[IMAGE], [JPEG_START + b"ab", thumbnail, b"end of it\xff\xd9\0\0"[:12]], [IMAGE]]
    raw = made(frames)
    assert found_places(raw) == places(raw, frames)


@pytest.mark.parametrize("size", [20, 300_000])
@pytest.mark.parametrize("number", [2, 4, 9])
def test_whole_images_are_the_frames_where_their_number_is_wrong(number, size):
    frames = [[JPEG_START + bytes([place] * size) + b"\xff\xd9"] for place in range(6)]
    raw = made(frames, number_of_frames=number)
    assert found_places(raw) == places(raw, frames)


@pytest.mark.parametrize("number", [2, 7])
def test_fragments_of_rle_are_the_frames_where_their_number_is_wrong(number):
    frames = [[bytes([1, 0, 0, 0]) + bytes(60)] for _ in range(4)]
    raw = made(frames, number_of_frames=number, uid=RLE)
    assert found_places(raw) == places(raw, frames)


@pytest.mark.parametrize("suffix", ["100", "102.1", "107"])
def test_a_video_is_one_stream_in_fragments(suffix):
    frames = [[b"one stream", b"goes on!"]]
    raw = made(frames, number_of_frames=240, uid=f"1.2.840.10008.1.2.4.{suffix}")
    assert found_places(raw) == places(raw, frames)


def test_what_lies_behind_the_pixel_data_is_no_frame():
    frames = [[JPEG_START], [JPEG_START]]
    raw = made(frames, behind=element(0xFFFCFFFC, "OB", b"\xfe\xff\x00\xe0" + bytes(60)))
    assert found_places(raw) == places(raw, frames)


def test_a_missing_delimiter_at_the_objects_end_loses_nothing():
    frames = [[JPEG_START], [JPEG_START]]
    raw = made(frames).removesuffix(DELIMITER)
    assert found_places(raw) == places(raw, frames)


@pytest.mark.parametrize("cut", range(1, 12))
def test_an_object_that_ends_inside_a_fragment_is_refused(cut):
    raw = made([[JPEG_START], [JPEG_START + b"abcd"]]).removesuffix(DELIMITER)[:-cut]
    with pytest.raises(FrameIndexError, match=r"ends inside|no item"):
        index_from(raw, "scan")


@pytest.mark.parametrize("length", [b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f"])
def test_a_fragment_of_no_or_of_false_length_is_refused(length):
    content = item() + b"\xfe\xff\x00\xe0" + length + bytes(100)
    raw = part10(element(0x00280008, "IS", b"2 "), element(0x7FE00010, "OB", content, 0xFFFFFFFF))
    with pytest.raises(FrameIndexError):
        index_from(raw, "scan")


def test_large_fragments_are_hopped_over():
    frames = [[JPEG_START + bytes(1 << 20)] for _ in range(20)]
    raw = made(frames)
    asked = Asked()
    assert found_places(raw, asked) == places(raw, frames)
    assert asked.bytes < 100_000
    assert asked.rounds < 25


def test_small_fragments_are_streamed_in_stretches():
    frames = [[JPEG_START + bytes(8000)] for _ in range(3000)]
    raw = made(frames)
    asked = Asked()
    assert found_places(raw, asked) == places(raw, frames)
    assert asked.bytes <= len(raw) * 1.01
    assert asked.rounds < 15


def test_a_scan_holds_no_more_than_a_stretch():
    frames = [[JPEG_START + bytes(8000)] for _ in range(3000)]
    raw = made(frames)
    pixels = PixelData.of(read(raw), len(raw))
    steps, longest, data = read_index(pixels, "scan"), 0, None
    while True:
        try:
            wanted = steps.send(data)
        except StopIteration:
            break
        longest = max(longest, *(len(one) for one in wanted))
        data = [raw[one.start : one.stop] for one in wanted]
    assert longest == 8 << 20


EVEN = st.binary(max_size=40).map(lambda raw: raw + raw)


@given(st.lists(st.lists(EVEN, min_size=1, max_size=4), min_size=2, max_size=30))
def test_whatever_the_fragments_are_frames_are_where_they_were_put(contents):
    frames = [[JPEG_START + first, *(b"\0\0" + more for more in others)] for first, *others in contents]
    raw = made(frames)
    assert found_places(raw) == places(raw, frames)


@given(st.binary(max_size=300), st.integers(0, 5))
def test_noise_is_an_index_or_a_refusal(noise, count):
    content = item() + noise
    raw = part10(
        element(0x00280008, "IS", f"{count} ".encode()), element(0x7FE00010, "OB", content, 0xFFFFFFFF)
    )
    found = found_in(raw)
    assert (found.index is None) == bool(found.refused)
