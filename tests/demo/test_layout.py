import os
import shutil
import tracemalloc
import zlib
from pathlib import Path

import pydicom
import pytest
from checkout import CORPUS
from pydicom.data import get_testdata_file

from harvester.demo import DemoLayout, lay_out
from harvester.demo.attributes import FIRST_WINDOW, read_attributes
from harvester.errors import ConfigError


def _file(name: str) -> Path:
    found = get_testdata_file(name)
    assert isinstance(found, str)
    return Path(found)


def _names(layout: DemoLayout) -> dict[str, str]:
    return {Path(instance.path).name: instance.key for instance in layout.instances}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "My Study"
    (root / "Lung CT" / "deep").mkdir(parents=True)
    shutil.copy(_file("CT_small.dcm"), root / "Lung CT" / "deep" / "one")
    shutil.copy(_file("CT_small.dcm"), root / "Lung CT" / "two.dcm")
    shutil.copy(_file("MR_small.dcm"), root / "mr.dcm")
    (root / "Lung CT" / "notes.txt").write_text("not DICOM")
    (root / "Lung CT" / "empty").touch()
    return root


def test_every_regular_file_gets_a_key_of_its_own(folder: Path) -> None:
    layout = lay_out(folder)
    assert set(_names(layout)) == {"one", "two.dcm", "mr.dcm", "notes.txt", "empty"}
    assert len({instance.key for instance in layout.instances}) == 5


def test_files_of_one_series_share_its_prefix(folder: Path) -> None:
    names = _names(lay_out(folder))
    assert names["one"].split("/")[0] == names["two.dcm"].split("/")[0]
    assert names["one"].split("/")[0] != names["mr.dcm"].split("/")[0]


def test_files_that_are_not_dicom_make_up_a_series_without_a_modality(folder: Path) -> None:
    layout = lay_out(folder)
    [series] = [series for series in layout.series if not series.attributes]
    assert {Path(instance.path).name for instance in series.instances} == {"notes.txt", "empty"}
    assert series.size == len("not DICOM")


def test_collections_are_the_first_folders_made_safe(folder: Path) -> None:
    assert {series.collection_id for series in lay_out(folder).series} == {"lung_ct", "my_study"}


def test_keys_are_the_same_in_another_place_and_with_other_content(folder: Path, tmp_path: Path) -> None:
    before = _names(lay_out(folder))
    moved = tmp_path / "elsewhere" / "My Study"
    shutil.copytree(folder, moved)
    dataset = pydicom.dcmread(moved / "mr.dcm")
    dataset.PatientName = "Changed"
    dataset.save_as(moved / "mr.dcm")
    assert _names(lay_out(moved)) == before


def test_a_series_has_but_one_modality(tmp_path: Path) -> None:
    for modality in ("CT", "PT"):
        dataset = pydicom.dcmread(_file("CT_small.dcm"))
        dataset.Modality = modality
        dataset.save_as(tmp_path / modality)
    assert {series.attributes["Modality"] for series in lay_out(tmp_path).series} == {"CT", "PT"}


def test_links_and_pipes_below_the_root_are_left_out(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (folder / "link").symlink_to(outside / "secret")
    (folder / "linked folder").symlink_to(outside)
    (folder / "loop").symlink_to(folder)
    os.mkfifo(folder / "pipe")
    assert set(_names(lay_out(folder))) == {"one", "two.dcm", "mr.dcm", "notes.txt", "empty"}


def test_a_file_name_that_is_not_utf8_gets_a_key(tmp_path: Path) -> None:
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.dcm"))).write_bytes(b"x")
    [instance] = lay_out(tmp_path).instances
    assert instance.key.isascii()


@pytest.mark.parametrize("what", ["missing", "empty", "file"])
def test_a_root_with_nothing_to_serve_is_refused_by_name(tmp_path: Path, what: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=what):
        lay_out(tmp_path / what)


def test_pydicoms_own_files_are_served_where_no_root_is_named() -> None:
    layout = lay_out()
    assert {series.collection_id for series in layout.series} == {
        "pydicom_test_files",
        "pydicom_charset_files",
    }
    names = set(_names(layout))
    assert {"CT_small.dcm", "MR_truncated.dcm", "DICOMDIR", "badVR.dcm", "chrFren.dcm"} <= names
    assert "README.txt" not in names


def test_a_header_longer_than_the_first_window_is_read_on(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(_file("CT_small.dcm"))
    dataset.add_new(0x00091010, "UT", "x" * (2 * FIRST_WINDOW))
    dataset.save_as(tmp_path / "long")
    uid = str(dataset.SeriesInstanceUID)
    assert read_attributes(str(tmp_path / "long"))["SeriesInstanceUID"] == uid


@pytest.mark.parametrize("cut_of", range(1, 8))
def test_a_uid_that_the_first_window_cuts_is_read_whole(tmp_path: Path, cut_of: int) -> None:
    dataset = pydicom.dcmread(_file("CT_small.dcm"))
    uid = str(dataset.SeriesInstanceUID)
    dataset.save_as(tmp_path / "short")
    at = (tmp_path / "short").read_bytes().index(b"\x20\x00\x0e\x00UI") + 8
    padding = FIRST_WINDOW - at - 12 - 4 * cut_of
    dataset.add_new(0x0008FFFE, "UT", "x" * (padding + padding % 2))
    dataset.save_as(tmp_path / "long")
    start = (tmp_path / "long").read_bytes().index(b"\x20\x00\x0e\x00UI") + 8
    assert start < FIRST_WINDOW < start + len(uid)
    assert read_attributes(str(tmp_path / "long"))["SeriesInstanceUID"] == uid


def test_text_is_decoded_by_the_files_character_set(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(_file("CT_small.dcm"))
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SeriesDescription = "Schädel 頭"
    dataset.save_as(tmp_path / "file")
    content = (tmp_path / "file").read_bytes()
    study_date = b"\x08\x00\x20\x00DA\x08\x00"
    assert study_date + b"20040119" in content
    (tmp_path / "file").write_bytes(content.replace(study_date + b"20040119", study_date + b"20040231"))
    attributes = read_attributes(str(tmp_path / "file"))
    assert attributes["SeriesDescription"] == "Schädel 頭"
    assert "StudyDate" not in attributes


@pytest.mark.parametrize(
    ("name", "modality", "pixel_representation"),
    [
        ("ExplVR_BigEnd.dcm", "US", "0"),
        ("MR_small_bigendian.dcm", "MR", "1"),
        ("MR_small_implicit.dcm", "MR", "1"),
        ("image_dfl.dcm", "OT", "0"),
    ],
)
def test_every_encoding_is_read(name: str, modality: str, pixel_representation: str) -> None:
    attributes = read_attributes(str(_file(name)))
    assert (attributes["Modality"], attributes["PixelRepresentation"]) == (modality, pixel_representation)
    assert attributes["TransferSyntaxUID"] == pydicom.dcmread(_file(name)).file_meta.TransferSyntaxUID


def test_a_header_without_file_meta_information_is_read() -> None:
    attributes = read_attributes(str(_file("ExplVR_LitEndNoMeta.dcm")))
    assert attributes["SeriesInstanceUID"]
    assert "TransferSyntaxUID" not in attributes


def test_a_deflate_bomb_is_inflated_no_further_than_the_bound(tmp_path: Path) -> None:
    head = _file("image_dfl.dcm").read_bytes()
    start = 144 + int.from_bytes(head[140:144], "little")
    compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    element = b"\x08\x00\x04\x00UT\0\0\x00\x00\x00\x20"  # one value of 512 MiB
    bomb = compressor.compress(element) + b"".join(compressor.compress(bytes(1 << 20)) for _ in range(512))
    (tmp_path / "bomb").write_bytes(head[:start] + bomb + compressor.flush())
    tracemalloc.start()
    attributes = read_attributes(str(tmp_path / "bomb"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "SeriesInstanceUID" not in attributes
    assert peak < 128 * 1024 * 1024


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of real files is not beside this checkout")
def test_every_file_of_the_corpus_is_laid_out_once_and_its_series_is_pydicoms() -> None:
    layout = lay_out(CORPUS)
    below = {str(path) for path in CORPUS.resolve().rglob("*") if path.is_file()}
    assert sorted(instance.path for instance in layout.instances) == sorted(below)
    for series in layout.series:
        uid = series.attributes.get("SeriesInstanceUID")
        for instance in series.instances if uid else ():
            content = Path(instance.path).read_bytes()
            assert uid.encode() in content or b"1.2.840.10008.1.2.1.99" in content


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"\0" * 132,
        b"\0" * 128 + b"DICM",
        b"\0" * 128 + b"DICM\x02\x00\x00\x00UL\x03\x00\x01\x02\x03",
        b"\0" * 128
        + b"DICM\x02\x00\x10\x00UI\x14\x001.2.840.10008.1.2.1\0"
        + b"\x08\x00\x15\x11SQ\0\0\xff\xff\xff\xff"
        b"\xfe\xff\x00\xe0\xff\xff\xff\xff" * 5000,
        b"\0" * 128 + b"DICM\x02\x00\x10\x00UI\x16\x001.2.840.10008.1.2.1.99no deflate stream",
        b"<html>not found</html>",
    ],
    ids=["empty", "zeros", "prefix only", "short value", "deep", "deflated", "text"],
)
def test_broken_bytes_say_nothing_of_a_series_and_stop_nothing(tmp_path: Path, broken: bytes) -> None:
    (tmp_path / "broken").write_bytes(broken)
    [series] = lay_out(tmp_path).series
    assert "SeriesInstanceUID" not in series.attributes
    assert [instance.size for instance in series.instances] == [len(broken)]
