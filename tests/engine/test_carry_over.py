"""A revised series takes over the rows of its objects that were not revised: only the others are fetched."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from changing_bucket import ChangingBucket, MadeSeries, changing_bucket, dicom, put, release, toml, uuid
from frame_reading import made
from made_part10 import element

from harvester.config import load
from harvester.dataset import Dataset, ShardWriter
from harvester.engine.crawl import CrawlResult, crawl
from harvester.engine.shard import CrawlProgress
from harvester.query import open_dataset, run_query

OLD = MadeSeries("2.1", uuid(1), {f"3.{n}": uuid(100 + n) for n in range(6)})
# 3.0 is gone, 3.5 is revised, 3.9 is new.
NEW = MadeSeries(
    "2.1", uuid(11), {**{f"3.{n}": uuid(100 + n) for n in range(1, 5)}, "3.5": uuid(205), "3.9": uuid(209)}
)
OTHER = MadeSeries("2.2", uuid(2), {"4.1": uuid(301), "4.2": uuid(302)})
OTHER_NEW = MadeSeries("2.2", uuid(12), {"4.1": uuid(301), "4.2": uuid(302)})
SLIDE = MadeSeries("2.3", uuid(3), {"5.1": uuid(401)})
SLIDE_NEW = MadeSeries("2.3", uuid(13), {"5.1": uuid(401)})

NUMBER_OF_FRAMES = b"\x28\x00\x08\x00IS"
OF_THE_HARVEST = {
    *("instance_url", "crdc_series_uuid", "idc_version", "requests", "bytes_fetched", "harvested_at"),
    *("superseded_in", "superseded_at"),
}
REVISED = [f"{NEW.uuid}/{uuid(205)}.dcm", f"{NEW.uuid}/{uuid(209)}.dcm"]
CURRENT = "SELECT SOPInstanceUID, crdc_series_uuid FROM instances WHERE superseded_at IS NULL ORDER BY ALL"


@pytest.fixture
def bucket() -> Iterator[ChangingBucket]:
    with changing_bucket() as bucket:
        put(bucket, OLD, NEW, OTHER, OTHER_NEW)
        yield bucket


def crawled(
    bucket: ChangingBucket, folder: Path, number: int, *series: MadeSeries, more: str = ""
) -> CrawlResult:
    bucket.forget()
    catalog = release(folder / f"{number}.parquet", number, *series)
    path = toml(bucket, folder, source=f'catalog = "{catalog}"')
    path.write_text(path.read_text() + more)
    return anyio.run(crawl, load(path), CrawlProgress())


def asked(folder: Path, sql: str) -> list[dict[str, Any]]:
    with open_dataset(folder / "dataset") as connection:
        return [row for batch in run_query(connection, sql).batches() for row in batch.to_pylist()]


def current(folder: Path) -> list[tuple[str, str]]:
    return [tuple(row.values()) for row in asked(folder, CURRENT)]  # type: ignore[misc]


def expected(*series: MadeSeries) -> list[tuple[str, str]]:
    return sorted((uid, one.uuid) for one in series for uid in one.instances)


def test_only_what_was_revised_is_fetched_and_no_row_is_lost(bucket: ChangingBucket, tmp_path: Path) -> None:
    crawled(bucket, tmp_path, 24, OLD, OTHER)
    result = crawled(bucket, tmp_path, 25, NEW, OTHER_NEW)
    assert sorted(bucket.asked) == REVISED
    assert (result.instances, result.carried, result.failures) == (8, 6, 0)
    assert result.requests == len(bucket.asked) + len(bucket.listed)
    assert current(tmp_path) == expected(NEW, OTHER_NEW)
    assert asked(tmp_path, "SELECT count(*) AS n, count(superseded_in) AS old FROM instances") == [
        {"n": 16, "old": 8}
    ]
    again = crawled(bucket, tmp_path, 25, NEW, OTHER_NEW)
    assert (again.requests, again.instances, again.skipped) == (0, 0, 8)


def test_a_row_that_is_carried_over_is_the_one_that_reading_would_give(
    bucket: ChangingBucket, tmp_path: Path
) -> None:
    for folder in ("carried", "read"):
        (tmp_path / folder).mkdir()
    crawled(bucket, tmp_path / "carried", 24, OLD)
    crawled(bucket, tmp_path / "carried", 25, NEW)
    crawled(bucket, tmp_path / "read", 25, NEW)
    sql = "SELECT * FROM instances WHERE superseded_at IS NULL ORDER BY SOPInstanceUID"
    carried, read = (asked(tmp_path / folder, sql) for folder in ("carried", "read"))
    assert [row["requests"] for row in carried] == [0, 0, 0, 0, 1, 1]
    assert [row["bytes_fetched"] > 0 for row in carried] == [False] * 4 + [True] * 2
    for one in (*carried, *read):
        for name in ("requests", "bytes_fetched", "harvested_at"):
            assert one.pop(name) is not None
    assert carried == read
    before = asked(
        tmp_path / "carried", "SELECT * FROM instances WHERE superseded_in = 25 ORDER BY SOPInstanceUID"
    )
    for old, new in zip(before[1:5], carried[:4], strict=True):
        assert {name for name in new if old[name] != new[name]} <= OF_THE_HARVEST


def test_what_was_compacted_is_carried_over_and_so_is_what_was_carried_over(
    bucket: ChangingBucket, tmp_path: Path
) -> None:
    crawled(bucket, tmp_path, 24, OLD, OTHER)
    dataset = Dataset.open(tmp_path / "dataset")
    with dataset.lock() as lock:
        assert dataset.compact(lock).rows == 8
    crawled(bucket, tmp_path, 25, NEW, OTHER)
    assert sorted(bucket.asked) == REVISED
    third = MadeSeries("2.1", uuid(21), NEW.instances)
    put(bucket, third)
    assert crawled(bucket, tmp_path, 26, third, OTHER).carried == 6
    assert bucket.asked == []
    assert current(tmp_path) == expected(third, OTHER)


@pytest.mark.parametrize("changed", ["size", "etag"])
def test_an_object_that_is_another_one_under_the_same_name_is_read(
    bucket: ChangingBucket, tmp_path: Path, changed: str
) -> None:
    crawled(bucket, tmp_path, 24, OTHER)
    key = f"{OTHER_NEW.uuid}/{uuid(301)}.dcm"
    bucket.objects[key] = dicom("2.2", "4.1", padding=9) if changed == "size" else dicom("2.2", "4.7")
    crawled(bucket, tmp_path, 25, OTHER_NEW)
    assert bucket.asked == [key]


def test_frames_are_carried_over_and_read_where_they_were_not_looked_for(
    bucket: ChangingBucket, tmp_path: Path
) -> None:
    frames = [[b"\xff\xd8ab"], [b"\xff\xd8cdef"]]
    raw = made(frames, table=(0, 12))
    named = element(0x00080018, "UI", b"5.1\0") + element(0x0020000E, "UI", b"2.3\0")
    raw = raw.replace(NUMBER_OF_FRAMES, named + NUMBER_OF_FRAMES, 1)
    for one in (SLIDE, SLIDE_NEW):
        bucket.objects[f"{one.uuid}/{uuid(401)}.dcm"] = raw
    looking = '[frames]\nindex = "table"\n'
    for folder in ("seen", "blind"):
        (tmp_path / folder).mkdir()
    crawled(bucket, tmp_path / "seen", 24, SLIDE, more=looking)
    crawled(bucket, tmp_path / "seen", 25, SLIDE_NEW, more=looking)
    assert bucket.asked == []
    old, new = asked(tmp_path / "seen", "SELECT * FROM frames ORDER BY instance_url")
    assert (new.pop("instance_url"), old.pop("instance_url")) == tuple(
        f"s3://idc-open-data/{one.uuid}/{uuid(401)}.dcm" for one in (SLIDE_NEW, SLIDE)
    )
    assert new == old
    crawled(bucket, tmp_path / "blind", 24, SLIDE)
    assert asked(tmp_path / "blind", "SELECT * FROM frames") == []
    crawled(bucket, tmp_path / "blind", 25, SLIDE_NEW, more=looking)
    assert bucket.asked
    assert len(asked(tmp_path / "blind", "SELECT * FROM frames")) == 1


def test_a_crawl_that_dies_before_its_commit_has_carried_nothing_over(
    bucket: ChangingBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crawled(bucket, tmp_path, 24, OLD, OTHER)

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(ShardWriter, "commit", die)
        with pytest.raises(KeyboardInterrupt):
            crawled(bucket, tmp_path, 25, NEW, OTHER_NEW)
    assert current(tmp_path) == []
    assert crawled(bucket, tmp_path, 25, NEW, OTHER_NEW).carried == 6
    assert current(tmp_path) == expected(NEW, OTHER_NEW)
    files = sorted(path.name for path in (tmp_path / "dataset/instances").rglob("*.parquet"))
    assert len(files) == len({part.path for part in Dataset.open(tmp_path / "dataset").parts("instances")})


def test_worker_processes_carry_over_what_this_one_would(bucket: ChangingBucket, tmp_path: Path) -> None:
    crawled(bucket, tmp_path, 24, OLD, OTHER)
    catalog = release(tmp_path / "25.parquet", 25, NEW, OTHER_NEW)
    path = toml(bucket, tmp_path, source=f'catalog = "{catalog}"')
    path.write_text(path.read_text().replace("processes = 1", "processes = 2\nshard_instances = 1"))
    bucket.forget()
    assert anyio.run(crawl, load(path), CrawlProgress()).carried == 6
    assert sorted(bucket.asked) == REVISED
    assert current(tmp_path) == expected(NEW, OTHER_NEW)


def test_a_series_that_came_to_another_collection_is_carried_over_into_it(
    bucket: ChangingBucket, tmp_path: Path
) -> None:
    crawled(bucket, tmp_path, 24, OTHER)
    moved = MadeSeries(OTHER_NEW.uid, OTHER_NEW.uuid, OTHER_NEW.instances, "two")
    crawled(bucket, tmp_path, 25, moved)
    assert bucket.asked == []
    sql = "SELECT collection_id, Modality, idc_version FROM instances WHERE superseded_at IS NULL"
    assert asked(tmp_path, sql) == [{"collection_id": "two", "Modality": "CT", "idc_version": 25}] * 2
