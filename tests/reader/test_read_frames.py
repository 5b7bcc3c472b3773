"""Frames read by number have the pixels of the whole file."""

import contextlib
import subprocess
import sys
import zlib

import numpy as np
import pydicom
import pytest
from frame_reading import made
from header_feeding import CORPUS, inventory, needs_corpus
from made_part10 import element, part10
from memory_store import MemoryStore
from pydicom.encaps import generate_frames
from pydicom.pixels import get_decoder, pixel_array
from pydicom.uid import UID, JPEGBaseline8Bit, JPEGLosslessSV1

import harvester
from harvester.errors import FrameDecodeError, FrameIndexError, NotDicomError
from harvester.model import ByteRange
from harvester.reader import opened_frames
from harvester.reader.opened_frames import runs

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

URL = "s3://bucket/slide.dcm"
JPEG_START = b"\xff\xd8\xff\xe0"
DEFLATED = "deflated"


def with_pixels():
    return [
        name
        for name, line in inventory().items()
        if line["has_pixel_data"] == "True" and line["transfer_syntax"] and line["deflated"] == "False"
    ]


def stored(raw):
    return MemoryStore({URL: raw})


def some(count):
    """The numbers of some frames, not in their order."""
    return sorted({1, 2, count // 2, count} & set(range(1, count + 1)), reverse=True)


@needs_corpus
@pytest.mark.parametrize("name", with_pixels())
def test_the_pixels_are_those_of_the_whole_file(name):
    path = CORPUS / name
    dataset = pydicom.dcmread(path, force=True)
    count = max(1, int(dataset.get("NumberOfFrames") or 1)) if "badVR" not in name else 1
    numbers = some(count)
    try:
        expected = [pixel_array(dataset, index=number - 1) for number in numbers]
    except Exception as error:  # noqa: BLE001  whatever it is, it is not our fault
        pytest.skip(f"pydicom does not decode it: {type(error).__name__}")
    frames = harvester.read_frames(str(path), numbers)
    assert [frame.dtype for frame in frames] == [frame.dtype for frame in expected]
    for frame, other in zip(frames, expected, strict=True):
        np.testing.assert_array_equal(frame, other)


@needs_corpus
def test_compressed_frames_are_given_as_they_are():
    raw = (CORPUS / "generated/sm_tiled_full_480f_eot.dcm").read_bytes()
    dataset = pydicom.dcmread(pydicom.filebase.DicomBytesIO(raw))
    expected = list(generate_frames(dataset.PixelData, number_of_frames=480))
    assert harvester.read_frames(URL, [480, 1, 7], False, store=stored(raw)) == [
        expected[479],
        expected[0],
        expected[6],
    ]


@needs_corpus
def test_bit_packed_frames_are_moved_to_start_at_a_byte():
    raw = (CORPUS / "highdicom/seg_image_sm_dots_tiled_full.dcm").read_bytes()
    dataset = pydicom.dcmread(pydicom.filebase.DicomBytesIO(raw))
    frames = harvester.read_frames(URL, range(1, 1251), False, store=stored(raw))
    bits = np.unpackbits(np.frombuffer(dataset.PixelData, np.uint8), bitorder="little")[: 1250 * 100]
    packed = [np.unpackbits(np.frombuffer(frame, np.uint8), bitorder="little")[:100] for frame in frames]
    np.testing.assert_array_equal(np.concatenate(packed), bits)


def test_only_the_frames_are_read_neighbours_in_one_request():
    frames = [[JPEG_START + bytes([number]) * 100_000] for number in range(100)]
    offsets = [number * (100_004 + 8) for number in range(100)]
    store = stored(made(frames, extended=(offsets, [100_004] * 100)))
    read = harvester.read_frames(URL, [50, 51, 52, 90, 3], False, store=store)
    assert [one[-1] for one in read] == [49, 50, 51, 89, 2]
    frames_read = [len(wanted) for _, wanted in store.ranges if len(wanted) > 64 << 10]
    assert sorted(frames_read) == [100_012, 100_012, 300_036]
    assert store.bytes_fetched < 5 * 100_012 + (64 << 10) + 200


def test_a_frame_asked_for_twice_is_read_once():
    store = stored(made([[JPEG_START + bytes(100_000)], [JPEG_START + bytes(100_000)]]))
    first, _, again = harvester.read_frames(URL, [2, 1, 2], False, store=store)
    assert first == again


def test_runs_join_neighbours_across_small_gaps():
    spans = {
        number: ByteRange(start, stop)
        for number, start, stop in [(1, 0, 100), (2, 100, 200), (5, 10_000, 10_100), (9, 50_000, 50_100)]
    }
    assert runs(spans) == [[1, 2, 5], [9]]
    long = {number: ByteRange(number << 20, (number + 1) << 20) for number in range(10)}
    assert [len(run) for run in runs(long)] == [4, 4, 2]


@pytest.mark.parametrize("number", [2, 4, 50, 1_000_000])
def test_a_wrong_number_of_frames_is_logged_and_the_frames_are_read(number, caplog):
    images = [JPEG_START + bytes([place] * 60) + b"\xff\xd9" for place in range(6)]
    raw = made([[image] for image in images], number_of_frames=number)
    store = stored(raw)
    assert harvester.open_object(URL, store=store).read() == raw
    for _ in range(2):
        assert harvester.read_frames(URL, [6, 1], False, store=store) == [images[5], images[0]]
        assert list(harvester.iter_frames(URL, decode=False, store=store)) == images
    assert f"{URL}: Number of Frames is {number}, the fragments make 6 frames" in caplog.messages
    with pytest.raises(FrameIndexError, match="no frame 7: there are 6"):
        harvester.read_frames(URL, [7], False, store=store)


@pytest.mark.parametrize("number", [0, -1, 3])
def test_a_missing_frame_is_an_error(number):
    store = stored(made([[JPEG_START], [JPEG_START]]))
    with pytest.raises(FrameIndexError, match=rf"no frame {number}: there are 2.*slide.dcm"):
        harvester.read_frames(URL, [number], store=store)


def test_a_frame_that_cannot_be_decoded_is_an_error():
    with pytest.raises(FrameDecodeError, match=r"frame 1: .*slide.dcm"):
        harvester.read_frames(URL, [1], store=stored(made([[JPEG_START]])))


@pytest.mark.parametrize(
    ("uid", "said"),
    [
        (
            JPEGBaseline8Bit,
            r"no decoder for JPEG Baseline.* is installed: pip install 'dicom-harvester\[reader\]'",
        ),
        (JPEGLosslessSV1, "no decoder for JPEG Lossless.* is installed: pip install pylibjpeg-libjpeg"),
        (
            UID("1.2.840.10008.1.2.4.112"),
            "pydicom has no decoder .* decode=False gives the compressed",
        ),
    ],
)
def test_a_missing_decoder_is_named_with_its_package(uid, said, monkeypatch):
    with contextlib.suppress(NotImplementedError):
        monkeypatch.setattr(get_decoder(uid), "_available", {})
    store = stored(made([[JPEG_START], [JPEG_START]], uid=uid))
    with pytest.raises(FrameDecodeError, match=rf"frame 2: {said}.*slide.dcm"):
        harvester.read_frames(URL, [2], store=store)
    assert harvester.read_frames(URL, [2], False, store=store) == [JPEG_START]


def test_without_numpy_frames_are_read_and_not_decoded(tmp_path):
    path = tmp_path / "slide.dcm"
    path.write_bytes(made([[JPEG_START], [JPEG_START]]))
    program = (
        "import sys; sys.modules['numpy'] = None; import harvester\n"
        f"print(harvester.read_frames({str(path)!r}, [1], False))\n"
        f"harvester.read_frames({str(path)!r}, [1])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == f"[{JPEG_START}]\n"
    assert "NumPy is not installed: pip install 'dicom-harvester[reader]'" in done.stderr


def test_an_object_without_pixel_data_has_no_frames():
    with pytest.raises(FrameIndexError, match="no pixel data, and so no frames"):
        harvester.read_frames(URL, [1], store=stored(part10(element(0x00080060, "CS", b"SR"))))


def test_an_object_that_is_not_dicom_has_no_frames():
    with pytest.raises(NotDicomError):
        harvester.read_frames(URL, [1], store=stored(b"no DICOM" * 100))


def deflated(raw, *, cut=0):
    """The same object, its data set deflated."""
    start = 132 + 12 + int.from_bytes(raw[140:144], "little")
    syntax = element(0x00020010, "UI", b"1.2.840.10008.1.2.1.99")
    meta = element(0x00020000, "UL", len(syntax).to_bytes(4, "little")) + syntax
    squeezed = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    data = squeezed.compress(raw[start:]) + squeezed.flush()
    return raw[:132] + meta + data[: len(data) - cut]


def native(frames, size=64):
    return part10(
        element(0x00280002, "US", b"\1\0"),
        element(0x00280004, "CS", b"MONOCHROME2 "),
        element(0x00280008, "IS", str(len(frames)).encode() + b" " * (len(str(len(frames))) % 2)),
        element(0x00280010, "US", size.to_bytes(2, "little")),
        element(0x00280011, "US", size.to_bytes(2, "little")),
        element(0x00280100, "US", b"\x08\0"),
        element(0x00280101, "US", b"\x08\0"),
        element(0x00280102, "US", b"\7\0"),
        element(0x00280103, "US", b"\0\0"),
        element(0x7FE00010, "OW", b"".join(frames)),
    )


def test_frames_of_a_deflated_object_are_inflated():
    frames = [bytes([number]) * 4096 for number in range(12)]
    store = stored(deflated(native(frames)))
    assert harvester.read_frames(URL, [12, 3], False, store=store) == [frames[11], frames[2]]
    (pixels,) = harvester.read_frames(URL, [3], store=store)
    np.testing.assert_array_equal(pixels, np.full((64, 64), 2))


@needs_corpus
def test_pydicom_decodes_a_deflated_object_alike():
    path = CORPUS / "generated/ct_deflated.dcm"
    (pixels,) = harvester.read_frames(str(path), [1])
    np.testing.assert_array_equal(pixels, pydicom.dcmread(path).pixel_array)


def test_a_damaged_deflated_object_is_refused():
    raw = deflated(native([bytes([number]) * 4096 for number in range(12)]), cut=20)
    with pytest.raises(FrameIndexError, match=r"slide\.dcm"):
        harvester.read_frames(URL, [1], store=stored(raw))


def test_an_inflated_object_is_bounded(monkeypatch):
    monkeypatch.setattr(opened_frames, "LARGEST_INFLATED", 1 << 20)
    store = stored(deflated(native([bytes(4096)] * 1000)))
    with pytest.raises(FrameIndexError, match="longer than 1 MiB"):
        harvester.read_frames(URL, [1], store=store)


@pytest.mark.parametrize("fragments", [1, 3, 5])
def test_a_video_is_one_stream(fragments):
    parts = [bytes([number] * 16) for number in range(fragments)]
    store = stored(made([parts], number_of_frames=3, uid="1.2.840.10008.1.2.4.102.1"))
    assert harvester.read_frames(URL, [1], False, store=store) == [b"".join(parts)]
    with pytest.raises(FrameIndexError, match=r"one video stream.*slide.dcm"):
        harvester.read_frames(URL, [2], False, store=store)
