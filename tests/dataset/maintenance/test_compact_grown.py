"""The merging of small parts where they are many, as at the end of a crawl."""

from pathlib import Path

import pyarrow as pa
import pytest
from hex_names import hex_name

from harvester.dataset import CompactionOptions, Dataset, Partition
from harvester.dataset.directory import LocalStorage
from harvester.errors import DatasetError

OPTIONS = CompactionOptions()


def add(dataset: Dataset, shard: int, *modalities: str, rows: int = 10) -> None:
    writer = dataset.shard_writer(hex_name("crawl"), hex_name(str(shard)))
    for modality in modalities:
        uids = [f"{modality}.{shard}.{number}" for number in range(rows)]
        table = pa.table({"SOPInstanceUID": uids, "SeriesInstanceUID": uids, "PatientComments": uids})
        writer.write_instances(table, Partition("c", modality))
    writer.commit([str(shard)], requests=1, bytes_fetched=1, seconds=1, versions={})


def merge(dataset: Dataset, least_parts: int) -> int | None:
    """The number of partitions that were rewritten; None: too few small parts."""
    with dataset.lock() as lock:
        done = dataset.compact_grown(lock, OPTIONS, least_parts)
    return None if done is None else done.partitions


def names(dataset: Dataset, modality: str) -> set[str]:
    return {path.name for path in Path(dataset.location).glob(f"instances/*/Modality={modality}/*")}


def rows(dataset: Dataset) -> int:
    return sum(part.rows for part in dataset.parts("instances"))


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Five parts of CT, four of MR, three of PT."""
    dataset = Dataset.create(tmp_path / "ds")
    for shard in range(5):
        add(dataset, shard, *("CT", "MR", "PT")[: 3 if shard < 3 else 2 if shard < 4 else 1])
    return dataset


def test_too_few_small_parts_stay_as_they_are(dataset: Dataset) -> None:
    assert merge(dataset, 10) is None
    assert [len(names(dataset, one)) for one in ("CT", "MR", "PT")] == [5, 4, 3]


def test_partitions_with_many_small_parts_are_merged_and_others_stay(dataset: Dataset) -> None:
    before = names(dataset, "PT")
    assert merge(dataset, 9) == 2
    assert [len(names(dataset, one)) for one in ("CT", "MR")] == [1, 1]
    assert names(dataset, "PT") == before
    assert rows(dataset) == 120


def test_a_partition_that_grows_each_night_is_rewritten_a_few_times(tmp_path: Path) -> None:
    dataset = Dataset.create(tmp_path / "ds")
    add(dataset, 0, "CT", rows=2000)
    done = []
    for night in range(1, 41):
        add(dataset, night, "CT", rows=100)
        done.append(merge(dataset, 1) is not None)
        assert len(names(dataset, "CT")) < 25
    assert 2 <= sum(done) <= 10
    assert rows(dataset) == 6000


def test_a_disk_with_too_little_room_is_left_alone(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalStorage, "room", 1000)
    with pytest.raises(
        DatasetError, match=r"merging 9 parts can take .* of disk space, and 1\.0 kB are free"
    ):
        merge(dataset, 1)
    assert [len(names(dataset, one)) for one in ("CT", "MR", "PT")] == [5, 4, 3]
