"""A crawl with `[frames] index` writes the positions of frames, and a reader uses them."""

import shutil

import anyio
import pydicom
import pytest
from frame_reading import index_from, made
from header_feeding import CORPUS, needs_corpus, read
from memory_store import MemoryStore
from recorded_demo import recorded_demo

import harvester
from harvester.config import CrawlConfig, load
from harvester.engine.crawl import crawl
from harvester.engine.shard import CrawlProgress
from harvester.errors import ConfigError, ObjectChangedError
from harvester.fetch.frame_index import FrameSearch
from harvester.fetch.headers import FetchedHeader
from harvester.model import ObjectRef
from harvester.query import open_dataset
from harvester.reader.frame_lookup import FRAME_INDEXES
from harvester.store.cost import RequestCost

URL = "s3://bucket/slide.dcm"
START = b"\xff\xd8\xff\xe0"
FRAMES = [[START + bytes([number] * 2 * number)] for number in range(1, 31)]
SLIDES = {
    "extended": "sm_tiled_full_480f_eot.dcm",
    "basic": "sm_tiled_full_480f_bot.dcm",
    "scan": "sm_tiled_full_3000f_neither.dcm",
    "native": "seg_binary_10seg_1000f.dcm",
    "video": "video_mpeg2_one_fragment.dcm",
}


def searched(raw, effort, *, replaced=None):
    store = MemoryStore({URL: raw})
    header = read(raw)
    fetched = FetchedHeader(ObjectRef.parse(URL), header, len(raw), None)
    if replaced is not None:
        store.put(URL, replaced)
    cost = RequestCost()
    index = anyio.run(FrameSearch(store, effort).find, fetched, cost)
    assert (cost.requests, cost.bytes_fetched) == (store.requests, store.bytes_fetched)
    return index, cost


@pytest.mark.parametrize(("effort", "source"), [("table", None), ("tiff", None), ("scan", "scan")])
def test_effort_says_how_far_to_go(effort, source):
    index, cost = searched(made(FRAMES), effort)
    assert (index and index.source) == source
    assert bool(cost.requests) == (source is not None)


def test_a_lie_is_logged_and_not_believed(caplog):
    index, _ = searched(made(FRAMES, table=[0] * 30), "table")
    assert index is None
    assert "s3://bucket/slide.dcm: its frame index (basic) is not used: frame 2" in caplog.text


def test_frames_of_another_number_than_the_header_gives_are_no_index(caplog):
    index, _ = searched(made(FRAMES, number_of_frames=29), "scan")
    assert index is None
    assert "no frame index: Number of Frames is 29, the fragments make 30 frames" in caplog.text


@pytest.mark.parametrize(
    "raw",
    [made(FRAMES[:1]), made(FRAMES[:1], number_of_frames=20, uid="1.2.840.10008.1.2.4.102")],
    ids=["one frame", "video"],
)
def test_what_needs_no_index_is_asked_for_none(raw):
    index, cost = searched(raw, "scan")
    assert index is None
    assert cost.requests == 0


def test_an_object_that_is_replaced_meanwhile_is_an_error():
    raw = made(FRAMES)
    with pytest.raises(ObjectChangedError):
        searched(raw, "scan", replaced=raw + b"more")


@pytest.fixture(scope="module")
def crawled(tmp_path_factory):
    """A crawl with indexes of some slides, and what the demo bucket calls them."""
    folder = tmp_path_factory.mktemp("frames")
    (folder / "root").mkdir()
    for name in SLIDES.values():
        shutil.copy(CORPUS / "generated" / name, folder / "root" / name)
    with recorded_demo(folder / "root") as demo:
        path = demo.toml(folder)
        path.write_text(path.read_text() + '[frames]\nindex = "scan"\n')
        anyio.run(crawl, load(path), CrawlProgress())
        connection = open_dataset(folder / "dataset")
        try:
            rows = connection.sql("FROM frames").to_arrow_table().to_pylist()
            cursor = connection.execute("SELECT SOPInstanceUID, instance_url, requests FROM instances")
            instances = {uid: (url, requests) for uid, url, requests in cursor.fetchall()}
        finally:
            connection.close()
        yield demo, folder / "dataset", rows, instances


def uid_of(name):
    return str(pydicom.dcmread(CORPUS / "generated" / name, stop_before_pixels=True).SOPInstanceUID)


@needs_corpus
def test_every_compressed_multi_frame_object_has_its_row(crawled):
    _, _, rows, instances = crawled
    found = {row["SOPInstanceUID"]: row for row in rows}
    assert set(found) == {uid_of(SLIDES[name]) for name in ("extended", "basic", "scan")}
    for source in ("extended", "basic", "scan"):
        raw = (CORPUS / "generated" / SLIDES[source]).read_bytes()
        row = found[uid_of(SLIDES[source])]
        expected = index_from(raw, "scan")
        assert row["source"] == source
        assert row["frame_offsets"] == list(expected.offsets)
        assert row["frame_lengths"] == list(expected.lengths)
        assert row["instance_url"] == instances[row["SOPInstanceUID"]][0]
        assert row["instance_size"] == len(raw)
        assert row["etag"]
        assert row["collection_id"]
        assert row["Modality"] == "SM"


@needs_corpus
def test_a_reader_takes_the_header_in_one_request_and_the_frames_from_the_dataset(crawled):
    demo, dataset, _, instances = crawled
    url = instances[uid_of(SLIDES["scan"])][0]
    FRAME_INDEXES.clear()
    demo.forget()
    how = {"dataset": dataset, "endpoint": demo.address.endpoint}
    header = harvester.read_header(url, **how)
    assert len(demo.objects) == 1
    assert header == pydicom.dcmread(CORPUS / "generated" / SLIDES["scan"], stop_before_pixels=True)
    FRAME_INDEXES.clear()
    demo.forget()
    frames = harvester.read_frames(url, [3000, 17], False, **how)
    assert len(demo.objects) == 3
    raw = (CORPUS / "generated" / SLIDES["scan"]).read_bytes()
    index = index_from(raw, "scan")
    places = [index.frame(number) for number in (3000, 17)]
    assert [b"\xfe\xff\x00\xe0" + len(frame).to_bytes(4, "little") + frame for frame in frames] == [
        raw[place.start : place.stop] for place in places
    ]
    FRAME_INDEXES.clear()
    file = harvester.open_object(url, **how)
    start = read(raw).pixel_data_offset
    assert len(file.read_at(start, 8 + 4 * 3000)) == 8 + 4 * 3000  # the basic offset table
    assert file.cost.requests == 1
    assert file.cost.bytes_fetched == start + 8


@needs_corpus
def test_what_the_dataset_does_not_know_is_read_all_the_same(crawled, tmp_path):
    _, dataset, _, _ = crawled
    path = tmp_path / "other.dcm"
    path.write_bytes(made(FRAMES))
    assert len(harvester.read_frames(str(path), [1, 2], False, dataset=dataset)) == 2


def test_a_value_that_is_none_is_told_with_those_that_are(tmp_path):
    path = tmp_path / "crawl.toml"
    path.write_text('dataset = "d"\n[frames]\nindex = "tables"\n')
    with pytest.raises(ConfigError, match=r"frames.index: .*table"):
        load(path)


def test_without_a_word_no_object_is_asked():
    assert CrawlConfig.model_validate({"dataset": "d"}).frames.index is None
