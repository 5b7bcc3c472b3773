"""Programs that use fsspec read objects by `harvester://` addresses."""

import pickle

import numpy as np
import pydicom
import pytest
from header_feeding import CORPUS, needs_corpus
from reading.objects import made_slide
from recorded_demo import recorded_demo

from harvester.errors import ConfigError, ListingError, NotFoundError, ThrottledError
from harvester.reader import filesystem

fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A bucket of two slides of a series, the folder and the paths of both, and the file system."""
    root = tmp_path_factory.mktemp("slides")
    slide = made_slide(6, 7)
    slide.write(root / "slides" / "one.dcm")
    with recorded_demo(root) as demo:
        files = fsspec.filesystem("harvester", endpoint=demo.address.endpoint)
        (folder,) = files.ls("s3/idc-open-data", detail=False)
        (path,) = files.ls(folder, detail=False)
        files.dircache.clear()
        demo.forget()
        yield demo, files, folder, path, root / "slides" / "one.dcm"
        files.dircache.clear()


def test_folders_and_files_are_distinguished(served):
    demo, files, folder, path, original = served
    (listed,) = files.ls(folder)
    assert listed == {
        "name": path,
        "size": original.stat().st_size,
        "type": "file",
        "ETag": files.info(path)["ETag"],
    }
    assert files.isdir(folder)
    assert files.isdir("s3/idc-open-data")
    assert files.isfile(path)
    assert not files.isfile(folder)
    assert not files.exists(path + "x")
    assert files.find("s3/idc-open-data") == files.glob("s3/idc-open-data/*/*.dcm") == [path]
    assert files.ls(path, detail=False) == [path]
    assert len(demo.listings) <= 5


@pytest.mark.parametrize(
    ("offset_table", "added"), [("none", 0), ("auto", 4 * 42), ("extended", 24 + 16 * 42)]
)
def test_a_file_is_as_large_as_it_reads(served, offset_table, added):
    demo, _, folder, path, original = served
    files = fsspec.filesystem("harvester", endpoint=demo.address.endpoint, offset_table=offset_table)
    info, (listed,) = files.info(path), files.ls(folder)
    with files.open(path) as file:
        assert len(file.read()) == info["size"] == file.size
    assert info["size"] == original.stat().st_size + added
    assert listed["size"] == (None if added else info["size"])
    assert files.du(path) == info["size"]
    assert files.cat_file(path, 128, 132) == b"DICM"
    with fsspec.open(f"harvester://{path}", **files.storage_options) as file:
        assert pydicom.dcmread(file, stop_before_pixels=True).NumberOfFrames == 42


def test_ranges_of_files_are_read_at_once_and_each_file_is_opened_once(served):
    demo, files, _, path, original = served
    raw = original.read_bytes()
    demo.forget()
    starts, ends = [0, 100_000, -50, None], [132, 100_100, None, 10]
    assert files.cat_ranges([path] * 4, starts, ends) == [
        raw[start:end] for start, end in zip(starts, ends, strict=True)
    ]
    assert len(demo.objects) <= 4
    missing = path + "x"
    found, error = files.cat_ranges([path, missing], 0, 8)
    assert found == raw[:8]
    assert isinstance(error, FileNotFoundError)
    with pytest.raises(FileNotFoundError):
        files.cat_ranges([path, missing], 0, 8, on_error="raise")


def test_kerchunk_references_read_the_bytes_of_the_object(served):
    demo, _, _, path, original = served
    references = {"version": 1, "refs": {"frame/0": [f"harvester://{path}", 2000, 500], "note": "text"}}
    files = fsspec.filesystem(
        "reference",
        fo=references,
        remote_protocol="harvester",
        remote_options={"endpoint": demo.address.endpoint},
    )
    assert files.cat("frame/0") == original.read_bytes()[2000:2500]


# fsspec's block cache leaves its file to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("cache", ["blockcache", "filecache", "simplecache"])
@pytest.mark.parametrize("offset_table", ["none", "auto"])
def test_caches_of_fsspec_hold_the_same_bytes(served, tmp_path, cache, offset_table):
    demo, _, _, path, _ = served
    how = {"endpoint": demo.address.endpoint, "offset_table": offset_table}
    whole = fsspec.filesystem("harvester", **how).cat_file(path)
    for _ in range(2):
        with fsspec.open(
            f"{cache}::harvester://{path}", harvester=how, **{cache: {"cache_storage": str(tmp_path)}}
        ) as file:
            file.seek(1000)
            assert file.read(5000) == whole[1000:6000]
            file.seek(-100, 2)
            assert file.read() == whole[-100:]


def test_exists_is_false_for_missing_objects_only(served, monkeypatch):
    _, files, _, path, _ = served
    assert files.exists(path)
    for ask in (files.exists, files.isfile, files.isdir):
        assert not ask(path + "x")
        assert not ask("s3/no-such-bucket/one.dcm")
        assert not ask("file/not/there")
    monkeypatch.setattr(filesystem, "open_object", refuse)
    for ask in (files.exists, files.isfile, files.isdir):
        with pytest.raises(ThrottledError):
            ask("s3/idc-open-data/elsewhere/one.dcm")


def refuse(url, *_, **__):
    raise ThrottledError("slow down", url=url, status=503)


def test_the_same_files_are_read_from_both_clouds_and_locally(served):
    _, files, folder, path, original = served
    there = files.cat_file(path)
    assert files.cat_file(path.replace("s3/", "gs/")) == there
    assert files.ls(folder.replace("s3/", "gs/"), detail=False) == [path.replace("s3/", "gs/")]
    assert files.cat_file(f"file{original}") == there
    assert files.ls(f"file{original.parent}", detail=False) == [f"file{original}"]
    assert files.isdir(f"file{original.parent}")


def test_a_missing_object_is_a_file_not_found_error(served):
    _, files, _, path, _ = served
    for error in (FileNotFoundError, NotFoundError):
        for ask in (files.open, files.info, files.ls):
            with pytest.raises(error, match="no such object"):
                ask(path + "x")
    with pytest.raises(FileNotFoundError, match="no such"):
        files.info("file/not/there")
    with pytest.raises(ConfigError, match="read-only"):
        files.open(path, "wb")


def test_a_bucket_of_too_many_objects_is_not_listed_whole(served, monkeypatch):
    _, files, _, _, _ = served
    files.dircache.clear()
    monkeypatch.setattr(filesystem, "MOST_LISTED", 0)
    with pytest.raises(ListingError, match="name a folder further down"):
        files.ls("s3/idc-open-data")


def test_the_file_system_and_its_files_can_be_pickled(served):
    _, files, _, path, _ = served
    assert pickle.loads(pickle.dumps(files)) == files
    with files.open(path) as file:
        assert pickle.loads(pickle.dumps(file)).read(200) == file.read(200)


def test_wsidicom_opens_a_slide_by_its_folder_and_reads_few_bytes_of_it(served):
    wsidicom = pytest.importorskip("wsidicom", reason="wsidicom is not installed")
    demo, files, folder, _, original = served
    files.dircache.clear()
    demo.forget()
    options = {"endpoint": demo.address.endpoint, "offset_table": "auto"}
    fsspec.filesystem("harvester", **options).dircache.clear()
    with (
        wsidicom.WsiDicom.open(f"harvester://{folder}", file_options=options) as slide,
        wsidicom.WsiDicom.open(original) as local,
    ):
        for place in ((0, 0), (700, 300)):
            region = slide.read_region(place, 0, (400, 300))
            expected = local.read_region(place, 0, (400, 300))
            np.testing.assert_array_equal(np.asarray(region), np.asarray(expected))
    assert len(demo.listings) == 1


@needs_corpus
@pytest.mark.filterwarnings("ignore")
def test_wsidicom_reads_all_levels_of_a_slide_without_a_table(tmp_path):
    wsidicom = pytest.importorskip("wsidicom", reason="wsidicom is not installed")
    folder = tmp_path / "slides"
    folder.mkdir()
    for path in (CORPUS / "dicom-wsi-sample" / "cmu-1-small-region").glob("level-*.dcm"):
        (folder / path.name).write_bytes(path.read_bytes())
    with recorded_demo(tmp_path) as demo:
        files = fsspec.filesystem("harvester", endpoint=demo.address.endpoint)
        (series,) = files.ls("s3/idc-open-data", detail=False)
        options = {"endpoint": demo.address.endpoint, "offset_table": "auto"}
        with (
            wsidicom.WsiDicom.open(f"harvester://{series}", file_options=options) as slide,
            wsidicom.WsiDicom.open(folder) as local,
        ):
            assert len(slide.levels) == len(local.levels) == 3
            for level in (0, 1, 2):
                region = slide.read_region((100, 100), level, (300, 300))
                expected = local.read_region((100, 100), level, (300, 300))
                np.testing.assert_array_equal(np.asarray(region), np.asarray(expected))


@needs_corpus
def test_tifffile_reads_the_pixels_of_a_file_that_is_both():
    tifffile = pytest.importorskip("tifffile", reason="tifffile is not installed")
    original = CORPUS / "generated" / "sm_dual_personality_tiff.dcm"
    files = fsspec.filesystem("harvester", offset_table="none")
    with files.open(f"file{original.resolve()}") as file, tifffile.TiffFile(file) as tiff:
        page = tiff.pages[0]
        place, length = page.dataoffsets[3], page.databytecounts[3]
        ((tile, _),) = tiff.filehandle.read_segments([place], [length])
    assert tile == original.read_bytes()[place : place + length]


def test_a_listing_is_made_again_when_wanted(tmp_path):
    files = fsspec.filesystem("harvester")
    folder = f"file{tmp_path}"
    for number, again in enumerate((dict, lambda: {"refresh": True}, files.invalidate_cache)):
        (tmp_path / f"{number}.dcm").touch()
        assert len(files.ls(folder, **(again() or {}))) == number + 1
