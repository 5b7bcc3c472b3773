"""The recipes of docs/recipes.md run unchanged, on synthetic objects with the UIDs of IDC's."""

import re
from pathlib import Path
from urllib.request import urlopen

import pytest
from checkout import ROOT
from harvester_program import run
from recorded_demo import recorded_demo
from test_documents import blocks, typed_commands

import harvester
from harvester.query import open_dataset, run_query
from harvester.reader import access
from harvester.reader.event_loop import LOOP
from harvester.reader.frame_lookup import FRAME_INDEXES
from harvester.reader.header_lengths import RECENT_LENGTHS
from harvester.store.open import open_store

objects = pytest.importorskip("reading.objects", reason="highdicom is not installed")

PAGE = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
RECIPES = {
    heading: blocks(text, "python")
    for heading, text in re.findall(r"^## (.*?)$(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
}
CT, SLIDE, SEGMENTATION = sorted(set(re.findall(r'"(1\.[0-9.]{40,})"', PAGE)), key=len, reverse=True)
ROWS, COLUMNS = 12, 13


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    """A bucket of a CT series, a slide of two levels, and a segmentation."""
    root = tmp_path_factory.mktemp("recipes")
    (root / "adrenal_acc_ki67_seg").mkdir()
    for index in range(5):
        dataset = objects.made_volume_slice(index, 64, CT)
        dataset.save_as(root / "adrenal_acc_ki67_seg" / f"{index}.dcm", enforce_file_format=True)
    for level, (rows, columns) in enumerate([(ROWS, COLUMNS), (3, 4)]):
        slide = objects.made_slide(rows, columns, spacing=0.0005 * 4**level, series_instance_uid=SLIDE)
        slide.write(root / "ccdi_mci" / f"level-{level}.dcm")
    (root / "nlst").mkdir()
    segmentation = objects.made_segmentation(10, 12, pixels=64, series_instance_uid=SEGMENTATION)
    segmentation.save_as(root / "nlst" / "segmentation.dcm")
    with recorded_demo(root) as demo:
        yield demo


@pytest.fixture
def recipe(bucket, monkeypatch):
    """Runs the code of a section, with the bucket in the place of the clouds; gives the names it leaves."""
    addresses = harvester.series_urls
    store = LOOP.store
    monkeypatch.setattr(
        LOOP,
        "store",
        lambda endpoint, credentials="none": store(endpoint or bucket.address.endpoint, credentials),
    )
    monkeypatch.setattr(
        access,
        "open_store",
        lambda settings, endpoint: open_store(settings, endpoint=endpoint or bucket.address.endpoint),
    )
    monkeypatch.setattr(
        harvester,
        "series_urls",
        lambda *series: addresses(*series, catalog=bucket.address.catalog_url),
        raising=False,
    )
    for memory in (FRAME_INDEXES, RECENT_LENGTHS):
        memory.clear()

    def run_section(heading):
        (code,) = RECIPES[heading]
        names = {}
        bucket.forget()
        exec(compile(code, f"recipes.md: {heading}", "exec"), names)
        return names

    return run_section


def test_every_piece_of_python_on_the_page_has_its_test():
    source = Path(__file__).read_text(encoding="utf-8")
    tested = re.findall(r'recipe\("([^"]+)"\)', source)
    assert set(tested) == {heading for heading, code in RECIPES.items() if code}


def test_addresses(recipe, bucket, capsys):
    names = recipe("The addresses of a series, on both clouds")
    assert len(bucket.listings) == 2
    assert bucket.objects == []
    assert [url.partition("://")[0] for url in (names["aws_urls"][0], names["gcs_urls"][0])] == ["s3", "gs"]
    assert len(names["aws_urls"]) == len(names["gcs_urls"]) == 5
    assert capsys.readouterr().out == f"5 {names['aws_urls'][0]}\n"


def test_a_whole_object(recipe, bucket):
    names = recipe("A whole object")
    assert names["pixels"].shape == (64, 64)
    assert len(bucket.objects) == 1


def test_only_the_metadata(recipe, bucket, capsys):
    names = recipe("Only the metadata")
    assert sorted(names["positions"]) == [0, 3, 6, 9, 12]
    assert "PixelData" not in names["header"]
    assert len(bucket.objects) == 6
    assert capsys.readouterr().out == "TCGA-OR-A5J1 64 64\n"


def test_two_attributes(recipe, bucket):
    assert recipe("Only two attributes")["makers"] == {("TOSHIBA", "Aquilion")}
    assert len(bucket.objects) == 5


def test_a_region(recipe, bucket):
    names = recipe("A region of a slide's base layer")
    assert names["region"].shape == (512, 512, 3)
    assert names["region"].std() > 10
    assert names["widths"].count(COLUMNS * 256) == 1
    recipe("A region of a slide's base layer")
    assert len(bucket.objects) <= 2 + 4


def test_the_liver(recipe):
    names = recipe("The liver in a segmentation of many organs")
    assert names["liver"] == [1]
    liver = names["volume"].array
    assert liver.shape == (12, 64, 64)
    assert set(liver.flat) == {0, 1}
    assert liver[:, :, :2].all()
    assert not liver[:, :, 2:].any()


def test_single_frames(recipe):
    names = recipe("Single frames, by their numbers")
    assert [tile.shape for tile in names["tiles"]] == [(256, 256, 3)] * 4
    assert {jpeg[:3] for jpeg in names["jpegs"]} == {b"\xff\xd8\xff"}


def test_a_notebook(recipe, capsys):
    names = recipe("In a notebook or another event loop")
    assert names["tile"].shape == (256, 256, 3)
    assert [header.TotalPixelMatrixColumns for header in names["headers"]] != []
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_a_cache(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = recipe("A cache on the disk")
    for first, second in zip(names["tiles"], names["again"], strict=True):
        assert (first == second).all()
    assert list((tmp_path / "slide-cache").rglob("index"))


@pytest.mark.filterwarnings("ignore:Could not find")  # wsidicom's, of metadata that these levels lack
def test_wsidicom(recipe, bucket):
    pytest.importorskip("wsidicom", reason="wsidicom is not installed")
    names = recipe("A slide by wsidicom")
    assert names["region"].size == (512, 512)
    assert max(names["thumbnail"].size) == 200
    assert len(bucket.listings) == 2  # for the addresses, and by wsidicom


def test_other_processes(recipe):
    names = recipe("In other processes")
    assert names["again"].read() == names["file"].read()


def test_offset_tables_of_a_cohort(bucket, tmp_path):
    configuration, _ = blocks(PAGE, "toml")
    here = f'catalog = "{bucket.address.catalog_url}"\nendpoint = "{bucket.address.endpoint}"'
    assert 'catalog = "idc"' in configuration
    (tmp_path / "cohort.toml").write_text(configuration.replace('catalog = "idc"', here))
    crawl, sql, *_ = typed_commands(PAGE)
    assert run(*crawl[1:], cwd=tmp_path).status == 0
    connection = open_dataset(tmp_path / sql[sql.index("-d") + 1])
    try:
        (row,) = [row for batch in run_query(connection, sql[-1]).batches() for row in batch.to_pylist()]
    finally:
        connection.close()
    assert row["slides"] == 2
    assert [row["extended_offset_table"], row["basic_offset_table"], row["tiff"]] == [False, False, False]
    assert row["frames_known_from"] is None
    assert run(*sql[1:], cwd=tmp_path).status == 0


def test_files_on_a_web_server(bucket, tmp_path):
    _, configuration = blocks(PAGE, "toml")
    *_, crawl, sql = typed_commands(PAGE)
    address = bucket.address
    with urlopen(f"{address.endpoint}/{address.bucket}/?list-type=2") as listing:
        keys = re.findall("<Key>(.*?)</Key>", listing.read().decode())
    (tmp_path / "own.toml").write_text(configuration)
    (tmp_path / "urls.txt").write_text(
        "".join(f"{address.endpoint}/{address.bucket}/{key}\n" for key in keys)
    )
    assert run(*crawl[1:], cwd=tmp_path).status == 0
    found = run(*sql[1:], "--format", "csv", cwd=tmp_path)
    assert (
        sum(int(line.split(",")[1]) for line in found.stdout.splitlines()[1:])
        == len(keys)
        == address.instances
    )
