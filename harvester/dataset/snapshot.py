"""Which parts count, and their columns: the commits summed up, so that opening reads one file and not each.

What the record does not know yet, because it was committed since, is read from the commits and the parts
themselves. So a lost record costs time and nothing else, unless a compaction wrote it: only the record
says that parts of the commits have given way to larger ones.
"""

import base64
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from harvester.dataset.commits import Part, read_commits_at
from harvester.dataset.paths import COMMITS, GENERATIONS, NEXT_SNAPSHOT, REPLACED, SNAPSHOT, TABLES, TableName
from harvester.dataset.schema_merge import unite
from harvester.dataset.storage import LocalStorage, Storage
from harvester.errors import DatasetError

# A part that is gone because the dataset changed while it was read: the dataset is read again.
_ATTEMPTS = 5


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True, slots=True)
class Committed:
    """What a commit record says that is still so: by size and time (ns) of its file, its parts."""

    size: int
    time: int
    parts: tuple[Part, ...]


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True, slots=True)
class Record:
    """The snapshot as it is kept.

    Attributes:
        generation: How often the dataset was compacted.
        compacted: Parts that compactions wrote.
        merged: Paths of parts that commits name and that are in those.
        commits: What each commit record adds, by its path.
        columns: The columns of all these parts, by table: a schema as Arrow serializes it, in Base64.
        kept: Until when the parts that a generation had are kept, for those who opened it.
        format: The version of this record's form.
    """

    generation: int = 0
    compacted: tuple[Part, ...] = ()
    merged: tuple[str, ...] = ()
    commits: Mapping[str, Committed] = field(default_factory=dict)
    columns: Mapping[TableName, str] = field(default_factory=dict)
    kept: Mapping[int, datetime] = field(default_factory=dict)
    format: Literal[1] = 1


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The parts that count at one moment.

    Attributes:
        record: What was known of them before.
        commits: What each commit record adds, by its path.
        storage: The dataset's files.
    """

    record: Record
    commits: Mapping[str, Committed]
    storage: Storage

    @property
    def parts(self) -> Iterator[Part]:
        """All parts, of all tables."""
        yield from self.record.compacted
        for commit in self.commits.values():
            yield from commit.parts

    def files(self, kind: TableName) -> list[str]:
        """Where DuckDB finds one table's parts, which a compaction meanwhile does not take away."""
        lead = self._lead(kind)
        return [f"{self.storage.folder}/{lead}{part.path}" for part in self.parts if part.kind == kind]

    @property
    def kept_folder(self) -> str:
        """Where the links among these files lead, after a compaction: to kept parts, and nothing else."""
        return f"{self.storage.folder}/{REPLACED}/{self.record.generation}"

    def columns(self, kind: TableName) -> pa.Schema:
        """The columns of all parts of a table, united.

        Raises:
            DatasetError: A part cannot be read.
            FileNotFoundError: A part is not there.
        """
        known = _decoded(self.record.columns.get(kind))
        before = set(self.record.compacted).union(*(one.parts for one in self.record.commits.values()))
        fresh = [part.path for part in self.parts if part.kind == kind and part not in before]
        with ThreadPoolExecutor() as threads:
            return unite([known, *threads.map(partial(_schema, self.storage, self._lead(kind)), fresh)])

    def _lead(self, kind: TableName) -> str:
        """What stands before a part's path: in a directory a link, which compactions turn."""
        lead = f"{GENERATIONS}/{self.record.generation}/"
        there = isinstance(self.storage, LocalStorage) and (self.storage.root / lead / kind).is_symlink()
        return lead if there else ""


def read_snapshot(storage: Storage) -> Snapshot:
    """Tell which parts count now.

    Raises:
        DatasetError: The record, or a commit that is newer, is corrupt.
    """
    record = _read_record(storage)
    merged = frozenset(record.merged)
    commits = {}
    fresh = {}
    for path, (size, time) in sorted(storage.stamps(COMMITS).items()):
        seen = record.commits.get(path)
        if seen is None or (seen.size, seen.time) != (size, time):
            fresh[path] = seen = Committed(size, time, ())
        commits[path] = seen
    for path, commit in zip(fresh, read_commits_at(storage, fresh), strict=True):
        parts = tuple(part for part in commit.parts if part.path not in merged)
        commits[path] = replace(fresh[path], parts=parts)
    return Snapshot(record, commits, storage)


def read_columns(storage: Storage) -> tuple[Snapshot, dict[TableName, pa.Schema]]:
    """Tell which parts count now, and which columns they have.

    Raises:
        DatasetError: A record is corrupt, or a part is missing or cannot be read.
    """
    for attempt in range(_ATTEMPTS):
        snapshot = read_snapshot(storage)
        try:
            return snapshot, {kind: snapshot.columns(kind) for kind in TABLES}
        except FileNotFoundError as error:
            # Gone for good, or only replaced since its commit was read.
            if attempt and read_snapshot(storage) == snapshot:
                message = f"{error.filename}: this part is missing, though a commit names it"
                raise DatasetError(
                    f"{message}; restore it from a copy, or crawl into a new dataset"
                ) from error
    raise DatasetError(f"{storage.location}: changes faster than it can be read; try again")


def write_checkpoint(storage: Storage) -> None:
    """Sum up the commits so far; nothing is written if nothing was committed since the last time.

    Raises:
        DatasetError: A record is corrupt, a part cannot be read, or the file cannot be written.
    """
    snapshot, columns = read_columns(storage)
    if snapshot.commits != snapshot.record.commits:
        write_record(
            storage, SNAPSHOT, with_columns(replace(snapshot.record, commits=snapshot.commits), columns)
        )


def with_columns(record: Record, columns: Mapping[TableName, pa.Schema]) -> Record:
    """A record that knows its columns."""
    texts = {
        kind: base64.b64encode(schema.serialize().to_pybytes()).decode() for kind, schema in columns.items()
    }
    return replace(record, columns=texts)


_RECORD = TypeAdapter(Record)


def write_record(storage: Storage, path: str, record: Record) -> None:
    """Write a record whole.

    Raises:
        DatasetError: It cannot be written, or the lock that it is written under is lost.
    """
    storage.confirm()
    with storage.write(path) as stream:
        stream.write(_RECORD.dump_json(record))


def next_record(storage: Storage) -> Record | None:
    """The record of a compaction that is being published, or None.

    Raises:
        DatasetError: It is corrupt.
    """
    return _read_record(storage, NEXT_SNAPSHOT) if storage.exists(NEXT_SNAPSHOT) else None


def current_record(storage: Storage) -> Record:
    """The record as it is kept.

    Raises:
        DatasetError: It is corrupt.
    """
    return _read_record(storage)


def _decoded(text: str | None) -> pa.Schema:
    if text is None:
        return pa.schema([])
    try:
        return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))
    except (ValueError, OSError, pa.ArrowException) as error:
        raise DatasetError(f"{SNAPSHOT}: corrupt columns ({error})") from error


def _schema(storage: Storage, lead: str, path: str) -> pa.Schema:
    file = f"{storage.folder}/{path}"
    try:
        return pq.read_schema(storage.file(f"{lead}{path}"), filesystem=storage.filesystem)
    except FileNotFoundError as error:
        raise FileNotFoundError(error.errno, error.strerror, file) from error
    except (OSError, pa.ArrowException) as error:
        raise DatasetError(f"{file}: this part cannot be read ({' '.join(str(error).split())})") from error


def _read_record(storage: Storage, path: str = SNAPSHOT) -> Record:
    if not storage.exists(path):
        return Record()
    try:
        return _RECORD.validate_json(storage.read(path), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        raise DatasetError(
            f"{storage.location}/{path}: corrupt snapshot ({where or 'text'}: {first['msg']}); "
            "restore it from a copy of the dataset, or crawl into a new one"
        ) from error
