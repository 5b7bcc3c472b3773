"""Two releases of a made catalog: only what is new is fetched, what left is marked, and a diff tells."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from changing_bucket import ChangingBucket, MadeSeries, changing_bucket, put, release, toml, uuid
from harvester_program import run as program

from harvester.cli.diff import command as diff
from harvester.config import load
from harvester.dataset import CompactionOptions, Dataset
from harvester.engine.crawl import CrawlResult, crawl
from harvester.engine.shard import CrawlProgress
from harvester.errors import ConfigError, QueryError
from harvester.query import changes, open_dataset, run_query

KEPT = MadeSeries("2.1", uuid(1), {"3.1": uuid(101), "3.2": uuid(102)})
REVISED = MadeSeries("2.2", uuid(2), {"3.3": uuid(103), "3.4": uuid(104)})
REVISED_AGAIN = MadeSeries("2.2", uuid(12), {"3.3": uuid(103), "3.4": uuid(204), "3.9": uuid(209)})
REMOVED = MadeSeries("2.3", uuid(3), {"3.5": uuid(105)}, "two")
MOVED = MadeSeries("2.4", uuid(4), {"3.6": uuid(106)}, "two")
MOVED_ON = MadeSeries("2.4", uuid(4), {"3.6": uuid(106)}, "three")
NEW = MadeSeries("2.5", uuid(5), {"3.7": uuid(107)}, "three")


@pytest.fixture
def bucket() -> Iterator[ChangingBucket]:
    with changing_bucket() as bucket:
        put(bucket, KEPT, REVISED, REMOVED, MOVED, REVISED_AGAIN, NEW)
        yield bucket


def crawled(bucket: ChangingBucket, folder: Path, catalog: Path, select: str = "") -> CrawlResult:
    bucket.forget()
    config = load(toml(bucket, folder, source=f'catalog = "{catalog}"', select=select))
    return anyio.run(crawl, config, CrawlProgress())


def asked(place: Path | str, sql: str) -> list[tuple[Any, ...]]:
    with open_dataset(str(place)) as connection:
        rows = [row for batch in run_query(connection, sql).batches() for row in batch.to_pylist()]
    return [tuple(row.values()) for row in rows]


@pytest.fixture
def first(bucket: ChangingBucket, tmp_path: Path) -> Path:
    """The dataset of release 24."""
    catalog = release(tmp_path / "24.parquet", 24, KEPT, REVISED, REMOVED, MOVED)
    assert crawled(bucket, tmp_path, catalog).instances == 6
    return tmp_path / "dataset"


@pytest.fixture
def second(bucket: ChangingBucket, first: Path, tmp_path: Path) -> Path:
    """The same after release 25."""
    catalog = release(tmp_path / "25.parquet", 25, KEPT, REVISED_AGAIN, MOVED_ON, NEW)
    result = crawled(bucket, tmp_path, catalog)
    assert (result.instances, result.skipped) == (4, 3)
    return first


def test_a_crawl_of_the_same_release_asks_for_nothing(
    bucket: ChangingBucket, first: Path, tmp_path: Path
) -> None:
    result = crawled(bucket, tmp_path, tmp_path / "24.parquet")
    assert (result.requests, bucket.asked, bucket.listed) == (0, [], [])
    assert (result.skipped, result.instances) == (6, 0)
    assert asked(first, "SELECT count(*), count(superseded_in) FROM instances") == [(6, 0)]


def test_a_later_release_fetches_what_is_new_and_nothing_else(bucket: ChangingBucket, second: Path) -> None:
    assert {key.partition("/")[0] for key in bucket.asked} == {REVISED_AGAIN.uuid, NEW.uuid}
    assert len(bucket.asked) == 3, "3.3 was not revised: its row is carried over"
    assert second.is_dir()


def test_what_left_the_catalog_is_marked_and_current_tables_are_without_it(second: Path) -> None:
    marked = "SELECT DISTINCT SeriesInstanceUID, crdc_series_uuid, superseded_in FROM instances ORDER BY 1, 2"
    assert asked(second, marked) == [
        ("2.1", uuid(1), None),
        ("2.2", uuid(2), 25),
        ("2.2", uuid(12), None),
        ("2.3", uuid(3), 25),
        ("2.4", uuid(4), None),
        ("2.5", uuid(5), None),
    ]
    current = [("3.1",), ("3.2",), ("3.3",), ("3.4",), ("3.6",), ("3.7",), ("3.9",)]
    assert asked(second, "SELECT SOPInstanceUID FROM dicom_all ORDER BY 1") == current
    assert asked(second, "SELECT SeriesInstanceUID, instances FROM series ORDER BY 1") == [
        ("2.1", 2),
        ("2.2", 3),
        ("2.4", 1),
        ("2.5", 1),
    ]
    assert asked(second, "SELECT count(*) FROM instances WHERE superseded_at IS NULL") == [(7,)]


def test_a_series_that_moved_is_found_in_its_new_collection(second: Path) -> None:
    by_collection = """SELECT collection_id, count(*) FROM instances WHERE superseded_at IS NULL
                       GROUP BY ALL ORDER BY 1"""
    assert asked(second, by_collection) == [("one", 5), ("three", 2)]
    assert asked(second, "SELECT SOPInstanceUID FROM instances WHERE collection_id = 'three' ORDER BY 1") == [
        ("3.6",),
        ("3.7",),
    ]


def test_an_earlier_or_a_partial_catalog_takes_nothing_back(
    bucket: ChangingBucket, second: Path, tmp_path: Path
) -> None:
    before = asked(second, "SELECT SOPInstanceUID, superseded_in FROM instances ORDER BY 1, 2")
    crawled(bucket, tmp_path, tmp_path / "24.parquet", 'collection_id = "one"')
    crawled(bucket, tmp_path, release(tmp_path / "part.parquet", 25, KEPT))
    assert asked(second, "SELECT SOPInstanceUID, superseded_in FROM instances ORDER BY 1, 2") == before
    again = release(tmp_path / "26.parquet", 26, KEPT, REVISED_AGAIN, MOVED_ON, NEW, REMOVED)
    crawled(bucket, tmp_path, again)
    assert bucket.asked == []
    assert asked(second, "SELECT DISTINCT superseded_in FROM instances WHERE SeriesInstanceUID = '2.3'") == [
        (None,)
    ]


def test_a_selection_that_left_series_out_marks_none(
    bucket: ChangingBucket, first: Path, tmp_path: Path
) -> None:
    catalog = release(tmp_path / "25.parquet", 25, KEPT, REVISED, REMOVED, MOVED)
    crawled(bucket, tmp_path, catalog, 'collection_id = "one"')
    assert asked(first, "SELECT count(superseded_in), count(*) FROM instances") == [(0, 6)]


def test_the_diff_knows_the_releases_of_the_dataset(second: Path) -> None:
    for option, before, after in (("--from 23", 23, 25), ("--to 26", 24, 26)):
        with pytest.raises(ConfigError, match=f"{option}: .* it has 24, 25"):
            diff(str(second), before, after)


def test_the_diff_counts_by_collection(second: Path) -> None:
    result = program("diff", "-d", second, "--from", "24", "--to", "25", "--format", "json")
    assert result.status == 0, result.stderr
    rows = {row.pop("collection_id"): row for row in map(json.loads, result.stdout.splitlines())}
    size = asked(second, "SELECT any_value(instance_size) FROM instances")[0][0]

    def counts(series: tuple[int, ...], instances: tuple[int, ...]) -> dict[str, int]:
        named = zip(("new", "revised", "gone", "moved_here"), series, strict=True)
        told = {f"series_{name}": number for name, number in named}
        for name, number in zip(("new", "revised", "gone"), instances, strict=True):
            told |= {f"instances_{name}": number, f"bytes_{name}": number * size}
        return told

    assert rows == {
        "one": counts((0, 1, 0, 0), (1, 1, 0)),
        "three": counts((1, 0, 0, 1), (1, 0, 0)),
        "two": counts((0, 0, 1, 0), (0, 0, 1)),
    }
    with open_dataset(second) as connection, pytest.raises(QueryError, match="has to be the later one"):
        changes(connection, 25, 25)


def test_a_prune_removes_what_is_superseded_and_only_that(
    bucket: ChangingBucket, second: Path, tmp_path: Path
) -> None:
    everything = asked(second, "SELECT SOPInstanceUID FROM instances ORDER BY 1")
    dry = program("prune", "-d", second, "--dry-run", "--json")
    assert dry.status == 0, dry.stderr
    told = json.loads(dry.stdout)
    assert (told["series"], told["instances"], told["by_collection"]) == (2, 3, {"one": 2, "two": 1})
    assert asked(second, "SELECT SOPInstanceUID FROM instances ORDER BY 1") == everything
    dataset = Dataset.open(second)
    assert dataset.prunable(25).instances == 0
    assert dataset.prunable(26).instances == 3
    with open_dataset(second) as early:
        with dataset.lock() as lock:
            assert dataset.prune(lock).instances == 3
        (batch,) = run_query(early, "SELECT count(*) FROM instances").batches()
        assert batch.column(0).to_pylist() == [10]
    current = "SELECT count(*), count(superseded_at), count(DISTINCT crdc_series_uuid) FROM instances"
    assert asked(second, current) == [(7, 0, 4)]
    folders = {path.parent.name for path in (second / "instances").rglob("*.parquet")}
    assert folders == {"Modality=CT"}
    back = release(tmp_path / "26.parquet", 26, KEPT, REVISED_AGAIN, MOVED_ON, NEW, REMOVED)
    assert crawled(bucket, tmp_path, back).instances == 1
    assert asked(second, current) == [(8, 0, 5)]


def test_a_prune_that_was_killed_is_brought_to_its_end(second: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = Dataset.open(second)

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for place in (
        "harvester.dataset.maintenance.prune.write_commit",
        "harvester.dataset.maintenance.prune.write_marks",
    ):
        with monkeypatch.context() as broken, dataset.lock() as lock:
            broken.setattr(place, die)
            with pytest.raises(KeyboardInterrupt):
                dataset.prune(lock, CompactionOptions())
        assert asked(second, "SELECT count(*) FROM instances") == [(7,)]
    with dataset.lock() as lock:
        dataset.prune(lock)
    held = {key for commit in dataset.commits() for key in commit.series}
    assert held == {uuid(1), uuid(12), uuid(4), uuid(5)}
    assert dataset.marks().series.keys() == {uuid(4)}


def test_failures_of_a_series_that_left_are_pruned_with_it(bucket: ChangingBucket, tmp_path: Path) -> None:
    put(bucket, KEPT, REVISED)
    broken = {f"{one.uuid}/{uuid(999)}.dcm" for one in (KEPT, REVISED)}
    bucket.objects |= dict.fromkeys(broken, b"no DICOM")
    assert crawled(bucket, tmp_path, release(tmp_path / "24.parquet", 24, KEPT, REVISED)).failures == 2
    crawled(bucket, tmp_path, release(tmp_path / "25.parquet", 25, KEPT))
    dataset = Dataset.open(tmp_path / "dataset")
    with dataset.lock() as lock:
        assert dataset.prune(lock).instances == 2
    assert asked(tmp_path / "dataset", "SELECT crdc_series_uuid FROM failures") == [(KEPT.uuid,)]
    back = crawled(bucket, tmp_path, release(tmp_path / "26.parquet", 26, KEPT, REVISED))
    assert (back.instances, back.failures) == (2, 2)
    assert asked(tmp_path / "dataset", "SELECT count(*) FROM failures") == [(2,)]
