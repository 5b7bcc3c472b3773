"""Crawls of real files over HTTP: each is a row or a failure, exactly once, and says what pydicom says."""

import csv
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import anyio
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from checkout import CORPUS
from header_feeding import read
from pydicom.data import get_testdata_file
from pydicom_oracle import differences, expected_row, losses
from recorded_demo import RecordedDemo, recorded_demo

from harvester.config import load
from harvester.dataset import INSTANCE_COLUMNS, Dataset
from harvester.demo import lay_out
from harvester.dicom import HeaderColumns
from harvester.engine.crawl import CrawlOptions, CrawlResult, crawl
from harvester.engine.shard import CrawlProgress
from harvester.errors import DatasetError
from harvester.model import ObjectRef

FIRST_WINDOW, READ_AHEAD, LONGEST_READ_AHEAD, LONGEST_GUESS = 16 << 10, 64 << 10, 1 << 20, 264 << 10
# What pydicom reads without a word although the file ends inside its header.
CUT = {"cut_in_header.dcm", "cut_in_deflate_stream.dcm", "rtplan_truncated.dcm"}
# No element at all behind the prefix: pydicom gives an empty data set.
EMPTY = {"only_132_bytes.dcm"}


def run(config: Path, **options: Any) -> CrawlResult:
    return anyio.run(crawl, load(config), CrawlProgress(), CrawlOptions(**options))


def table(dataset: Path, name: str) -> list[dict[str, Any]]:
    """All committed rows, each read from its part alone."""
    parts = Dataset.open(dataset).parts(name)  # type: ignore[arg-type]
    return [row for part in parts for row in pq.ParquetFile(dataset / part.path).read().to_pylist()]


@dataclass
class Crawled:
    """A finished crawl of a whole demo bucket."""

    demo: RecordedDemo
    toml: Path
    result: CrawlResult
    files: dict[str, Path]
    instances: list[dict[str, Any]]
    failures: list[dict[str, Any]]
    asked: list[str]
    listings: list[str]

    @property
    def dataset(self) -> Path:
        return self.toml.parent / "dataset"


def crawled_whole(root: Path | None, folder: Path, stack: ExitStack) -> Crawled:
    demo = stack.enter_context(recorded_demo(root))
    files = {f"s3://{demo.address.bucket}/{one.key}": Path(one.path) for one in lay_out(root).instances}
    toml = demo.toml(folder)
    result = run(toml)
    instances, failures = (table(folder / "dataset", name) for name in ("instances", "failures"))
    return Crawled(demo, toml, result, files, instances, failures, [*demo.objects], [*demo.listings])


@pytest.fixture(scope="module", params=["pydicom's package", "corpus"])
def crawled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crawled]:
    root = None if request.param == "pydicom's package" else CORPUS
    if root is not None and not (root / "inventory.csv").exists():
        pytest.skip("the corpus of real files is not here")
    with ExitStack() as stack:
        yield crawled_whole(root, tmp_path_factory.mktemp("crawl"), stack)


@pytest.fixture(scope="module")
def demo() -> Iterator[RecordedDemo]:
    with recorded_demo() as demo:
        yield demo


def test_every_file_is_in_instances_or_in_failures_exactly_once(crawled: Crawled) -> None:
    rows = [row["instance_url"] for row in (*crawled.instances, *crawled.failures)]
    assert sorted(rows) == sorted(crawled.files)


def test_the_result_says_what_was_done(crawled: Crawled) -> None:
    result = crawled.result
    assert (result.instances, result.failures) == (len(crawled.instances), len(crawled.failures))
    assert result.series == crawled.demo.address.series
    assert result.skipped == 0
    assert result.requests == len(crawled.asked) + len(crawled.listings)
    assert result.bytes_fetched >= sum(row["bytes_fetched"] for row in crawled.instances)
    assert sum(row["requests"] for row in crawled.instances) <= len(crawled.asked)
    assert result.dataset == str(crawled.dataset)


def test_every_failure_has_a_reason_that_a_person_understands(crawled: Crawled) -> None:
    for row in crawled.failures:
        assert row["reason"] in ("not_dicom", "truncated", "malformed")
        assert len(row["message"]) > 20
        assert "\n" not in row["message"]
        assert row["instance_size"] == crawled.files[row["instance_url"]].stat().st_size
        assert row["collection_id"] is not None


def test_all_dicom_files_of_the_corpus_are_in_instances_but_those_cut_in_their_header(
    crawled: Crawled,
) -> None:
    if crawled.demo.address.instances < 300:
        pytest.skip("this is not the corpus")
    with (CORPUS / "inventory.csv").open(newline="") as file:
        parses = {
            (CORPUS / line["path"]).resolve() for line in csv.DictReader(file) if line["parses"] == "True"
        }
    found = {crawled.files[row["instance_url"]] for row in crawled.instances}
    assert {path.name for path in parses - found} - CUT - EMPTY == set()
    reasons = {crawled.files[row["instance_url"]].name: row["reason"] for row in crawled.failures}
    assert {reasons[name] for name in CUT & reasons.keys()} == {"truncated"}


def test_duckdb_alone_reads_the_dataset(crawled: Crawled) -> None:
    query = f"""
        SELECT collection_id, Modality, count(*), count(DISTINCT instance_url), count(SOPInstanceUID)
        FROM read_parquet('{crawled.dataset}/instances/**/*.parquet',
                          hive_partitioning=true, union_by_name=true)
        GROUP BY ALL
    """
    with duckdb.connect() as connection:
        groups = connection.execute(query).fetchall()
        failures = connection.execute(
            f"SELECT count(*) FROM '{crawled.dataset}/failures/*.parquet'"
        ).fetchone()
    expected = Counter((row["collection_id"], row["Modality"]) for row in crawled.instances)
    assert {(one[0], one[1]): one[2] for one in groups} == expected
    assert sum(one[3] for one in groups) == len(crawled.instances)
    assert failures == (len(crawled.failures),)


def test_rows_read_back_equal_what_pydicom_reads_and_lose_nothing(crawled: Crawled) -> None:
    """Of the corpus, `dicom/test_truth.py` holds that headers equal what pydicom reads."""
    if crawled.demo.address.instances >= 300:
        for row in crawled.instances:
            assert without_crawl(row) == without_crawl(row_of_whole(crawled.files[row["instance_url"]]))
        return
    found = []
    for row in crawled.instances:
        path = crawled.files[row["instance_url"]]
        expected = expected_row(path)
        assert row["instance_size"] == expected.size
        found += [f"{path.name}: {what}" for what in differences(expected, row) + losses(expected, row)]
    assert not found, f"{len(found)} differences:\n" + "\n".join(found[:100])


def row_of_whole(path: Path) -> dict[str, Any]:
    """The row of a file whose header is read in one piece."""
    columns = HeaderColumns()
    content = path.read_bytes()
    columns.append(read(content, max(1, len(content))))
    (row,) = pa.table(columns.finish()).to_pylist()
    return row


def without_crawl(row: dict[str, Any]) -> str:
    """A row's attributes as a text, NaN and all, without what the crawl and the catalog say."""
    headers = {"SOPInstanceUID", "SOPClassUID", "SeriesInstanceUID", "StudyInstanceUID", "PatientID"}
    headers |= {"TransferSyntaxUID", "OtherElements", "bulk_data", "invalid_elements", "empty_elements"}
    crawl_columns = {*INSTANCE_COLUMNS.names} - headers
    return str(without_nulls({key: value for key, value in row.items() if key not in crawl_columns}))


def without_nulls(value: Any) -> Any:
    """The same without fields that are NULL: a part has those of all its rows."""
    if isinstance(value, list):
        return [without_nulls(one) for one in value]
    if isinstance(value, dict):
        return sorted((key, without_nulls(one)) for key, one in value.items() if one is not None)
    return value


def test_what_is_fetched_is_the_header_and_a_bounded_read_ahead(crawled: Crawled) -> None:
    """Windows do not overlap, so that all of them but the last lie inside the header.

    The last one is the first (what siblings needed, or a guess of at most 256 KiB by modality), or no longer
    than what was fetched before it and 64 KiB, and no longer than 1 MiB. The header ends with the pixel
    data element's own header and the length of its first item.
    """
    beyond_first = 0
    for row in crawled.instances:
        assert row["bytes_fetched"] <= row["instance_size"]
        if row["pixel_data_offset"] is None:
            continue
        header = row["header_bytes"] + 20
        bound = header + max(LONGEST_GUESS, min(LONGEST_READ_AHEAD, header + READ_AHEAD))
        assert row["bytes_fetched"] <= bound
        if row["header_bytes"] + 20 <= FIRST_WINDOW:
            assert row["requests"] <= 3
        beyond_first += row["instance_size"] > FIRST_WINDOW
    assert beyond_first >= 5


def test_no_object_is_asked_for_more_often_than_its_row_says(crawled: Crawled) -> None:
    asked = Counter(crawled.asked)
    for row in crawled.instances:
        assert asked[row["instance_url"].split("/", 3)[3]] == row["requests"]


def test_a_second_run_harvests_nothing(crawled: Crawled) -> None:
    crawled.demo.forget()
    result = run(crawled.toml)
    assert (crawled.demo.objects, crawled.demo.listings) == ([], [])
    assert (result.instances, result.requests, result.bytes_fetched) == (0, 0, 0)
    assert result.skipped == len(crawled.files)
    assert result.failures == len(crawled.failures)
    assert result.summary().startswith(f"nothing to harvest in {result.series} series (")
    assert table(crawled.dataset, "instances") == crawled.instances


def in_order() -> list[str]:
    """The series of pydicom's package, as catalogs order them."""
    ordered = sorted(
        lay_out().series, key=lambda one: (one.collection_id, one.attributes.get("Modality", ""))
    )
    return [one.crdc_series_uuid for one in ordered]


def counts(dataset: Path) -> Counter[str]:
    return Counter(row["instance_url"] for name in ("instances", "failures") for row in table(dataset, name))


def test_a_limit_harvests_the_first_series_and_the_rest_comes_later(
    demo: RecordedDemo, tmp_path: Path
) -> None:
    first = run(demo.toml(tmp_path), limit_series=5)
    assert first.series == 5
    assert {row["crdc_series_uuid"] for row in table(tmp_path / "dataset", "instances")} <= set(
        in_order()[:5]
    )
    rest = run(demo.toml(tmp_path))
    assert rest.skipped == first.instances + first.failures
    assert set(counts(tmp_path / "dataset").values()) == {1}
    assert len(counts(tmp_path / "dataset")) == demo.address.instances
    again = run(demo.toml(tmp_path), limit_series=5)
    assert (again.instances, again.skipped) == (0, first.instances + first.failures)
    assert again.failures == first.failures


def test_overlapping_selections_never_give_an_instance_twice(demo: RecordedDemo, tmp_path: Path) -> None:
    one = run(demo.toml(tmp_path, select='Modality = "CT"'))
    two = run(demo.toml(tmp_path, select='Modality = ["CT", "MR"]'))
    everything = run(demo.toml(tmp_path))
    same = run(demo.toml(tmp_path, select='Modality = "CT"'))
    assert one.instances > 0
    assert two.instances > 0
    assert (two.skipped, everything.skipped) == (one.instances, one.instances + two.instances)
    assert (same.instances, same.skipped) == (0, one.instances)
    assert set(counts(tmp_path / "dataset").values()) == {1}
    assert len(counts(tmp_path / "dataset")) == demo.address.instances


def test_a_folder_that_grew_gives_what_is_new_and_nothing_twice(tmp_path: Path) -> None:
    source, folder = Path(get_testdata_file("CT_small.dcm")), tmp_path / "dicom"
    folder.mkdir()
    toml = tmp_path / "local.toml"
    toml.write_text(f'dataset = "{tmp_path / "dataset"}"\n[select]\nroot = "{folder}"\n')
    for name in ("a.dcm", "b.dcm"):
        shutil.copy(source, folder / name)
    (folder / "c.dcm").write_text("no DICOM")
    assert (run(toml).instances, len(table(tmp_path / "dataset", "failures"))) == (2, 1)
    shutil.copy(source, folder / "d.dcm")
    result = run(toml)
    assert (result.instances, result.skipped, result.failures) == (1, 3, 1)
    assert {Path(url).name for url in counts(tmp_path / "dataset")} == {"a.dcm", "b.dcm", "c.dcm", "d.dcm"}
    assert set(counts(tmp_path / "dataset").values()) == {1}
    assert run(toml).instances == 0


def test_links_to_nothing_and_names_of_another_encoding_cost_no_other_file(tmp_path: Path) -> None:
    source, folder = Path(get_testdata_file("CT_small.dcm")), tmp_path / "dicom"
    folder.mkdir()
    for name in ("a.dcm", os.fsdecode(b"gr\xfc\xdfe 100%2F.dcm")):
        shutil.copy(source, folder / name)
    (folder / "linked.dcm").symlink_to(source)
    (folder / "gone.dcm").symlink_to(folder / "nowhere")
    (folder / "round.dcm").symlink_to(folder / "round.dcm")
    os.mkfifo(folder / "pipe.dcm")
    toml = tmp_path / "local.toml"
    toml.write_text(f'dataset = "{tmp_path / "dataset"}"\n[select]\nroot = "{folder}"\n')
    result = run(toml)
    assert (result.instances, result.failures) == (3, 2)
    failed = table(tmp_path / "dataset", "failures")
    assert {row["reason"] for row in failed} == {"not_found"}
    names = {
        os.fsencode(ObjectRef.parse(url).key).rpartition(b"/")[2] for url in counts(tmp_path / "dataset")
    }
    assert names == {b"a.dcm", b"gr\xfc\xdfe 100%2F.dcm", b"linked.dcm", b"gone.dcm", b"round.dcm"}
    assert run(toml).instances == 0


def test_a_commit_that_was_deleted_stops_the_crawl_until_it_is_restored(
    demo: RecordedDemo, tmp_path: Path
) -> None:
    run(demo.toml(tmp_path, select='Modality = "CT"'), limit_series=1)
    run(demo.toml(tmp_path, select='Modality = "CT"'))
    before = counts(tmp_path / "dataset")
    for record in sorted((tmp_path / "dataset/_harvest/commits").iterdir()):
        content = record.read_bytes()
        record.unlink()
        with pytest.raises(DatasetError, match=f"{record.name} is missing.*harvester repair"):
            run(demo.toml(tmp_path, select='Modality = "CT"'))
        record.write_bytes(content)
        run(demo.toml(tmp_path, select='Modality = "CT"'))
        assert counts(tmp_path / "dataset") == before


def test_a_whole_bucket_is_listed_in_fewer_requests_and_gives_the_same_rows(
    demo: RecordedDemo, tmp_path: Path
) -> None:
    whole, by_series = tmp_path / "whole", tmp_path / "by series"
    for folder in (whole, by_series):
        folder.mkdir()
    demo.forget()
    run(demo.toml(whole))
    assert len(demo.listings) == 1
    demo.forget()
    with patch("harvester.engine.crawl.choose_buckets", lambda *_: []):
        run(demo.toml(by_series))
    assert len(demo.listings) == demo.address.series
    assert counts(whole / "dataset") == counts(by_series / "dataset")


def test_one_series_is_not_looked_for_in_the_whole_bucket(demo: RecordedDemo, tmp_path: Path) -> None:
    demo.forget()
    run(demo.toml(tmp_path), limit_series=1)
    assert len(demo.listings) == 1
    assert in_order()[0] in demo.listings[0]


def test_a_series_whose_first_bucket_is_missing_is_read_from_the_other_cloud(tmp_path: Path) -> None:
    with (
        patch("harvester.demo.catalog.BUCKET", "idc-open-data-two"),
        patch("harvester.demo.server.BUCKET", "idc-open-idc1"),
        recorded_demo() as demo,
    ):
        result = run(demo.toml(tmp_path, select='Modality = "CT"', source="failover = true"))
        rows = table(tmp_path / "dataset", "instances")
        assert result.failures == 0
        assert len(rows) == result.instances > 0
        assert all(row["instance_url"].startswith("gs://idc-open-idc1/") for row in rows)
        alone = tmp_path / "alone"
        alone.mkdir()
        result = run(demo.toml(alone, select='Modality = "CT"'))
    assert (result.instances, result.failures) == (0, result.series)
    for row in table(alone / "dataset", "failures"):
        assert (row["reason"], row["status"]) == ("listing", 404)
        assert row["instance_url"].startswith("s3://idc-open-data-two/")


def test_a_bug_in_one_object_is_a_failure_and_the_crawl_goes_on(
    demo: RecordedDemo, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    append, calls = HeaderColumns.append, []

    def append_but_once(columns: HeaderColumns, header: Any) -> None:
        calls.append(header)
        if len(calls) == 7:
            raise ZeroDivisionError("made up")
        append(columns, header)

    with patch.object(HeaderColumns, "append", append_but_once):
        result = run(demo.toml(tmp_path))
    bugs = [row for row in table(tmp_path / "dataset", "failures") if row["reason"] == "bug"]
    assert [row["message"] for row in bugs] == ["a bug in harvester: ZeroDivisionError: made up"]
    assert result.instances + result.failures == demo.address.instances
    assert set(counts(tmp_path / "dataset").values()) == {1}
    assert bugs[0]["instance_url"] in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_a_part_that_cannot_be_written_ends_the_crawl_with_that_error(
    demo: RecordedDemo, tmp_path: Path
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with (
        patch("harvester.dataset.shard_writer.write_part", full),
        pytest.raises(DatasetError, match="No space left on device"),
    ):
        run(demo.toml(tmp_path))
    result = run(demo.toml(tmp_path))
    assert result.instances + result.failures == demo.address.instances
    assert set(counts(tmp_path / "dataset").values()) == {1}
