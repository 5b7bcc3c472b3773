"""The frame indexes of real files, from each source, against what pydicom reads from the whole file."""

from io import BytesIO

import pydicom
import pytest
from frame_reading import Asked, found_in, index_from
from header_feeding import CORPUS, inventory, needs_corpus, read
from pydicom.encaps import generate_frames

from harvester.dicom.frames import FrameIndex, NativeFrames
from harvester.errors import FrameIndexError

# pydicom warns of what is odd in some of the files.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

CUT = ("cut_in_", "3gb-bulk", "too_short")
STREAMS = ("video_",)


def encapsulated():
    return [
        name
        for name, line in inventory().items()
        if line["encapsulated"] == "True" and not any(part in name for part in (*CUT, *STREAMS))
    ]


def native():
    return [
        name
        for name, line in inventory().items()
        if line["frames"] not in ("", "1")
        and line["pixel_length"]
        and line["encapsulated"] == "False"
        and line["deflated"] == "False"
    ]


def payload(raw: bytes) -> bytes:
    """The bytes of a frame's fragments, without the headers of their items."""
    pieces, at = [], 0
    while at < len(raw):
        assert raw[at : at + 4] == b"\xfe\xff\x00\xe0"
        length = int.from_bytes(raw[at + 4 : at + 8], "little")
        pieces.append(raw[at + 8 : at + 8 + length])
        at += 8 + length
    assert at == len(raw)
    return b"".join(pieces)


def frames_by(index: FrameIndex, raw: bytes) -> list[bytes]:
    frames = (index.frame(number) for number in range(1, len(index) + 1))
    return [payload(raw[frame.start : frame.stop]) for frame in frames]


def frames_by_pydicom(raw: bytes) -> list[bytes]:
    dataset = pydicom.dcmread(BytesIO(raw), force=True)
    count = max(1, int(dataset.get("NumberOfFrames") or 1))
    return list(generate_frames(dataset.PixelData, number_of_frames=count))


@needs_corpus
@pytest.mark.parametrize("name", encapsulated())
def test_every_source_gives_the_frames_that_pydicom_reads(name):
    raw = (CORPUS / name).read_bytes()
    header = read(raw)
    expected = frames_by_pydicom(raw)
    sources = ["scan"]
    sources += ["basic"] if header.basic_offset_table else []
    sources += ["extended"] if header.extended_offset_table else []
    sources += ["tiff"] if "dual_personality" in name else []
    indexes = {source: index_from(raw, source) for source in sources}
    for source, index in indexes.items():
        assert index.source == source
        assert frames_by(index, raw) == expected
    places = [(list(index.offsets), list(index.lengths)) for index in indexes.values()]
    assert places == places[:1] * len(places)


@needs_corpus
@pytest.mark.parametrize("name", encapsulated())
def test_what_is_cheapest_is_found_and_nothing_is_refused(name):
    raw = (CORPUS / name).read_bytes()
    asked = Asked()
    found = found_in(raw, asked=asked)
    line = inventory()[name]
    if line["eot"] == "True" or line["bot"] == "nonempty":
        assert found.index.source == ("extended" if line["eot"] == "True" else "basic")
        if "fragmented_bot" not in name or "not_fragmented" in name:
            assert asked.bytes < 700 + 16 * int(line["frames"] or 1)
    else:
        assert found.index.source == "scan"
    assert [source for source, _ in found.refused if source != "tiff"] == []


@needs_corpus
@pytest.mark.parametrize("name", ["generated/cut_in_bot.dcm", "generated/cut_in_pixel_data.dcm"])
def test_of_an_object_that_is_cut_nothing_is_believed(name):
    raw = (CORPUS / name).read_bytes()
    found = found_in(raw)
    assert found.index is None
    assert [source for source, _ in found.refused] == ["basic", "scan"]


@needs_corpus
def test_an_object_that_lacks_nothing_but_the_closing_delimiter_has_all_its_frames():
    raw = (CORPUS / "pydicom-data/emri_small_jpeg_2k_lossless_too_short.dcm").read_bytes()
    whole = (CORPUS / "pydicom-data/emri_small_jpeg_2k_lossless.dcm").read_bytes()
    assert frames_by(index_from(raw, "scan"), raw) == frames_by(index_from(whole, "scan"), whole)


@needs_corpus
def test_a_video_is_one_stream():
    raw = (CORPUS / "generated/video_mpeg2_one_fragment.dcm").read_bytes()
    index = index_from(raw, "scan")
    assert frames_by(index, raw) == [raw[-8 - index.lengths[0] + 8 : -8]]


@needs_corpus
@pytest.mark.parametrize("name", native())
def test_native_frames_are_where_pydicom_reads_them(name):
    raw = (CORPUS / name).read_bytes()
    header = read(raw)
    frames = NativeFrames.of(header, len(raw))
    dataset = pydicom.dcmread(BytesIO(raw), force=True)
    bits = int.from_bytes(dataset.PixelData, "little")
    for number in range(1, len(frames) + 1):
        place = frames.frame(number)
        read_bits = int.from_bytes(raw[place.start : place.stop], "little") >> frames.first_bit(number)
        expected = bits >> (number - 1) * frames.bits
        mask = (1 << frames.bits) - 1
        assert read_bits & mask == expected & mask
    with pytest.raises(FrameIndexError, match="there is no frame"):
        frames.frame(len(frames) + 1)


@needs_corpus
def test_the_corpus_has_native_frames_that_start_within_a_byte():
    starting = set()
    for name in native():
        raw = (CORPUS / name).read_bytes()
        frames = NativeFrames.of(read(raw), len(raw))
        starting |= {frames.first_bit(number) for number in range(1, len(frames) + 1)}
    assert len(starting) > 1
