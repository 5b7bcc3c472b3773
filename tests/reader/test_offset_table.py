"""A file without an offset table is shown with one, and otherwise unchanged."""

import io
import struct

import pydicom
import pytest
from frame_reading import made, places
from header_feeding import CORPUS, inventory, needs_corpus, read
from hypothesis import given
from hypothesis import strategies as st
from memory_store import MemoryStore
from pydicom.encaps import generate_frames, get_frame

import harvester
from harvester.dicom.frames import FrameIndex
from harvester.reader.frame_lookup import FRAME_INDEXES
from harvester.reader.offset_table import Splice, VirtualTable

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

URL = "s3://bucket/slide.dcm"
JPEG_START = b"\xff\xd8\xff\xe0"
ONE_EACH = [[JPEG_START + bytes([number] * 100 * number)] for number in range(1, 41)]
SEVERAL = [[JPEG_START + bytes([number] * 2000), b"more", b"end!"] for number in range(1, 41)]
SMALL = 64 << 10  # bytes of the first request
ADDED = {"ExtendedOffsetTable", "ExtendedOffsetTableLengths"}


def opened(raw, **how):
    store = MemoryStore({URL: raw})
    return harvester.open_object(URL, store=store, **how), store


def without_tables():
    return [
        name
        for name, line in inventory().items()
        if line["encapsulated"] == "True"
        and line["bot"] == "empty"
        and line["eot"] == "False"
        and line["frames"] not in ("", "1")
        and not any(part in name for part in ("video", "too_short"))
    ]


@given(
    st.integers(0, 50), st.integers(0, 20), st.binary(max_size=30), st.integers(0, 120), st.integers(0, 60)
)
def test_the_pieces_of_a_splice_make_up_the_spliced_bytes(at, removed, content, start, length):
    raw = bytes(range(100))
    whole = raw[:at] + content + raw[at + removed :]
    splice = Splice(at, removed, len(content))
    stop = min(start + length, len(whole))
    pieces = splice.pieces(start, stop) if start < stop else []
    joined = b"".join((content if put_in else raw)[one.start : one.stop] for put_in, one in pieces)
    assert joined == whole[start:stop]


@needs_corpus
@pytest.mark.parametrize("kind", ["auto", "extended"])
@pytest.mark.parametrize("name", without_tables())
def test_the_whole_file_is_a_valid_object_that_equals_the_original(name, kind):
    raw = (CORPUS / name).read_bytes()
    is_fragmented = "CT0012.fragmented" in name or "IM00001.fragmented" in name
    if kind == "extended" and is_fragmented:
        pytest.skip("PS3.3 C.7.6.3.1.8: an extended table is for frames of one fragment")
    file, _ = opened(raw, offset_table=kind)
    shown = file.read()
    if kind == "auto" and len(raw) <= SMALL:
        assert shown == raw
        return
    assert len(shown) == file.size > len(raw)
    dataset, original = (pydicom.dcmread(io.BytesIO(one)) for one in (shown, raw))
    count = int(original.NumberOfFrames)
    frames = list(generate_frames(original.PixelData, number_of_frames=count))
    tables = None
    if kind == "extended":
        tables = (dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths)
        assert {element.keyword for element in dataset} - {element.keyword for element in original} == ADDED
        del dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths
        assert dataset == original
    assert list(generate_frames(dataset.PixelData, number_of_frames=count)) == frames
    assert [
        get_frame(dataset.PixelData, at, extended_offsets=tables)[: len(frames[at])] for at in range(count)
    ] == frames
    # The bytes of the frames, items and all, are untouched.
    fragments = read(raw).pixel_data_offset + 8
    assert shown.endswith(raw[fragments:])
    if kind == "auto":
        del dataset.PixelData, original.PixelData
        assert dataset == original


@needs_corpus
@pytest.mark.parametrize(
    "name",
    [name for name, line in inventory().items() if line["bot"] == "nonempty" or line["eot"] == "True"][::5],
)
def test_a_file_with_a_table_is_shown_unchanged(name):
    raw = (CORPUS / name).read_bytes()
    assert opened(raw, offset_table="extended")[0].read() == raw


@pytest.mark.parametrize(
    "raw", [made(ONE_EACH[:1]), made([[b"ab"]], number_of_frames=9, uid="1.2.840.10008.1.2.4.102")]
)
def test_one_frame_and_a_video_need_no_table(raw):
    assert opened(raw, offset_table="extended")[0].read() == raw


def test_an_object_that_the_first_request_holds_is_shown_unchanged():
    frames = [[JPEG_START + bytes(100)] for _ in range(9)]
    raw = made(frames)
    file, store = opened(raw)
    assert file.read() == raw
    assert store.requests == 1
    harvester.read_frames(URL, [3], False, store=store)
    assert opened(raw)[0].size == len(raw)
    assert len(opened(raw, offset_table="extended")[0].read()) == len(raw) + 2 * (12 + 8 * 9)


def test_reading_the_metadata_scans_nothing():
    raw = made([[JPEG_START + bytes(50_000)] for _ in range(100)])
    file, store = opened(raw)
    pydicom.dcmread(file, stop_before_pixels=True)
    assert store.requests == 1


@pytest.mark.parametrize("kind", ["auto", "extended"])
def test_the_layout_is_the_same_before_and_after_the_frames_are_known(kind):
    raw = made([[JPEG_START + bytes(50_000)] for _ in range(99)] + [[JPEG_START + bytes(60_000)]])
    file, store = opened(raw, offset_table=kind)
    size, whole = file.size, file.read()
    store.ranges.clear()
    again = harvester.open_object(URL, store=store, offset_table=kind)
    assert (again.size, again.read_at(0, 3000)) == (size, whole[:3000])
    assert [len(wanted) for _, wanted in store.ranges] == [64 << 10]
    FRAME_INDEXES.clear()
    assert harvester.open_object(URL, store=store, offset_table=kind).read() == whole


def test_frames_in_fragments_are_shown_with_a_basic_table():
    raw = made(SEVERAL)
    for _ in range(2):  # before and after the frames are known
        file, _ = opened(raw)
        shown = pydicom.dcmread(io.BytesIO(file.read()))
        assert "ExtendedOffsetTable" not in shown
        assert [get_frame(shown.PixelData, at) for at in range(40)] == [b"".join(one) for one in SEVERAL]


def ambiguous(size, frames=2):
    """Three fragments for another number of frames, and nothing that tells where a frame starts."""
    return made([[bytes(size), bytes(size), bytes(size)]], number_of_frames=frames)


@pytest.mark.parametrize("kind", ["auto", "extended"])
def test_a_small_file_whose_frames_cannot_be_told_is_shown_unchanged(kind, caplog):
    raw = ambiguous(2)
    assert opened(raw, offset_table=kind)[0].read() == raw
    (warning,) = caplog.messages
    assert "s3://bucket/slide.dcm: shown without a new offset table" in warning


@pytest.mark.parametrize("size", [100, 30_000])
@pytest.mark.parametrize("kind", ["auto", "extended"])
def test_a_wrong_number_of_frames_gives_one_layout_before_and_after_they_are_read(kind, size, caplog):
    raw = made([[JPEG_START + bytes(size) + b"\xff\xd9"] for _ in range(3)], number_of_frames=2)
    file, store = opened(raw, offset_table=kind)
    shown = file.read()
    assert shown[: len(raw)] == raw
    assert "Number of Frames is 2, the fragments make 3 frames" in caplog.text
    harvester.read_frames(URL, [3], False, store=store)
    assert harvester.open_object(URL, store=store, offset_table=kind).read() == shown


@pytest.mark.parametrize("kind", ["auto", "extended"])
@pytest.mark.parametrize("frames", [2, 4, 5])
def test_a_large_file_whose_frames_cannot_be_told_is_followed_by_padding(kind, frames, caplog):
    raw = ambiguous(100_000, frames)
    file, _ = opened(raw, offset_table=kind)
    ends_first = [file.read_at(at, 50_000) for at in range(file.size // 50_000 * 50_000, -1, -50_000)]
    shown = opened(raw, offset_table=kind)[0].read()
    assert b"".join(reversed(ends_first)) == shown
    assert len(shown) == file.size
    assert shown[: len(raw)] == raw
    dataset, original = (pydicom.dcmread(io.BytesIO(one)) for one in (shown, raw))
    assert dataset.PixelData == original.PixelData
    del dataset[0xFFFC, 0xFFFC]
    assert dataset == original
    assert "shown without a new offset table" in caplog.text


@pytest.mark.parametrize("frames", [2, 3, 7])
@pytest.mark.parametrize("kind", ["basic", "extended"])
def test_padding_is_one_element_as_long_as_the_table(kind, frames):
    header = read(made(ONE_EACH))
    for implicit in (False, True):
        object.__setattr__(header, "implicit", implicit)
        table = VirtualTable(kind, frames, header)
        padding = table.padding()
        assert len(padding) == table.splice.shift
        stream = pydicom.filebase.DicomBytesIO(padding)
        stream.is_little_endian, stream.is_implicit_VR = True, implicit
        (one,) = pydicom.filereader.read_dataset(stream, implicit, True)
        assert one.tag == 0xFFFCFFFC


def test_an_extended_table_is_not_put_in_for_frames_in_fragments(caplog):
    raw = made([[JPEG_START + bytes(40_000), bytes(40_000)] for _ in range(5)])
    file, _ = opened(raw, offset_table="extended")
    assert file.read()[: len(raw)] == raw
    assert file.size == len(raw) + 2 * (12 + 8 * 5)
    assert "frames of one fragment each" in caplog.text


def test_in_implicit_vr_the_elements_are_implicit():
    raw = made(ONE_EACH)
    offsets, lengths = places(raw, ONE_EACH)
    header = read(raw)
    object.__setattr__(header, "implicit", True)
    table = VirtualTable("extended", 40, header)
    content = table.content(FrameIndex("scan", offsets, lengths))
    assert len(content) == table.splice.length
    assert content[:8] == struct.pack("<HHL", 0x7FE0, 1, 320)
    assert content[328:336] == struct.pack("<HHL", 0x7FE0, 2, 320)


def test_a_dual_personality_file_with_a_table_put_in_is_no_tiff_file():
    raw = made(ONE_EACH, preamble=b"II*\0" + bytes(124))
    assert opened(raw)[0].read(4) == bytes(4)
    assert opened(raw, offset_table="none")[0].read(4) == b"II*\0"
