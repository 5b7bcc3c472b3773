"""The record that makes a shard done: which series it harvested and which parts hold them."""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Final, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from harvester.dataset.paths import COMMITS, TABLES, TableName, commit_path, is_part_path
from harvester.dataset.storage import Storage
from harvester.errors import DatasetError

_READ_AT_ONCE: Final = 64


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

    @property
    def kind(self) -> TableName:
        """Which table it is a part of."""
        return next(kind for kind in TABLES if self.path.startswith(f"{kind}/"))


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True, slots=True)
class Commit:
    """What a shard harvested, for good.

    Attributes:
        crawl: The crawl's name, which is its plan's.
        shard: The shard's name in that plan.
        series: The keys of its series, all of them done.
        parts: The files that hold their rows.
        requests: Requests that were sent, retries included.
        bytes_fetched: Bytes of bodies that were received.
        seconds: From the shard's first request to its commit.
        versions: Of harvester, and of what its values depend on.
        counts: How many rows of `instances` and of `failures` each series gave, by its key.
        committed_at: When, with its zone.
        generation: How often its failures were taken again; then the record names other parts.
        format: The version of this record's form.
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

    @property
    def instances(self) -> int:
        """How many rows of `instances` it gave."""
        return sum(part.rows for part in self.parts if part.kind == "instances")

    @property
    def failures(self) -> int:
        """How many rows of `failures` it gave."""
        return sum(part.rows for part in self.parts if part.kind == "failures")


_RECORD = TypeAdapter(Commit)


def write_commit(storage: Storage, commit: Commit, *, replacing: bool = False) -> None:
    """Make a shard done; its parts must all be written.

    Args:
        storage: The dataset's files.
        commit: The record.
        replacing: Whether there is one of that name already.

    Raises:
        DatasetError: It cannot be written, or the lock that it is written under is lost.
    """
    path = commit_path(commit.crawl, commit.shard)
    text = _RECORD.dump_json(commit, indent=1)
    if replacing and storage.exists(path) and len(storage.read(path)) == len(text):
        # A record is known by size and time, and in some places by a time of whole seconds.
        text += b"\n"
    storage.confirm()
    with storage.write(path) as stream:
        stream.write(text)


def read_commits(storage: Storage) -> Iterator[Commit]:
    """Read the records of all shards that are done, of every crawl, in the order of their names.

    Raises:
        DatasetError: A record is corrupt; the message names its file.
    """
    return read_commits_at(storage, sorted(storage.list_files(COMMITS)))


def read_commits_at(storage: Storage, paths: Iterable[str]) -> Iterator[Commit]:
    """Read the records at these paths, in their order; from a bucket several at once.

    Raises:
        DatasetError: One is corrupt, or another shard's.
    """
    if storage.filesystem is None:
        yield from (read_commit_at(storage, path) for path in paths)
        return
    with ThreadPoolExecutor(_READ_AT_ONCE) as threads:
        yield from threads.map(partial(read_commit_at, storage), paths)


def read_commit_at(storage: Storage, path: str) -> Commit:
    """Read the record at a path, as `commit_path` says it.

    Raises:
        DatasetError: It is corrupt, or another shard's.
    """
    commit = _read_commit(storage, path)
    if path != commit_path(commit.crawl, commit.shard):
        raise DatasetError(
            f"{storage.location}/{path}: is the record of {commit.crawl}.{commit.shard}; "
            "delete it, and the crawl harvests its shard again"
        )
    return commit


def read_commit(storage: Storage, crawl: str, shard: str) -> Commit | None:
    """Read the record of one shard, or None if it is not done.

    Raises:
        DatasetError: It is corrupt.
    """
    path = commit_path(crawl, shard)
    return _read_commit(storage, path) if storage.exists(path) else None


def _read_commit(storage: Storage, path: str) -> Commit:
    try:
        return _RECORD.validate_json(storage.read(path), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        raise DatasetError(
            f"{storage.location}/{path}: corrupt commit record ({where or 'text'}: {first['msg']}); "
            "delete it, and the crawl harvests its shard again"
        ) from error
