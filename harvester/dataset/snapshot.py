"""Which parts count, and their columns: the commits summed up, so that opening a dataset reads one file.

Commits that are newer than the snapshot file are read one by one. Only the snapshot says that parts of the
commits were merged into larger ones.
"""

import base64
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import AwareDatetime, ConfigDict, TypeAdapter, ValidationError, with_config

from harvester.dataset.commits import Part, commit_stamps, read_commits_at
from harvester.dataset.paths import (
    COMMITS,
    REPLACED,
    SNAPSHOT,
    TABLES,
    TableName,
    generation_of_part,
    is_owned,
    is_part_path,
)
from harvester.dataset.schema_merge import foreign_column, unite
from harvester.dataset.storage import Storage
from harvester.errors import DatasetError
from harvester.messages import first_problem, one_line

# A part is missing while the dataset changes: it is read again, at most this often.
_ATTEMPTS: Final = 20


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True, slots=True)
class Committed:
    """The parts of a commit that still count, and size and time (ns) of its record's file."""

    size: int
    time: int
    parts: tuple[Part, ...]


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True, slots=True)
class Record:
    """The snapshot file.

    Attributes:
        generation: How often the dataset was compacted.
        compacted: Parts that compactions wrote.
        merged: Paths of parts that commits name and that are in those.
        commits: What each commit record adds, by its path.
        columns: The columns of all these parts, by table: an Arrow schema, serialized, in Base64.
        kept: Until when the replaced parts of a generation are kept for its readers.
        format: The version of this format.
    """

    generation: int = 0
    compacted: tuple[Part, ...] = ()
    merged: tuple[str, ...] = ()
    commits: Mapping[str, Committed] = field(default_factory=dict)
    columns: Mapping[TableName, str] = field(default_factory=dict)
    kept: Mapping[int, AwareDatetime] = field(default_factory=dict)
    format: Literal[1] = 1

    def __post_init__(self) -> None:
        strangers = [path for path in self.merged if not is_part_path(path)]
        strangers += [
            path for path in self.commits if not (path.startswith(f"{COMMITS}/") and is_owned(path))
        ]
        if strangers:
            raise ValueError(f"{strangers[0]!r} is not the path of a part or a commit")
        parts = [*self.compacted, *(part for commit in self.commits.values() for part in commit.parts)]
        if len({part.path for part in parts}) < len(parts):
            raise ValueError("a part is named twice")
        if any(not 0 < generation_of_part(part.path) <= self.generation for part in self.compacted):
            raise ValueError(f"a part is not of a compaction before generation {self.generation}")
        if self.generation < 0 or any(not 0 <= number < self.generation for number in self.kept):
            raise ValueError("the number of a generation is negative, or none that was")


_RECORD: Final = TypeAdapter(Record)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The parts that count at one moment.

    Attributes:
        record: The snapshot file.
        commits: What each commit record adds, by its path; newer than the file.
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

    def files(self, table: TableName) -> list[str]:
        """The files of a table's parts, for DuckDB: in a directory those that `locate` finds now."""
        paths = [part.path for part in self.parts if part.kind == table]
        found = self.locate(paths) if self.storage.filesystem is None else paths
        return [f"{self.storage.folder}/{path}" for path in found]

    def locate(self, paths: Iterable[str]) -> Iterator[str]:
        """Find parts: in their folders, or where later compactions keep them for readers of this snapshot."""
        return locate_parts(self.storage, paths, self.record.generation)

    def columns(self, table: TableName) -> pa.Schema:
        """The columns of all parts of a table, united.

        Raises:
            DatasetError: A part cannot be read.
            FileNotFoundError: A part is missing.
        """
        known = _decoded(self.storage, self.record.columns.get(table))
        before = set(self.record.compacted).union(*(one.parts for one in self.record.commits.values()))
        fresh = [part.path for part in self.parts if part.kind == table and part not in before]
        with ThreadPoolExecutor() as threads:
            return unite([known, *threads.map(partial(_schema, self.storage), self.locate(fresh))])


def locate_parts(storage: Storage, paths: Iterable[str], generation: int = 0) -> Iterator[str]:
    """Find parts: in their folders, or kept by a compaction of this generation or of a later one."""
    later: list[int] | None = None
    for path in paths:
        later = (
            [number for number in kept_generations(storage) if number >= generation]
            if later is None
            else later
        )
        if not later or storage.exists(path):
            yield path
        else:
            kept = (f"{REPLACED}/{number}/{path}" for number in later)
            yield next(filter(storage.exists, kept), path)


def missing_part_error(file: str, folder: str) -> DatasetError:
    """The error that a part is missing for good."""
    return DatasetError(
        f"{file}: this part is missing, though a commit names it; "
        f"restore it from a copy, or run `harvester repair -d {folder}`"
    )


def kept_generations(storage: Storage) -> list[int]:
    """The generations of which there are kept parts, in order."""
    names = {path.split("/")[2] for path in storage.list_files(REPLACED)}
    return sorted(int(name) for name in names if name.isdecimal())


def read_snapshot(storage: Storage) -> Snapshot:
    """Tell which parts count now.

    Raises:
        DatasetError: The record, or a commit that is newer, is corrupt.
    """
    record = read_record(storage) or Record()
    merged = frozenset(record.merged)
    commits = {}
    fresh = {}
    for path, (size, time) in sorted(commit_stamps(storage).items()):
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
            return snapshot, {table: snapshot.columns(table) for table in TABLES}
        except FileNotFoundError as error:
            # Missing for good, or only replaced since its commit was read.
            if attempt and read_snapshot(storage) == snapshot:
                raise missing_part_error(error.filename, storage.folder) from error
    raise DatasetError(f"{storage.location}: changes faster than it can be read; try again")


def write_checkpoint(storage: Storage) -> None:
    """Sum up the commits so far, unless nothing was committed since the last time.

    Raises:
        DatasetError: A record is corrupt, a part cannot be read, or the file cannot be written.
    """
    snapshot, columns = read_columns(storage)
    if snapshot.commits != snapshot.record.commits:
        record = replace(snapshot.record, commits=snapshot.commits)
        write_record(storage, SNAPSHOT, with_columns(record, columns))


def with_columns(record: Record, columns: Mapping[TableName, pa.Schema]) -> Record:
    """The record with its columns."""
    texts = {
        table: base64.b64encode(schema.serialize().to_pybytes()).decode() for table, schema in columns.items()
    }
    return replace(record, columns=texts)


def write_record(storage: Storage, path: str, record: Record) -> None:
    """Write a snapshot file.

    Raises:
        DatasetError: It cannot be written, or the lock is lost.
    """
    storage.confirm()
    with storage.write(path) as stream:
        stream.write(_RECORD.dump_json(record))


def read_record(storage: Storage, path: str = SNAPSHOT) -> Record | None:
    """Read a snapshot file; None where there is none.

    Raises:
        DatasetError: It is corrupt.
    """
    if not storage.exists(path):
        return None
    try:
        return _RECORD.validate_json(storage.read(path), strict=True)
    except ValidationError as error:
        raise DatasetError(
            f"{storage.location}/{path}: corrupt snapshot ({first_problem(error)}); "
            f"restore it from a copy, or run `harvester repair -d {storage.folder}`"
        ) from error


def _decoded(storage: Storage, text: str | None) -> pa.Schema:
    if text is None:
        return pa.schema([])
    try:
        schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))
        problem: object = foreign_column(schema)
    except (ValueError, OSError, pa.ArrowException) as error:
        problem = error
    if problem:
        what = f"corrupt snapshot (columns: {one_line(problem)})"
        raise storage.error(SNAPSHOT, f"{what}; run `harvester repair -d {storage.folder}`")
    return schema


def _schema(storage: Storage, path: str) -> pa.Schema:
    file = f"{storage.folder}/{path}"
    try:
        schema = pq.read_schema(storage.file(path), filesystem=storage.filesystem)
    except FileNotFoundError as error:
        raise FileNotFoundError(error.errno, error.strerror, file) from error
    except (OSError, pa.ArrowException) as error:
        raise storage.error(path, "this part cannot be read", error) from error
    if problem := foreign_column(schema):
        raise storage.error(path, f"is not a part of harvester: {problem}; restore it from a copy")
    return schema
