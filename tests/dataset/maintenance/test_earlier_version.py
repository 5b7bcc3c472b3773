"""A dataset of an earlier version, with links of generations and no records of open shards, loses nothing."""

from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from hex_names import hex_name

from harvester.dataset import CompactionOptions, Dataset, Partition, Tombstone, Tombstones
from harvester.dataset.paths import OPEN_RECORDED
from harvester.query import open_dataset, run_query

DAY = CompactionOptions(keep=timedelta(hours=24))


def add(dataset: Dataset, shard: str, number: int) -> None:
    writer = dataset.shard_writer(hex_name("crawl"), hex_name(shard))
    rows = [f"{shard}.{one}" for one in range(number)]
    table = {"SOPInstanceUID": rows, "crdc_series_uuid": [shard] * number, "instance_url": rows}
    writer.write_instances(pa.table(table), Partition("c", "CT"))
    writer.commit({shard: (number, 0)}, requests=1, bytes_fetched=1, seconds=1, versions={})


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Two compactions, a later commit and a part that no commit names, as the earlier version left them."""
    dataset = Dataset.create(tmp_path / "ds")
    for shard in ("one", "two"):
        add(dataset, shard, 2)
        with dataset.lock() as lock:
            dataset.compact(lock, DAY)
    add(dataset, "three", 1)
    stray = dataset.shard_writer(hex_name("crawl"), hex_name("stray"))
    stray.write_instances(pa.table({"SOPInstanceUID": ["stray"]}), Partition("c", "CT"))
    root = tmp_path / "ds"
    (root / OPEN_RECORDED).unlink()
    for record in (root / "_harvest/open").iterdir():
        record.unlink()
    (root / "_harvest/open").rmdir()
    for number, target in ((0, "_harvest/replaced/0/"), (1, "_harvest/replaced/1/"), (2, "")):
        folder = root / f"_harvest/generations/{number}"
        folder.mkdir(parents=True)
        for table in ("instances", "frames"):
            (folder / table).symlink_to(f"../../../{target}{table}")
    return dataset


def rows(dataset: Dataset) -> list[str]:
    with open_dataset(dataset.location) as connection:
        result = run_query(connection, "SELECT SOPInstanceUID FROM instances ORDER BY 1")
        return [row["SOPInstanceUID"] for batch in result.batches() for row in batch.to_pylist()]


def test_it_is_read_compacted_and_pruned_without_loss(dataset: Dataset) -> None:
    every = ["one.0", "one.1", "three.0", "two.0", "two.1"]
    assert rows(dataset) == every
    assert Dataset.repair(dataset.location).rebuilt == ()
    with dataset.lock() as lock:
        assert dataset.under(lock).sweep(lock) == []
    assert rows(dataset) == every
    with dataset.lock() as lock:
        dataset.compact(lock, CompactionOptions(keep=timedelta(0)))
    assert rows(dataset) == every
    with dataset.lock() as lock:
        dataset.save_marks(lock, Tombstones(2, {"two": Tombstone(superseded_in=2)}))
        dataset.prune(lock, CompactionOptions(keep=timedelta(0)))
    assert rows(dataset) == every[:3]
    root = Path(dataset.location)
    assert not (root / "_harvest/generations").exists(), "links that no reader of this version uses"
    kept = {path.name for path in (root / "_harvest/replaced/1").rglob("*.parquet")}
    assert "compacted.g1.0.parquet" in kept, "what an earlier compaction keeps until its time is over"
    strays = list(root.glob(f"instances/**/*{hex_name('stray')}*"))
    assert len(strays) == 1, "a part without a commit stays where no record says that its shard was open"


def test_a_link_of_a_generation_is_not_followed(dataset: Dataset, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "mine.parquet").write_text("mine")
    link = Path(dataset.location) / "_harvest/generations/2/instances"
    link.unlink()
    link.symlink_to(outside)
    with dataset.lock() as lock:
        dataset.compact(lock, CompactionOptions(keep=timedelta(0)))
    assert (outside / "mine.parquet").read_text() == "mine"
