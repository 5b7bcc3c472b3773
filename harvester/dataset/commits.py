"""Commit records: a shard is done when its record exists; it names the shard's series and parts."""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Final, Literal

import pyarrow as pa
from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from harvester.dataset.harvest_columns import FAILURE_COLUMNS
from harvester.dataset.paths import (
    COMMITS,
    TABLES,
    TableName,
    commit_path,
    is_owned,
    is_part_path,
    require_name,
    shard_of_part,
)
from harvester.dataset.storage import Storage
from harvester.errors import DatasetError
from harvester.messages import first_problem

_CONCURRENT_READS: Final = 64
_TABLES: Final[dict[str, TableName]] = {name: name for name in TABLES}


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True, slots=True)
class Part:
    """One immutable Parquet file: its path in the dataset, rows, and size in bytes."""

    path: str
    rows: int
    bytes: int

    def __post_init__(self) -> None:
        if not is_part_path(self.path):
            raise ValueError(f"{self.path!r} is not the path of a part")
        if self.rows < 0 or self.bytes < 0:
            raise ValueError(f"{self.path}: its rows or bytes are negative")

    @property
    def kind(self) -> TableName:
        """The table that it is a part of."""
        return _TABLES[self.path.partition("/")[0]]


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True, slots=True)
class Commit:
    """The record of a harvested shard.

    Attributes:
        crawl: The crawl's name, which is its plan's.
        shard: The shard's name in that plan.
        series: The keys of its series, all of them done.
        parts: The files that hold their rows.
        requests: Requests sent, retries included.
        bytes_fetched: Bytes of response bodies received.
        seconds: From the shard's first request to its commit.
        versions: Versions of harvester and of the packages that determine its values.
        counts: Rows of `instances` and of `failures` of each series, by its key.
        committed_at: When, with its zone.
        generation: How often its failures were retried; each retry replaces the record.
        format: The version of this format.
    """

    crawl: str
    shard: str
    series: tuple[str, ...]
    parts: tuple[Part, ...]
    requests: int
    bytes_fetched: int
    seconds: float
    committed_at: datetime
    versions: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    generation: int = 0
    format: Literal[1] = 1

    def __post_init__(self) -> None:
        shard = f"{require_name(self.crawl)}.{require_name(self.shard)}"
        others = [part.path for part in self.parts if shard_of_part(part.path) != shard]
        if others or len({part.path for part in self.parts}) < len(self.parts):
            raise ValueError(f"{(others or ['a part'])[0]} is another shard's, or named twice")
        if self.generation < 0 or min(map(min, self.counts.values()), default=0) < 0:
            raise ValueError("a number of rows or retries is negative")

    @property
    def instances(self) -> int:
        """Rows of `instances`."""
        return sum(part.rows for part in self.parts if part.kind == "instances")

    @property
    def failures(self) -> int:
        """Rows of `failures`."""
        return sum(part.rows for part in self.parts if part.kind == "failures")


_RECORD: Final = TypeAdapter(Commit)


def write_commit(storage: Storage, commit: Commit, *, replacing: bool = False) -> None:
    """Write the record of a shard; its parts must all be written.

    Args:
        storage: The dataset's files.
        commit: The record.
        replacing: Whether there is a record of that name already.

    Raises:
        DatasetError: It cannot be written, or the lock is lost.
    """
    path = commit_path(commit.crawl, commit.shard)
    text = _RECORD.dump_json(commit, indent=1)
    if replacing and len(storage.find(path) or b"") == len(text):
        # Readers recognise a changed record by size and time, which S3 gives in whole seconds.
        text += b"\n"
    storage.confirm()
    with storage.write(path) as stream:
        stream.write(text)


def read_commits(storage: Storage) -> Iterator[Commit]:
    """Read all records, of every crawl, in the order of their names.

    Raises:
        DatasetError: A record is corrupt; the message names its file.
    """
    return read_commits_at(storage, sorted(commit_stamps(storage)))


def commit_stamps(storage: Storage) -> dict[str, tuple[int, int]]:
    """Size and modification time (ns) of each record, by its path; files of anyone else are left out."""
    return {path: stamp for path, stamp in storage.stamps(COMMITS).items() if is_owned(path)}


def read_commits_at(storage: Storage, paths: Iterable[str]) -> Iterator[Commit]:
    """Read the records at these paths, in their order; from a bucket several at once.

    Raises:
        DatasetError: A record is corrupt, or another shard's.
    """
    if storage.filesystem is None:
        yield from (_read_at(storage, path) for path in paths)
        return
    with ThreadPoolExecutor(_CONCURRENT_READS) as threads:
        yield from threads.map(partial(_read_at, storage), paths)


def read_commit(storage: Storage, crawl: str, shard: str) -> Commit | None:
    """Read the record of one shard; None if it is not committed.

    Raises:
        DatasetError: It is corrupt.
    """
    path = commit_path(crawl, shard)
    return _read_at(storage, path) if storage.exists(path) else None


def read_failures(storage: Storage, parts: Iterable[Part]) -> pa.Table:
    """The rows of `failures` in the parts of a commit.

    Raises:
        DatasetError: A part cannot be read.
    """
    tables = [FAILURE_COLUMNS.empty_table()]
    for part in parts:
        if part.kind == "failures":
            with storage.part_reader(part.path) as file:
                tables.append(file.read().cast(FAILURE_COLUMNS))
    return pa.concat_tables(tables)


def _read_at(storage: Storage, path: str) -> Commit:
    remedy = f"restore it from a copy, or run `harvester repair -d {storage.folder}`"
    try:
        commit = _RECORD.validate_json(storage.read(path), strict=True)
        if path == commit_path(commit.crawl, commit.shard):
            return commit
    except ValidationError as error:
        raise DatasetError(
            f"{storage.location}/{path}: corrupt commit record ({first_problem(error)}); {remedy}"
        ) from error
    raise DatasetError(f"{storage.location}/{path}: is the record of {commit.crawl}.{commit.shard}; {remedy}")
