"""From every source of the frame index, and for every reader, the pixels are those of the whole file."""

import io
import shutil
from functools import cache

import anyio
import numpy as np
import pydicom
import pytest
from frame_reading import index_from
from header_feeding import CORPUS, inventory, needs_corpus, read
from made_part10 import element, item
from made_tiff import FORMS, beginning, directory
from memory_store import MemoryStore
from pydicom.pixels import pixel_array

import harvester
from harvester.config import CrawlConfig
from harvester.dataset import Dataset
from harvester.engine.crawl import crawl
from harvester.engine.shard import CrawlProgress
from harvester.reader.frame_lookup import FRAME_INDEXES

pytestmark = [needs_corpus, pytest.mark.filterwarnings("ignore::UserWarning")]

URL = "s3://bucket/slide.dcm"
CODECS = {
    "native": ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"),
    "RLE": ("1.2.840.10008.1.2.5",),
    "JPEG": tuple(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 57, 70)),
    "JPEG-LS": ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"),
    "JPEG 2000": ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"),
}
SOURCES = ("scan", "basic", "extended", "tiff")
EMPTY_TABLE = b"\xfe\xff\x00\xe0" + bytes(4)


def pixels_of_the_whole_file(raw, numbers):
    """Some frames by pydicom from the whole file; None where it decodes none of them."""
    try:
        dataset = pydicom.dcmread(io.BytesIO(raw), force=True)
        return [pixel_array(dataset, index=number - 1) for number in numbers]
    except Exception:  # noqa: BLE001  whatever it is, it is not our fault
        return None


@cache
def expected_pixels(name):
    """The last and the first frame of a file, by pydicom from the whole file."""
    return pixels_of_the_whole_file((CORPUS / name).read_bytes(), ends(name))


@cache
def decodable():
    """The multi-frame files that pydicom decodes, with the codec that they are compressed by."""
    found = {}
    for name, line in inventory().items():
        codec = next((one for one, uids in CODECS.items() if line["transfer_syntax"] in uids), None)
        multi_frame = line["frames"] not in ("", "1") and line["deflated"] == "False"
        if codec and multi_frame and expected_pixels(name) is not None:
            found[name] = codec
    return found


def ends(name):
    """The numbers of a file's first and last frame, the last one first."""
    return [int(inventory()[name]["frames"]), 1]


def multi_frame():
    return [
        name
        for name, line in inventory().items()
        if line["frames"] not in ("", "1")
        and line["encapsulated"] == "True"
        and any(line["transfer_syntax"] in uids for uids in CODECS.values())
    ]


def without_tables(raw):
    """The same file, without an offset table and without a TIFF directory."""
    header = read(raw)
    tables = [one for one in header.elements if one[0] in (0x7FE00001, 0x7FE00002)]
    start = header.header_bytes if not tables else tables[0][3] - 12
    value = header.pixel_data_offset
    length = int.from_bytes(raw[value + 4 : value + 8], "little")
    front = raw[:start] + raw[header.header_bytes : value]
    behind = raw[value + 8 + length :]
    return (
        bytes(128) + front[128:] + EMPTY_TABLE + behind
        if raw[:2] in (b"II", b"MM")
        else front + EMPTY_TABLE + behind
    )


def with_source(raw, source):
    """The same file, its frames told by one source; None where they are in fragments, which it cannot say."""
    plain = without_tables(raw)
    index = index_from(plain, "scan")
    if source == "scan":
        return plain
    if source == "basic":
        return with_basic_table(plain, index)
    if index.fragmented:
        return None
    return shown(plain, "extended") if source == "extended" else with_directory(plain, index)


def with_basic_table(raw, index):
    start = read(raw).pixel_data_offset
    first = index.offsets[0]
    table = b"".join((offset - first).to_bytes(4, "little") for offset in index.offsets)
    return raw[:start] + item(table) + raw[start + len(EMPTY_TABLE) :]


def shown(raw, offset_table):
    FRAME_INDEXES.clear()
    return harvester.open_object(URL, store=MemoryStore({URL: raw}), offset_table=offset_table).read()


def with_directory(raw, index):
    tiles = {324: [offset + 8 for offset in index.offsets], 325: [length - 8 for length in index.lengths]}
    form, at = FORMS[0], len(raw) + 12
    trailing = directory(form, at, tiles)
    trailing += bytes(len(trailing) % 2)
    return beginning(form, at) + raw[128:] + element(0xFFFCFFFC, "OB", trailing)


def same(frames, expected):
    assert [frame.dtype for frame in frames] == [frame.dtype for frame in expected]
    for frame, other in zip(frames, expected, strict=True):
        np.testing.assert_array_equal(frame, other)


def test_the_corpus_has_files_of_every_codec():
    assert set(decodable().values()) == set(CODECS)


@pytest.mark.parametrize("name", multi_frame())
def test_the_frames_are_decoded_alike_from_each_source(name):
    if name not in decodable():
        pytest.skip("pydicom does not decode it")
    raw, numbers = (CORPUS / name).read_bytes(), ends(name)
    expected = expected_pixels(name)
    for source in SOURCES:
        made = with_source(raw, source)
        if made is None:
            continue
        FRAME_INDEXES.clear()
        store = MemoryStore({URL: made})
        same(harvester.read_frames(URL, numbers, store=store), expected)
        file = harvester.open_object(URL, store=store)
        assert FRAME_INDEXES.get(URL, file.etag).source == source
        same([pixel_array(file, index=number - 1) for number in numbers], expected)


@pytest.mark.parametrize("offset_table", ["auto", "extended", "none"])
@pytest.mark.parametrize(
    "name", [name for name, line in inventory().items() if line["frames"] not in ("", "1")]
)
def test_pydicom_reads_single_frames_of_an_opened_object(name, offset_table):
    if name not in decodable():
        pytest.skip("pydicom does not decode it")
    if offset_table == "extended" and "fragmented" in name:
        pytest.skip("PS3.3 C.7.6.3.1.8: an extended table is for frames of one fragment")
    numbers = ends(name)
    file = harvester.open_object(str(CORPUS / name), offset_table=offset_table)
    expected = expected_pixels(name)
    same([pixel_array(file, index=number - 1) for number in numbers], expected)


@pytest.fixture(scope="module")
def crawled(tmp_path_factory):
    """A dataset that knows the frames of some files of each codec, and where these are."""
    home = tmp_path_factory.mktemp("crawled")
    (home / "objects").mkdir()
    paths = {}
    some = [
        name for codec in CODECS for name in [one for one in decodable() if decodable()[one] == codec][:5]
    ]
    for number, name in enumerate(some):
        paths[name] = home / "objects" / f"{number}.dcm"
        shutil.copyfile(CORPUS / name, paths[name])
    document = {
        "dataset": str(home / "dataset"),
        "source": {"catalog": "local"},
        "select": {"root": str(home / "objects")},
        "frames": {"index": "scan"},
    }
    anyio.run(crawl, CrawlConfig.model_validate(document), CrawlProgress())
    return Dataset.open(home / "dataset"), paths


def test_the_frames_are_decoded_alike_from_the_index_of_a_dataset(crawled):
    dataset, paths = crawled
    for name, path in paths.items():
        FRAME_INDEXES.clear()
        numbers = ends(name)
        expected = expected_pixels(name)
        same(harvester.read_frames(str(path), numbers, dataset=dataset), expected)
        file = harvester.open_object(str(path), dataset)
        same([pixel_array(file, index=number - 1) for number in numbers], expected)
