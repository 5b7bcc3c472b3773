"""Runs the writing commands on random datasets with damaged records, in thousands of cases.

A dataset is in a directory, or in a bucket, where no file can be a link.
"""

import random
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

import pyarrow as pa
from hex_names import hex_name
from pyarrow import fs

from harvester.dataset import CompactionOptions, Dataset, Partition, Tombstone, Tombstones
from harvester.dataset.storage import Storage
from harvester.errors import DatasetError, HarvesterError
from harvester.model import Failure, Plan, Series, Shard

Rows = Counter[tuple[str, str]]

STRANGERS = ("instances/collection_id=c/Modality=CT/mine.parquet", "failures/my.data.0.parquet")


@dataclass(frozen=True)
class Files:
    """The files of a dataset as anyone can change them."""

    storage: Storage

    @property
    def root(self) -> Path | None:
        return Path(self.storage.location) if self.storage.filesystem is None else None

    def read(self, path: str) -> bytes | None:
        if self.root is not None:
            return (self.root / path).read_bytes() if (self.root / path).exists() else None
        return self.storage.find(path)

    def write(self, path: str, content: bytes) -> None:
        if self.root is not None:
            self.remove(path)
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            (self.root / path).write_bytes(content)
        else:
            with self.filesystem.open_output_stream(self.storage.file(path)) as stream:
                stream.write(content)

    def remove(self, path: str) -> None:
        if self.root is not None:
            (self.root / path).unlink(missing_ok=True)
        elif self.storage.exists(path):
            self.filesystem.delete_file(self.storage.file(path))

    @property
    def filesystem(self) -> fs.FileSystem:
        assert self.storage.filesystem is not None
        return self.storage.filesystem

    def records(self) -> list[str]:
        return sorted(self.storage.list_files("_harvest"))


@dataclass
class RandomDataset:
    """A dataset with a random history, and foreign files in its folders."""

    place: str
    chance: random.Random
    shards: int = 0

    @cached_property
    def made(self) -> Dataset:
        return Dataset.create(self.place)

    @property
    def dataset(self) -> Dataset:
        # To open one in a bucket makes its clients anew, which takes a second.
        return Dataset.open(self.place) if self.files.root else self.made

    @property
    def files(self) -> "Files":
        return Files(self.made.storage)

    def build(self) -> None:
        """Crawls, compactions, prunes and revisions, in random order."""
        self.crawl()
        for _ in range(self.chance.randrange(5)):
            self.chance.choice([self.crawl, self.compact, self.compact, self.revise, self.prune])()
        for path in STRANGERS:
            self.files.write(path, b"a stranger's")

    def crawl(self) -> None:
        crawl = hex_name(f"crawl {self.shards}")
        shards = [
            Shard(hex_name(f"shard {number}"), (Series(hex_name(f"series {number}")),))
            for number in range(self.shards, self.shards + self.chance.randrange(1, 3))
        ]
        self.shards += len(shards)
        with self.dataset.lock() as lock:
            dataset = self.dataset.under(lock)
            dataset.sweep(lock)
            dataset.save_plan(Plan(crawl, tuple(shards)))
            for shard in shards:
                key = shard.series[0].key
                rows = [f"{key}.{number}" for number in range(self.chance.randrange(1, 4))]
                writer = dataset.shard_writer(crawl, shard.name)
                table = pa.table(
                    {
                        "SOPInstanceUID": rows,
                        "SeriesInstanceUID": [key] * len(rows),
                        "crdc_series_uuid": [key] * len(rows),
                        "instance_url": [f"s3://b/{row}" for row in rows],
                    }
                )
                writer.write_instances(table, Partition("c", self.chance.choice(["CT", "MR"])))
                if self.chance.random() < 0.3:
                    writer.write_failures([Failure(f"s3://b/{key}", "truncated", "x")], harvester_version="1")
                counts = {key: (len(rows), 0)}
                writer.commit(counts, requests=1, bytes_fetched=1, seconds=1, versions={})
            if self.chance.random() < 0.3:  # interrupted in a shard
                killed = dataset.shard_writer(crawl, hex_name(f"killed {self.shards}"))
                killed.write_instances(pa.table({"SOPInstanceUID": ["never"]}), Partition("c", "CT"))
            if self.chance.random() < 0.8:
                dataset.checkpoint(lock)

    def compact(self) -> None:
        keep = timedelta(hours=self.chance.choice([0, 24]))
        with self.dataset.lock() as lock:
            self.dataset.compact(lock, CompactionOptions(keep=keep))

    def revise(self) -> None:
        """The release of the catalog leaves out some series."""
        keys = [key for commit in self.dataset.commits() for key in commit.series]
        gone = self.chance.sample(keys, min(len(keys), 1))
        mark = Tombstone(superseded_in=2, superseded_at=datetime.now(UTC).replace(tzinfo=None))
        with self.dataset.lock() as lock:
            self.dataset.save_marks(lock, Tombstones(2, dict.fromkeys(gone, mark)))

    def prune(self) -> None:
        with self.dataset.lock() as lock:
            self.dataset.prune(lock, CompactionOptions(keep=timedelta(0)))

    def sweep(self) -> None:
        with self.dataset.lock() as lock:
            self.dataset.sweep(lock)

    def repair(self) -> None:
        if undecided := Dataset.repair(self.place).undecided:
            raise DatasetError(undecided[0])

    def rows(self) -> Rows:
        """All valid rows, except those that a prune may remove."""
        snapshot, _columns = self.dataset.snapshot()
        superseded = set(self.dataset.marks().series)
        found: Rows = Counter()
        for path in snapshot.locate(part.path for part in snapshot.parts):
            with self.dataset.storage.parquet(path) as file:
                table = file.read()
            if path.startswith("failures/") or "failures/" in path:
                found.update(("failures", url) for url in table["instance_url"].to_pylist())
                continue
            uuids = table["crdc_series_uuid"].to_pylist()
            for uid, uuid in zip(table["SOPInstanceUID"].to_pylist(), uuids, strict=True):
                if uuid not in superseded:
                    found["instances", uid] += 1
        return found

    def strangers(self) -> list[bytes | None]:
        return [self.files.read(path) for path in STRANGERS]


def damage(files: Files, chance: random.Random, outside: Path) -> tuple[str, str, bytes]:
    """Lose, truncate, replace or link one file under `_harvest`; returns how, which, and its content."""
    records = files.records()
    # The files whose loss is worst are few: half of the cases are theirs.
    important = [path for path in records if path.endswith(".json")]
    path = chance.choice(important if chance.random() < 0.5 and important else records)
    content = files.read(path) or b""
    how = chance.choice(["lost", "cut", "replaced", "emptied", *(["linked"] if files.root else [])])
    files.remove(path)
    if how == "cut":
        files.write(path, content[: len(content) // 2])
    elif how == "replaced":
        files.write(path, chance.choice([b"{}", *filter(None, map(files.read, records))]))
    elif how == "emptied":
        files.write(path, b"")
    elif how == "linked" and files.root is not None:
        (outside / "target").write_bytes(content)
        (files.root / path).symlink_to(outside / "target")
    return how, path, content


def check_case(folder: Path, seed: int, place: str | None = None) -> str:
    """One case: returns what happened; raises AssertionError if a row or a foreign file is gone.

    Args:
        folder: A folder for this case.
        seed: Determines the case.
        place: Where the dataset is made; by default in the folder.
    """
    chance = random.Random(seed)
    folder.mkdir(parents=True)
    outside = folder / "outside"
    outside.mkdir()
    made = RandomDataset(place or str(folder / "ds"), chance)
    made.build()
    before, strangers = made.rows(), made.strangers()
    how, which, content = damage(made.files, chance, outside)
    name, command = chance.choice(commands(made))
    case = f"case {seed}: {which} {how}, then {name}"
    try:
        command()
        outcome = "done"
    except HarvesterError as error:
        case += f" ({error})"
        outcome = "refused"
    assert made.strangers() == strangers, f"{case}: a stranger's file is gone"
    if how == "linked":
        assert (outside / "target").read_bytes() == content, f"{case}: it was written through a link"
    if outcome == "refused":
        made.files.write(which, content)
    assert not lost(before, made), f"{case}, {outcome}: rows are gone"
    shutil.rmtree(folder)
    return f"{outcome} ({name})"


def commands(made: RandomDataset) -> list[tuple[str, Callable[[], object]]]:
    """The commands that write."""
    return [
        ("sweep", made.sweep),
        ("crawl", made.crawl),
        ("compact", made.compact),
        ("prune", made.prune),
        ("repair", made.repair),
    ]


def lost(before: Rows, made: RandomDataset) -> bool:
    """Whether a row is gone or there twice; unreadable counts as gone."""
    try:
        now = made.rows()
    except HarvesterError:
        return True
    return any(now[row] != times for row, times in before.items())
