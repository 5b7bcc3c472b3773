import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hex_names import hex_name

from harvester.dataset import Commit, Dataset, Partition
from harvester.errors import DatasetError
from harvester.model import Failure

CT = Partition("nlst", "CT")
PREFIX = f"{hex_name('crawl')}.{hex_name('shard')}"
S = f"{hex_name('crawl')}.{hex_name('s')}"


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset.create(tmp_path / "ds")


def harvested(dataset: Dataset, shard: str, numbers: range) -> Commit:
    writer = dataset.shard_writer(hex_name("crawl"), hex_name(shard))
    writer.write_instances(pa.table({"n": numbers}), CT)
    return writer.commit([shard], requests=3, bytes_fetched=4, seconds=0.5, versions={"harvester": "1"})


def files(dataset: Dataset) -> set[str]:
    root = Path(dataset.location)
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_what_was_created_opens_again(tmp_path: Path) -> None:
    created = Dataset.create(tmp_path / "a" / "b")
    assert Dataset.create(tmp_path / "a" / "b") == created == Dataset.open(str(tmp_path / "a" / "b"))
    assert list(created.commits()) == []


def test_a_missing_dataset_names_the_path_and_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"/none: no such dataset; .*harvester crawl"):
        Dataset.open(tmp_path / "none")


def test_another_directory_is_not_a_dataset(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("x")
    with pytest.raises(DatasetError, match="not a dataset"):
        Dataset.open(tmp_path)
    with pytest.raises(DatasetError, match=r"holds other things \('thesis.txt'\)"):
        Dataset.create(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]
    for verb in (Dataset.open, Dataset.create):
        with pytest.raises(DatasetError, match="this is a file"):
            verb(tmp_path / "thesis.txt")


def test_a_creation_that_was_killed_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / "_harvest").mkdir()
    assert Dataset.create(tmp_path) == Dataset.open(tmp_path)


@pytest.mark.parametrize("marker", ["", "[]", '{"format": "harvester dataset", "version": 2}'])
def test_a_dataset_of_another_make_is_refused(dataset: Dataset, marker: str) -> None:
    (Path(dataset.location) / "_harvest/dataset.json").write_text(marker)
    with pytest.raises(DatasetError, match=r"_harvest/dataset\.json"):
        Dataset.open(dataset.location)


@pytest.mark.parametrize("path", ["ftp://host/ds", "s3://bucket", "gs://b/../c", "a\0b"])
def test_a_path_that_can_hold_no_dataset_is_refused(path: str) -> None:
    with pytest.raises(DatasetError):
        Dataset.create(path)
    with pytest.raises(DatasetError):
        Dataset.open(path)


def test_a_shard_lies_where_the_contract_says(dataset: Dataset) -> None:
    writer = dataset.shard_writer(hex_name("crawl"), hex_name("shard"))
    writer.write_instances(pa.table({"n": [1, 2]}), CT)
    writer.write_instances(pa.table({"n": [3]}), CT)
    writer.write_instances(pa.record_batch({"n": [4]}), Partition(None, "a/b"))
    writer.write_frames(pa.table({"frame_offsets": [[1]]}), CT)
    writer.write_failures([Failure("u", "r", "m")], harvester_version="1")
    commit = writer.commit(["k"], requests=1, bytes_fetched=2, seconds=3, versions={})
    parts = {
        f"instances/collection_id=nlst/Modality=CT/{PREFIX}.0.parquet",
        f"instances/collection_id=nlst/Modality=CT/{PREFIX}.1.parquet",
        f"instances/collection_id=__HIVE_DEFAULT_PARTITION__/Modality=a%2Fb/{PREFIX}.0.parquet",
        f"frames/collection_id=nlst/Modality=CT/{PREFIX}.0.parquet",
        f"failures/{PREFIX}.0.parquet",
    }
    assert files(dataset) == parts | {
        "_harvest/dataset.json",
        "_harvest/open.json",
        f"_harvest/commits/{PREFIX}.json",
    }
    assert {part.path for part in commit.parts} == parts
    assert (commit.instances, commit.failures) == (4, 1)
    for part in commit.parts:
        assert (Path(dataset.location) / part.path).stat().st_size == part.bytes
    assert [part.path for part in dataset.parts("failures")] == [f"failures/{PREFIX}.0.parquet"]


def test_the_partition_is_in_the_file_too_unless_the_header_said_it(dataset: Dataset) -> None:
    writer = dataset.shard_writer(hex_name("crawl"), hex_name("shard"))
    added = writer.write_instances(pa.table({"n": [1, 2]}), Partition("nlst", None))
    kept = writer.write_instances(pa.table({"Modality": ["MR"]}), CT)
    assert added is not None
    assert kept is not None
    root = Path(dataset.location)
    assert pq.ParquetFile(root / added.path).read().to_pylist() == [
        {"n": n, "collection_id": "nlst", "Modality": None} for n in (1, 2)
    ]
    assert pq.ParquetFile(root / kept.path).read().to_pylist() == [
        {"Modality": "MR", "collection_id": "nlst"}
    ]


def test_no_rows_are_no_file(dataset: Dataset) -> None:
    writer = dataset.shard_writer(hex_name("crawl"), hex_name("shard"))
    assert writer.write_instances(pa.table({"n": []}), CT) is None
    assert writer.write_failures([], harvester_version="1") is None
    commit = writer.commit(["k"], requests=0, bytes_fetched=0, seconds=0, versions={})
    assert (commit.parts, commit.instances) == ((), 0)
    assert list(dataset.commits()) == [commit]


def test_a_commit_comes_back_as_it_was(dataset: Dataset) -> None:
    commits = [harvested(dataset, shard, range(5)) for shard in ("s2", "s1")]
    assert list(Dataset.open(dataset.location).commits()) == sorted(commits, key=lambda commit: commit.shard)


def test_a_shard_that_is_run_again_replaces_its_own_files(dataset: Dataset) -> None:
    harvested(dataset, "s", range(5))
    before = files(dataset)
    harvested(dataset, "s", range(7))
    assert files(dataset) == before
    assert [commit.instances for commit in dataset.commits()] == [7]


def test_a_discarded_shard_leaves_nothing_and_begins_anew(dataset: Dataset) -> None:
    before = files(dataset)
    writer = dataset.shard_writer(hex_name("crawl"), hex_name("s"))
    writer.write_instances(pa.table({"n": [1]}), CT)
    writer.write_failures([Failure("u", "r", "m")], harvester_version="1")
    writer.discard()
    assert files(dataset) == before
    again = writer.write_instances(pa.table({"n": [1]}), CT)
    assert again is not None
    assert again.path.endswith(f".{hex_name('s')}.0.parquet")


def test_a_shard_of_a_bad_name_is_refused_before_it_is_harvested(dataset: Dataset) -> None:
    with pytest.raises(ValueError, match="cannot name a file"):
        dataset.shard_writer("crawl", "../s")


DAMAGES = {
    "empty": lambda _: "",
    "cut": lambda record: json.dumps(record)[:-10],
    "missing": lambda record: json.dumps({key: record[key] for key in record if key != "parts"}),
    "unknown": lambda record: json.dumps({**record, "more": 1}),
    "type": lambda record: json.dumps({**record, "requests": "3"}),
    "outside": lambda record: json.dumps(
        {**record, "parts": [{"path": "../../etc/passwd", "rows": 1, "bytes": 1}]}
    ),
    "version": lambda record: json.dumps({**record, "format": 2}),
    "another shard's": lambda record: json.dumps({**record, "shard": "other"}),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_corrupt_commit_names_its_file_and_stops_the_sweep(dataset: Dataset, damage: str) -> None:
    harvested(dataset, "good", range(5))
    harvested(dataset, "s", range(5))
    path = Path(dataset.location) / f"_harvest/commits/{S}.json"
    path.write_text(DAMAGES[damage](json.loads(path.read_text())))
    before = files(dataset)
    with pytest.raises(DatasetError, match=rf"{S}\.json.*harvester repair"):
        list(dataset.commits())
    with dataset.lock() as lock, pytest.raises(DatasetError, match=rf"{S}\.json"):
        dataset.sweep(lock)
    assert files(dataset) == before | {"_harvest/lock"}


def test_the_sweep_deletes_what_no_commit_names_and_nothing_else(
    dataset: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root, outside = Path(dataset.location), tmp_path_factory.mktemp("outside")
    harvested(dataset, "done", range(5))
    kept = files(dataset)
    abandoned = dataset.shard_writer(hex_name("crawl"), hex_name("killed"))
    abandoned.write_instances(pa.table({"n": [1]}), CT)
    abandoned.write_frames(pa.table({"n": [1]}), CT)
    abandoned.write_failures([Failure("u", "r", "m")], harvester_version="1")
    unfinished = f"_harvest/unfinished/{'a' * 32}.tmp"
    (root / unfinished).write_bytes(b"PAR1")
    remains = files(dataset) - kept
    strangers = {
        "instances/README.md",
        "failures/my.data.0.parquet",
        "instances/collection_id=nlst/Modality=CT/mine.parquet",
        f"failures/{S}.0.parquet.bak",
        f"thesis/{S}.0.parquet",
        "_harvest/unfinished/notes.txt",
    }
    for stranger in strangers:
        (root / stranger).parent.mkdir(exist_ok=True)
        (root / stranger).write_text("x")
    foreign = outside / "collection_id=a" / "Modality=CT" / f"{S}.0.parquet"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("x")
    (root / "instances" / "collection_id=a").symlink_to(foreign.parents[1])
    (root / "frames" / "collection_id=nlst" / "Modality=MR").symlink_to(foreign.parent)
    (root / "failures" / f"{S}.1.parquet").symlink_to(foreign)
    with dataset.lock() as lock:
        assert set(dataset.sweep(lock)) == remains
        assert dataset.sweep(lock) == []
    assert files(dataset) >= kept | strangers
    assert not files(dataset) & remains
    assert foreign.exists()


def test_a_sweep_needs_the_lock_of_its_own_dataset(dataset: Dataset, tmp_path: Path) -> None:
    with Dataset.create(tmp_path / "other").lock() as lock, pytest.raises(ValueError, match="the lock is of"):
        dataset.sweep(lock)


def test_files_are_made_with_the_users_own_permissions(dataset: Dataset) -> None:
    commit = harvested(dataset, "s", range(5))
    mask = os.umask(0)
    os.umask(mask)
    assert (Path(dataset.location) / commit.parts[0].path).stat().st_mode & 0o777 == 0o666 & ~mask
