"""A dataset: Parquet parts, and the records of which of them count."""

import json
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

import pyarrow as pa

from harvester.dataset.bucket import BucketStorage
from harvester.dataset.bucket.address import is_bucket_address
from harvester.dataset.commits import Commit, Part, commit_stamps, read_commit, read_commits
from harvester.dataset.directory import LocalStorage
from harvester.dataset.lock import Lock
from harvester.dataset.maintenance.compact import Compaction, CompactionOptions, compact, compact_grown
from harvester.dataset.maintenance.orphans import sweep
from harvester.dataset.maintenance.prune import Pruned, find_prunable, prune
from harvester.dataset.maintenance.repair import Repair, repair
from harvester.dataset.paths import COMMITS, MARKER, OPEN_RECORDED, PRIVATE, TableName
from harvester.dataset.plans import load_plan, save_plan
from harvester.dataset.shard_writer import ShardWriter
from harvester.dataset.snapshot import Snapshot, read_columns, read_snapshot, write_checkpoint
from harvester.dataset.storage import Storage
from harvester.dataset.tombstones import Tombstones, read_marks, write_marks
from harvester.errors import DatasetError
from harvester.messages import short_repr
from harvester.model import Plan

_FORMAT: Final = {"format": "harvester dataset", "version": 1}


@dataclass(frozen=True, slots=True)
class Dataset:
    """The tables `instances`, `frames` and `failures`; make one by `open` or `create`.

    Every method raises DatasetError where a record is corrupt, or the storage refuses.
    """

    storage: Storage

    @classmethod
    def open(cls, path: str | Path, *, token: str | None = None) -> Self:
        """Open an existing dataset.

        Args:
            path: Its directory, or `s3://BUCKET/PREFIX` or `gs://BUCKET/PREFIX` (see `BucketAddress`).
            token: The lock under which it will be written.

        Raises:
            DatasetError: There is no dataset.
        """
        storage = _storage(path, token)
        text = storage.find(MARKER)
        if text is None:
            raise DatasetError(
                storage.missing()
                or f"{storage.folder}: not a dataset ({MARKER} is missing); name the directory that "
                "the crawl's configuration calls `dataset`"
            )
        if _is_corrupt(storage, text):
            raise storage.error(MARKER, f"corrupt; run `harvester repair -d {storage.folder}`")
        return cls(storage)

    @classmethod
    def create(cls, path: str | Path) -> Self:
        """Open a dataset; make it first if the directory or prefix is empty.

        Raises:
            DatasetError: The place holds other things, or cannot be written.
        """
        storage = _storage(path)
        if storage.find(MARKER) is not None:
            return cls.open(path)
        if others := storage.prepare() - {PRIVATE}:
            raise DatasetError(
                f"{storage.folder}: holds other things ({min(others)!r}) and is not a dataset; "
                "name a new or an empty directory; if it was one, run `harvester repair`"
            )
        with storage.write(OPEN_RECORDED) as stream:
            stream.write(b'{"every shard without a commit has a record in": "open/"}')
        _mark(storage)
        return cls(storage)

    @classmethod
    def repair(cls, path: str | Path, *, dry_run: bool = False) -> Repair:
        """Rebuild lost or corrupt records of a dataset, where that is certain.

        Args:
            path: Its directory or address.
            dry_run: Only report.

        Raises:
            DatasetError: There is no dataset, or it cannot be read or written.
        """
        storage = _storage(path)
        text = storage.find(MARKER)
        marked = text is not None and not _is_corrupt(storage, text)
        if not marked and not commit_stamps(storage):
            raise DatasetError(storage.missing() or f"{storage.folder}: not a dataset ({COMMITS} is empty)")
        with storage.lock() as lock:
            done = repair(storage.under(lock.token), dry_run=dry_run)
            if marked:
                return done
            if not dry_run:
                _mark(storage)
        return replace(done, rebuilt=(MARKER, *done.rebuilt))

    def under(self, lock: Lock) -> Self:
        """The same dataset; its writers check before each commit that the lock still holds."""
        return type(self)(self.storage.under(lock.token))

    @property
    def location(self) -> str:
        """The dataset's absolute path, or its address in a bucket."""
        return self.storage.location

    def lock(self) -> AbstractContextManager[Lock]:
        """Hold the dataset for one writer while the block runs.

        Raises:
            DatasetBusyError: Another process holds it; the message names it.
        """
        return self.storage.lock()

    def sweep(self, lock: Lock) -> list[str]:
        """Delete what an interrupted crawl left and no commit names; return the paths."""
        return sweep(self.under(lock).storage, lock)

    def save_plan(self, plan: Plan) -> None:
        """Keep a plan, so that an interrupted crawl continues with the same shards."""
        save_plan(self.storage, plan)

    def load_plan(self, name: str) -> Plan | None:
        """Read a plan; None if there is none of that name."""
        return load_plan(self.storage, name)

    def shard_writer(self, crawl: str, shard: str, *, replacing: Commit | None = None) -> ShardWriter:
        """Begin a shard's parts.

        Args:
            crawl: The crawl's name, which is its plan's.
            shard: The shard's name.
            replacing: The shard's commit, if its failures are retried.
        """
        return ShardWriter(self.storage, crawl, shard, replacing=replacing)

    def find_commit(self, crawl: str, shard: str) -> Commit | None:
        """Read the record of one shard; None if it is not committed."""
        return read_commit(self.storage, crawl, shard)

    def commits(self) -> Iterator[Commit]:
        """Read the records of all committed shards, of every crawl."""
        return read_commits(self.storage)

    def parts(self, kind: TableName) -> list[Part]:
        """The parts of one table that count now: of the commits, or of the compactions that merged them."""
        return [part for part in read_snapshot(self.storage).parts if part.kind == kind]

    def harvested(self, urls: AbstractSet[str], kind: TableName) -> set[str]:
        """Those of these objects that have a row in a table."""
        found: set[str] = set()
        for part in self.parts(kind):
            with self.storage.part_reader(part.path) as file:
                for batch in file.iter_batches(columns=["instance_url"]):
                    found |= urls & set(batch.column(0).to_pylist())
        return found

    def snapshot(self) -> tuple[Snapshot, dict[TableName, pa.Schema]]:
        """The parts that count now, and the united columns of each table."""
        return read_columns(self.storage)

    def marks(self) -> Tombstones:
        """The series and objects that are superseded."""
        return read_marks(self.storage)

    def save_marks(self, lock: Lock, marks: Tombstones) -> None:
        """Replace the marks."""
        write_marks(self.under(lock).storage, marks)

    def checkpoint(self, lock: Lock) -> None:
        """Sum up the commits so far, so that the dataset opens fast, however many there are.

        Raises:
            ValueError: The lock is another dataset's.
        """
        if lock.location != self.location:
            raise ValueError(f"the lock is of {lock.location}, not of {self.location}")
        write_checkpoint(self.under(lock).storage)

    def prunable(self, before: int | None = None) -> Pruned:
        """What `prune` would remove."""
        return find_prunable(self.storage, before)

    def prune(
        self, lock: Lock, options: CompactionOptions | None = None, *, before: int | None = None
    ) -> Pruned:
        """Remove the rows of superseded series and objects.

        Args:
            lock: Of this dataset.
            options: How parts are rewritten, and how long replaced ones are kept.
            before: Only series that a release earlier than this one no longer had; None: all superseded ones.
        """
        return prune(self.under(lock).storage, lock, options or CompactionOptions(), before)

    def compact(self, lock: Lock, options: CompactionOptions | None = None) -> Compaction:
        """Merge the small parts of each partition into large ones, sorted by series."""
        return compact(self.under(lock).storage, lock, options or CompactionOptions())

    def compact_grown(self, lock: Lock, options: CompactionOptions, least_parts: int) -> Compaction | None:
        """Compact partitions with many small parts, where they have this number of small parts together."""
        return compact_grown(self.under(lock).storage, lock, options, least_parts)


def _is_corrupt(storage: Storage, text: bytes) -> bool:
    """Whether the file that marks a dataset is corrupt.

    Raises:
        DatasetError: It is another version's.
    """
    try:
        marker = json.loads(text)
    except ValueError:
        return True
    if not isinstance(marker, dict) or marker.get("format") != _FORMAT["format"]:
        return True
    if marker != _FORMAT:
        what = f"this version of harvester reads {_FORMAT}, not {short_repr(marker)}"
        raise storage.error(MARKER, what)
    return False


def _mark(storage: Storage) -> None:
    with storage.write(MARKER) as stream:
        stream.write(json.dumps(_FORMAT).encode())


def _storage(path: str | Path, token: str | None = None) -> Storage:
    if is_bucket_address(path):
        return BucketStorage.open(str(path), token)
    try:
        return LocalStorage(Path(path).expanduser().resolve(), token)
    except (OSError, RuntimeError, ValueError) as error:
        raise DatasetError(f"{str(path)!r}: not a usable path ({error})") from error
