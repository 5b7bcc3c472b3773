"""Crawls of listings, lists and folders that change between two runs; and of objects under two names."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from changing_bucket import ChangingBucket, MadeSeries, changing_bucket, dicom, put, release, toml, uuid

from harvester.config import load
from harvester.engine.crawl import CrawlOptions, CrawlResult, crawl
from harvester.engine.shard import CrawlProgress
from harvester.query import open_dataset, run_query

ONE = MadeSeries("2.1", uuid(1), {f"3.{n}": uuid(100 + n) for n in range(1, 5)})
TWO = MadeSeries("2.2", uuid(2), {"3.8": uuid(108)})
CURRENT = "SELECT instance_url, count(*) FROM instances WHERE superseded_at IS NULL GROUP BY ALL ORDER BY 1"


@pytest.fixture
def bucket() -> Iterator[ChangingBucket]:
    with changing_bucket() as bucket:
        yield bucket


def crawled(bucket: ChangingBucket, folder: Path, *, source: str = "", select: str = "") -> CrawlResult:
    bucket.forget()
    return anyio.run(crawl, load(toml(bucket, folder, source=source, select=select)), CrawlProgress())


def asked(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    with open_dataset(folder / "dataset") as connection:
        rows = [row for batch in run_query(connection, sql).batches() for row in batch.to_pylist()]
    return [tuple(row.values()) for row in rows]


def test_a_prefix_that_changed_is_listed_and_only_what_changed_is_read(
    bucket: ChangingBucket, tmp_path: Path
) -> None:
    select = 'prefixes = ["s3://mine/scans/"]'
    bucket.objects |= {f"scans/{n}.dcm": dicom("2.1", f"3.{n}") for n in range(4)}
    assert crawled(bucket, tmp_path, select=select).instances == 4

    same = crawled(bucket, tmp_path, select=select)
    assert (same.instances, same.skipped, same.requests, bucket.asked) == (0, 4, 1, [])

    bucket.objects["scans/1.dcm"] = dicom("2.1", "3.91")  # as long as it was: its ETag tells
    bucket.objects["scans/new.dcm"] = dicom("2.1", "3.5")
    del bucket.objects["scans/2.dcm"]
    result = crawled(bucket, tmp_path, select=select)
    assert sorted(bucket.asked) == ["scans/1.dcm", "scans/new.dcm"]
    assert result.instances == 2
    names = ["0", "1", "3", "new"]
    assert asked(tmp_path, CURRENT) == [(f"s3://mine/scans/{name}.dcm", 1) for name in names]
    over = "SELECT SOPInstanceUID, superseded_in FROM instances WHERE superseded_at IS NOT NULL ORDER BY 1"
    assert asked(tmp_path, over) == [("3.1", None), ("3.2", None)]

    again = crawled(bucket, tmp_path, select=select)
    assert (again.instances, bucket.asked) == (0, [])
    bucket.objects["scans/2.dcm"] = dicom("2.1", "3.2")
    assert crawled(bucket, tmp_path, select=select).instances == 1
    assert len(asked(tmp_path, CURRENT)) == 5


def test_a_prefix_that_cannot_be_listed_supersedes_nothing(bucket: ChangingBucket, tmp_path: Path) -> None:
    select = 'prefixes = ["s3://mine/scans/"]'
    bucket.objects["scans/1.dcm"] = dicom("2.1", "3.1")
    crawled(bucket, tmp_path, select=select)
    bucket.objects["scans/2.dcm"] = dicom("2.1", "3.2")
    config = load(toml(bucket, tmp_path, select=select))
    away = config.model_copy(
        update={
            "source": config.source.model_copy(update={"endpoint": "http://127.0.0.1:1"}),
            "limits": config.limits.model_copy(update={"attempts": 1}),
        }
    )
    anyio.run(crawl, away, CrawlProgress())
    assert asked(tmp_path, CURRENT) == [("s3://mine/scans/1.dcm", 1)]
    assert asked(tmp_path, "SELECT count(*) FROM failures") == [(0,)]
    assert crawled(bucket, tmp_path, select=select).instances == 1


def test_a_limited_crawl_judges_nothing(bucket: ChangingBucket, tmp_path: Path) -> None:
    select = 'prefixes = ["s3://mine/a/", "s3://mine/b/"]'
    bucket.objects |= {"a/1.dcm": dicom("2.1", "3.1"), "b/1.dcm": dicom("2.2", "3.2")}
    crawled(bucket, tmp_path, select=select)
    del bucket.objects["b/1.dcm"]
    config = load(toml(bucket, tmp_path, select=select))
    anyio.run(crawl, config, CrawlProgress(), CrawlOptions(limit_series=1))
    assert len(asked(tmp_path, CURRENT)) == 2


def test_a_folder_whose_files_changed_is_followed(bucket: ChangingBucket, tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    scans.mkdir()
    for name in ("a", "b", "c"):
        (scans / f"{name}.dcm").write_bytes(dicom("2.1", f"3.{ord(name)}"))
    select = f'root = "{scans}"'

    def crawl_folder() -> CrawlResult:
        path = tmp_path / "folder.toml"
        path.write_text(f'dataset = "{tmp_path}/dataset"\n[select]\n{select}\n')
        return anyio.run(crawl, load(path), CrawlProgress())

    assert bucket.asked == []
    assert crawl_folder().instances == 3
    assert crawl_folder().instances == 0
    (scans / "a.dcm").write_bytes(dicom("2.1", "3.77"))
    os.utime(scans / "a.dcm", ns=(1, 1))
    (scans / "b.dcm").unlink()
    (scans / "d.dcm").write_bytes(dicom("2.1", "3.5"))
    result = crawl_folder()
    assert (result.instances, result.skipped) == (2, 1)
    assert [(Path(str(url)).name, n) for url, n in asked(tmp_path, CURRENT)] == [
        ("a.dcm", 1),
        ("c.dcm", 1),
        ("d.dcm", 1),
    ]
    assert crawl_folder().instances == 0


def test_a_list_of_addresses_is_taken_as_unchanged(bucket: ChangingBucket, tmp_path: Path) -> None:
    bucket.objects["scans/1.dcm"] = dicom("2.1", "3.1")
    (tmp_path / "urls.txt").write_text("s3://mine/scans/1.dcm\n")
    select = 'urls = "urls.txt"'
    assert crawled(bucket, tmp_path, select=select).instances == 1
    bucket.objects["scans/1.dcm"] = dicom("2.1", "3.22")
    bucket.objects["scans/2.dcm"] = dicom("2.1", "3.3")
    (tmp_path / "urls.txt").write_text("s3://mine/scans/1.dcm\ns3://mine/scans/2.dcm\n")
    assert crawled(bucket, tmp_path, select=select).instances == 1
    assert bucket.asked == ["scans/2.dcm"]


@pytest.mark.parametrize("catalog_first", [True, False], ids=["catalog first", "catalog last"])
@pytest.mark.parametrize(
    ("other", "scheme"), [("folder", "gs"), ("bucket", "s3"), ("urls", "gs"), ("all urls", "s3")]
)
def test_objects_under_two_names_are_harvested_once(
    bucket: ChangingBucket, tmp_path: Path, other: str, *, catalog_first: bool, scheme: str
) -> None:
    put(bucket, ONE, TWO)
    catalog = release(tmp_path / "25.parquet", 25, ONE, TWO)
    keys = sorted(key for key in bucket.objects if key.startswith(ONE.uuid))
    listed = keys if other == "all urls" else keys[:2]
    (tmp_path / "urls.txt").write_text("".join(f"{scheme}://idc-open-data/{key}\n" for key in listed))
    selects = {
        "folder": f'prefixes = ["{scheme}://idc-open-data/{ONE.uuid}/"]',
        "bucket": f'prefixes = ["{scheme}://idc-open-data/0000"]',
        "urls": 'urls = "urls.txt"',
        "all urls": 'urls = "urls.txt"',
    }
    steps = [{"source": f'catalog = "{catalog}"'}, {"select": selects[other]}]
    for step in steps if catalog_first else reversed(steps):
        crawled(bucket, tmp_path, **step)
    assert asked(tmp_path, "SELECT count(*), count(DISTINCT SOPInstanceUID) FROM instances") == [(5, 5)]
    assert asked(tmp_path, "SELECT count(superseded_at) FROM instances") == [(0,)]
    for step in steps:
        result = crawled(bucket, tmp_path, **step)
        assert (result.instances, bucket.asked) == (0, [])
