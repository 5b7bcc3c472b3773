"""A lost record is not an empty one: nothing is deleted, and what is certain can be rebuilt."""

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from hex_names import hex_name

from harvester.dataset import CompactionOptions, Dataset, Partition
from harvester.dataset.directory import LocalStorage
from harvester.errors import DatasetError
from harvester.model import Plan, Series, Shard

CRAWL = hex_name("crawl")
SNAPSHOT = "_harvest/snapshot.json"


def add(dataset: Dataset, *shards: str) -> None:
    plan = Plan(CRAWL, tuple(Shard(hex_name(shard), (Series(shard),)) for shard in ("one", "two", "three")))
    dataset.save_plan(plan)
    for shard in shards:
        writer = dataset.shard_writer(CRAWL, hex_name(shard))
        rows = [f"{shard}.{number}" for number in range(3)]
        table = {"SOPInstanceUID": rows, "instance_url": [f"s3://b/{row}" for row in rows]}
        writer.write_instances(pa.table(table), Partition("c", "CT"))
        writer.commit({shard: (3, 0)}, requests=1, bytes_fetched=1, seconds=1, versions={})


def rows(dataset: Dataset) -> list[str]:
    found: list[str] = []
    for part in dataset.parts("instances"):
        with dataset.storage.parquet(part.path) as file:
            found += file.read(columns=["SOPInstanceUID"]).column(0).to_pylist()
    return sorted(found)


def compact(dataset: Dataset, hours: int = 24) -> None:
    with dataset.lock() as lock:
        dataset.compact(lock, CompactionOptions(keep=timedelta(hours=hours)))


def sweep(dataset: Dataset) -> None:
    with dataset.lock() as lock:
        dataset.sweep(lock)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """A compacted dataset with a later commit."""
    dataset = Dataset.create(tmp_path / "ds")
    add(dataset, "one", "two")
    compact(dataset)
    add(dataset, "three")
    with dataset.lock() as lock:
        dataset.checkpoint(lock)
    return dataset


def path_of(dataset: Dataset, name: str) -> Path:
    return Path(dataset.location) / name


def everything(dataset: Dataset) -> dict[str, bytes]:
    root = Path(dataset.location)
    found = (path for path in root.rglob("*") if path.is_file() and path.name != "lock")
    return {str(path.relative_to(root)): path.read_bytes() for path in found}


@pytest.mark.parametrize("command", [sweep, compact])
@pytest.mark.parametrize("content", [None, b"", b"{}", b'{"generation": 1, "compacted": [{"pa'])
def test_without_its_snapshot_a_compacted_dataset_stays_as_it_is(
    dataset: Dataset, command: Callable[[Dataset], None], content: bytes | None
) -> None:
    snapshot = path_of(dataset, SNAPSHOT)
    snapshot.unlink()
    if content is not None:
        snapshot.write_bytes(content)
    before = everything(dataset)
    with pytest.raises(DatasetError, match=r"snapshot.*harvester repair -d"):
        command(dataset)
    assert everything(dataset) == before


@pytest.mark.parametrize("content", [None, b"", b"{}"])
def test_a_snapshot_is_rebuilt_from_parts_and_commits(dataset: Dataset, content: bytes | None) -> None:
    before = rows(dataset)
    path_of(dataset, SNAPSHOT).unlink()
    if content is not None:
        path_of(dataset, SNAPSHOT).write_bytes(content)
    there = everything(dataset)
    dry = Dataset.repair(dataset.location, dry_run=True)
    assert dry.rebuilt == (f"{SNAPSHOT} (1 compacted parts, 2 merged parts)",)
    assert everything(dataset) == there
    assert Dataset.repair(dataset.location).undecided == ()
    assert rows(dataset) == before
    sweep(dataset)
    compact(dataset, 0)
    assert rows(dataset) == before
    assert Dataset.repair(dataset.location).rebuilt == ()


def test_a_commit_is_rebuilt_from_its_plan(dataset: Dataset) -> None:
    before = rows(dataset)
    name = f"_harvest/commits/{CRAWL}.{hex_name('three')}.json"
    path_of(dataset, name).unlink()
    with pytest.raises(DatasetError, match=r"json is missing; nothing was changed"):
        sweep(dataset)
    assert Dataset.repair(dataset.location).rebuilt == (name,)
    assert rows(dataset) == before
    commit = dataset.find_commit(CRAWL, hex_name("three"))
    assert commit is not None
    assert commit.series == ("three",)
    path_of(dataset, name).write_bytes(path_of(dataset, name).read_bytes()[:50])
    with pytest.raises(DatasetError, match=r"corrupt commit record.*harvester repair"):
        sweep(dataset)
    assert Dataset.repair(dataset.location).rebuilt == (name,)
    assert rows(dataset) == before


@pytest.mark.parametrize("command", [sweep, compact])
def test_a_commit_behind_a_link_is_not_a_missing_series(
    dataset: Dataset, command: Callable[[Dataset], None], tmp_path: Path
) -> None:
    commit = path_of(dataset, f"_harvest/commits/{CRAWL}.{hex_name('one')}.json")
    shutil.move(commit, tmp_path / "moved")
    commit.symlink_to(tmp_path / "moved")
    with pytest.raises(DatasetError, match=r"json is a link, which is not followed; nothing was changed"):
        command(dataset)


def test_a_commit_is_rebuilt_while_a_compaction_is_being_published(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = rows(dataset)
    with monkeypatch.context() as patch:
        patch.setattr(LocalStorage, "replace_folder", None)  # it ends where it would publish
        with pytest.raises(TypeError):
            compact(dataset)
    name = f"_harvest/commits/{CRAWL}.{hex_name('three')}.json"
    path_of(dataset, name).write_bytes(b"{}")
    with pytest.raises(DatasetError, match="harvester repair"):
        rows(dataset)
    assert Dataset.repair(dataset.location).rebuilt == (name,)
    sweep(dataset)
    assert rows(dataset) == before


@pytest.mark.parametrize("folder", ["commits", "open"])
def test_a_file_of_anyone_else_among_the_records_stays_and_is_no_record(
    dataset: Dataset, folder: str
) -> None:
    for name in (".DS_Store", "notes.json", f"{CRAWL}.{hex_name('one')}.json~"):
        path_of(dataset, f"_harvest/{folder}/{name}").write_text("mine")
    before = rows(dataset)
    add(dataset, "four")
    compact(dataset, 0)
    assert Dataset.repair(dataset.location).undecided == ()
    assert len(rows(dataset)) == len(before) + 3
    assert path_of(dataset, f"_harvest/{folder}/notes.json").read_text() == "mine"


def test_what_cannot_be_decided_is_named_and_stays(dataset: Dataset) -> None:
    path_of(dataset, f"_harvest/commits/{CRAWL}.{hex_name('three')}.json").unlink()
    path_of(dataset, f"_harvest/plans/{CRAWL}.plan").unlink()
    before = everything(dataset)
    done = Dataset.repair(dataset.location)
    assert done.rebuilt == ()
    assert "restore it from a copy" in done.undecided[0]
    assert everything(dataset) == before


def test_the_file_that_marks_a_dataset_is_rebuilt(dataset: Dataset, tmp_path: Path) -> None:
    path_of(dataset, "_harvest/dataset.json").unlink()
    with pytest.raises(DatasetError, match="harvester repair"):
        Dataset.create(dataset.location)
    assert Dataset.repair(dataset.location).rebuilt == ("_harvest/dataset.json",)
    assert len(rows(Dataset.open(dataset.location))) == 9
    with pytest.raises(DatasetError, match="no such dataset"):
        Dataset.repair(tmp_path / "none")


def test_a_missing_part_is_named_before_anything_is_deleted(dataset: Dataset) -> None:
    part = next(part for part in dataset.parts("instances") if "compacted" in part.path)
    path_of(dataset, part.path).unlink()
    before = everything(dataset)
    with pytest.raises(DatasetError, match=rf"{part.path} is missing"):
        sweep(dataset)
    assert everything(dataset) == before


def test_a_snapshot_of_an_earlier_time_is_recognised(dataset: Dataset) -> None:
    earlier = path_of(dataset, SNAPSHOT).read_bytes()
    compact(dataset, 0)
    before, latest = rows(dataset), path_of(dataset, SNAPSHOT).read_bytes()
    path_of(dataset, SNAPSHOT).write_bytes(earlier)
    with pytest.raises(DatasetError, match="older than the dataset"):
        sweep(dataset)
    path_of(dataset, SNAPSHOT).write_bytes(latest)
    sweep(dataset)
    assert rows(dataset) == before


HOSTILE = ["/etc/passwd", "../../victim.txt", "failures/../../victim.txt", "failures/my.data.0.parquet"]


@pytest.mark.parametrize("path", HOSTILE)
@pytest.mark.parametrize("record", ["merged", "compacted", "commits", "next", "open"])
def test_records_of_someone_else_delete_nothing_of_the_user(dataset: Dataset, path: str, record: str) -> None:
    victim = Path(dataset.location).parent.parent / "victim.txt"
    victim.write_text("mine")
    mine = path_of(dataset, "failures/my.data.0.parquet")
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("mine")
    said = json.loads(path_of(dataset, SNAPSHOT).read_text())
    part = {"path": path, "rows": 1, "bytes": 4}
    if record == "merged":
        said["merged"].append(path)
    elif record == "compacted":
        said["compacted"].append(part)
    elif record == "commits":
        said["commits"][path] = {"size": 1, "time": 1, "parts": []}
    if record == "open":
        shard = path_of(dataset, f"_harvest/open/{CRAWL}.{hex_name('four')}.json")
        shard.parent.mkdir(exist_ok=True)
        shard.write_text(json.dumps({"committed": [path]}))
    else:
        name = "_harvest/snapshot.next.json" if record == "next" else SNAPSHOT
        if record == "next":
            said |= {"generation": 2, "compacted": [part]}
        path_of(dataset, name).write_text(json.dumps(said))
    for command in (sweep, compact):
        # The record of an open shard is read only where parts of the shard are left.
        with suppress(DatasetError) if record == "open" else pytest.raises(DatasetError):
            command(dataset)
    assert victim.read_text() == "mine"
    assert mine.read_text() == "mine"
    assert Path("/etc/passwd").exists()


@pytest.mark.parametrize(
    "folder", ["instances", "instances/collection_id=c", "_harvest/commits", "_harvest/staged"]
)
def test_no_link_on_the_way_is_followed(dataset: Dataset, folder: str, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    place = path_of(dataset, folder)
    if place.exists():
        shutil.move(place, outside)
    else:
        part = outside / f"failures/{'a' * 16}.{'b' * 16}.0.parquet"
        part.parent.mkdir(parents=True)
        part.write_text("mine")
    place.symlink_to(outside)
    before = {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()}
    for command in (sweep, compact):
        with suppress(DatasetError):
            command(dataset)
    assert {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()} == before
