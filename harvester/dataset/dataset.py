"""A dataset: a directory of Parquet parts, and the records of which of them count."""

import json
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pyarrow as pa

from harvester.dataset.bucket import BucketStorage
from harvester.dataset.bucket.address import is_bucket_address
from harvester.dataset.commits import Commit, Part, read_commit, read_commits
from harvester.dataset.lock import Lock
from harvester.dataset.maintenance.compact import Compaction, CompactionOptions, compact
from harvester.dataset.maintenance.generations import link_generation
from harvester.dataset.maintenance.orphans import sweep
from harvester.dataset.maintenance.prune import Pruned, find_prunable, prune
from harvester.dataset.paths import MARKER, PRIVATE, TableName
from harvester.dataset.plans import load_plan, save_plan
from harvester.dataset.shard_writer import ShardWriter
from harvester.dataset.snapshot import Snapshot, read_columns, read_snapshot, write_checkpoint
from harvester.dataset.storage import LocalStorage, Storage
from harvester.dataset.tombstones import Tombstones, read_marks, write_marks
from harvester.errors import DatasetError
from harvester.model import Plan

_FORMAT = {"format": "harvester dataset", "version": 1}


@dataclass(frozen=True, slots=True)
class Dataset:
    """A directory that holds `instances`, `frames` and `failures`; make one by `open` or `create`."""

    storage: Storage

    @classmethod
    def open(cls, path: str | Path, *, token: str | None = None) -> Self:
        """Open a dataset that is there.

        Args:
            path: Its directory, or `s3://BUCKET/PREFIX` or `gs://BUCKET/PREFIX` (see `BucketAddress`).
            token: Of the lock under which it will be written; only buckets ask for one.

        Raises:
            DatasetError: There is nothing, or something else.
        """
        storage = _storage(path, token)
        text = _marker(storage)
        if text is None:
            raise _no_dataset(storage)
        where = f"{storage.folder}/{MARKER}"
        try:
            marker = json.loads(text)
        except ValueError as error:
            raise DatasetError(f"{where}: corrupt ({error}); it should be {_FORMAT}") from error
        if marker != _FORMAT:
            raise DatasetError(f"{where}: this version of harvester reads {_FORMAT}, not {marker}")
        return cls(storage)

    @classmethod
    def create(cls, path: str | Path) -> Self:
        """Open a dataset, and make it first if there is none: in a new or an empty directory.

        Raises:
            DatasetError: The path holds something else, or cannot be written.
        """
        storage = _storage(path)
        if _marker(storage) is not None or (isinstance(storage, LocalStorage) and storage.root.is_file()):
            return cls.open(path)
        if stranger := _strangers(storage):
            raise DatasetError(
                f"{storage.folder}: holds other things ({stranger!r}) and is not a dataset; "
                "name a new or an empty directory"
            )
        if isinstance(storage, LocalStorage):
            link_generation(storage, 0)
        with storage.write(MARKER) as stream:
            stream.write(json.dumps(_FORMAT).encode())
        return cls(storage)

    def under(self, lock: Lock) -> Self:
        """The same dataset, whose writers see before each commit that the lock still holds."""
        return type(self)(_under(self.storage, lock))

    @property
    def location(self) -> str:
        """The dataset's absolute path, or its address in a bucket."""
        return self.storage.location

    def lock(self) -> AbstractContextManager[Lock]:
        """Hold the dataset for one crawl while the block runs.

        Raises:
            DatasetBusyError: Another process holds it; the message says which.
        """
        return self.storage.lock()

    def sweep(self, lock: Lock) -> list[str]:
        """Delete what a killed crawl left behind that no commit names; return the paths.

        Raises:
            DatasetError: A commit record is corrupt, or a file cannot be deleted.
        """
        return sweep(_under(self.storage, lock), lock)

    def save_plan(self, plan: Plan) -> None:
        """Keep a plan, so that a killed crawl finds the same shards again.

        Raises:
            DatasetError: It cannot be written.
        """
        save_plan(self.storage, plan)

    def load_plan(self, name: str) -> Plan | None:
        """Read a plan back, or None if there is none of that name.

        Raises:
            DatasetError: It is corrupt.
        """
        return load_plan(self.storage, name)

    def shard_writer(self, crawl: str, shard: str, *, replacing: Commit | None = None) -> ShardWriter:
        """Begin a shard's parts.

        Args:
            crawl: The crawl's name, which is its plan's.
            shard: The shard's name.
            replacing: The shard's commit, if its failures are taken again.
        """
        return ShardWriter(self.storage, crawl, shard, replacing=replacing)

    def find_commit(self, crawl: str, shard: str) -> Commit | None:
        """Read the record of one shard, or None if it is not done.

        Raises:
            DatasetError: It is corrupt.
        """
        return read_commit(self.storage, crawl, shard)

    def commits(self) -> Iterator[Commit]:
        """Read the records of all shards that are done, of every crawl.

        Raises:
            DatasetError: A record is corrupt; the message names its file.
        """
        return read_commits(self.storage)

    def parts(self, kind: TableName) -> list[Part]:
        """List the parts of one table that count now: those of the commits, or what they were merged into.

        Raises:
            DatasetError: A commit record is corrupt.
        """
        return [part for part in read_snapshot(self.storage).parts if part.kind == kind]

    def harvested(self, urls: AbstractSet[str], kind: TableName) -> set[str]:
        """Which of these objects have a row in a table, whichever series they were harvested with.

        Raises:
            DatasetError: A commit record is corrupt.
        """
        found: set[str] = set()
        for part in self.parts(kind):
            with self.storage.parquet(part.path) as file:
                for batch in file.iter_batches(columns=["instance_url"]):
                    found |= urls & set(batch.column(0).to_pylist())
        return found

    def snapshot(self) -> tuple[Snapshot, dict[TableName, pa.Schema]]:
        """Tell which parts count now, and the columns of each table's parts, united.

        Raises:
            DatasetError: A record is corrupt, or a part is missing or cannot be read.
        """
        return read_columns(self.storage)

    def marks(self) -> Tombstones:
        """What became of rows since they were harvested.

        Raises:
            DatasetError: The marks are corrupt.
        """
        return read_marks(self.storage)

    def save_marks(self, lock: Lock, marks: Tombstones) -> None:
        """Replace the marks.

        Raises:
            DatasetError: They cannot be written.
        """
        write_marks(_under(self.storage, lock), marks)

    def checkpoint(self, lock: Lock) -> None:
        """Sum up the commits so far, so that the dataset opens at once, however many there are.

        Raises:
            DatasetError: A record is corrupt, a part cannot be read, or the file cannot be written.
            ValueError: The lock is another dataset's.
        """
        if lock.location != self.location:
            raise ValueError(f"the lock is of {lock.location}, not of {self.location}")
        write_checkpoint(_under(self.storage, lock))

    def prunable(self, before: int | None = None) -> Pruned:
        """Say what `prune` would remove.

        Raises:
            DatasetError: The dataset cannot be read.
        """
        return find_prunable(self.storage, before)

    def prune(
        self, lock: Lock, options: CompactionOptions | None = None, *, before: int | None = None
    ) -> Pruned:
        """Remove the rows that are superseded.

        Args:
            lock: Proof that nobody else writes.
            options: How parts are written anew.
            before: Only series that a release earlier than this one had no more.

        Raises:
            DatasetError: A record or a part is corrupt, the disk is full, or the place refuses.
        """
        return prune(_under(self.storage, lock), lock, options or CompactionOptions(), before)

    def compact(self, lock: Lock, options: CompactionOptions | None = None) -> Compaction:
        """Merge the small parts of each partition into large ones, sorted by series.

        Raises:
            DatasetError: A record or a part is corrupt, the disk is full, or the file system cannot.
        """
        return compact(_under(self.storage, lock), lock, options or CompactionOptions())


def _storage(path: str | Path, token: str | None = None) -> Storage:
    if is_bucket_address(path):
        return BucketStorage.open(str(path), token)
    try:
        return LocalStorage(Path(path).expanduser().resolve())
    except (OSError, RuntimeError, ValueError) as error:
        raise DatasetError(f"{str(path)!r}: not a usable path ({error})") from error


def _marker(storage: Storage) -> bytes | None:
    """The file that says that this is a dataset, if it is there."""
    if isinstance(storage, BucketStorage):
        return storage.probe(MARKER)
    return storage.read(MARKER) if storage.exists(MARKER) else None


def _under(storage: Storage, lock: Lock) -> Storage:
    return storage.under(lock.token) if isinstance(storage, BucketStorage) else storage


def _no_dataset(storage: Storage) -> DatasetError:
    where = storage.folder
    if isinstance(storage, BucketStorage):
        storage.require_bucket(to_write=False)
        nothing = next(storage.list_files(""), None) is None
    else:
        nothing = not Path(where).exists()
        if Path(where).is_file():
            return DatasetError(f"{where}: a dataset is a directory, this is a file")
    if nothing:
        return DatasetError(f"{where}: no such dataset; make it by `harvester crawl`, or check the path")
    return DatasetError(
        f"{where}: not a dataset ({MARKER} is missing); name the directory that "
        "the crawl's configuration calls `dataset`"
    )


def _strangers(storage: Storage) -> str | None:
    """The name of something in the dataset's place that is none of ours; a directory is made."""
    if isinstance(storage, BucketStorage):
        storage.require_bucket(to_write=True)
        names = {path.partition("/")[0] for path in storage.list_files("")}
    else:
        root = Path(storage.folder)
        try:
            root.mkdir(parents=True, exist_ok=True)
            names = {entry.name for entry in root.iterdir()}
        except OSError as error:
            raise DatasetError(f"{root}: cannot be made a dataset ({error.strerror})") from error
    return min(names - {PRIVATE}, default=None)
