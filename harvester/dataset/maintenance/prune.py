"""Pruning: removes the rows that are marked as superseded.

The parts of each folder with such rows are rewritten without them and published like a compaction. Then the
series are removed from the commits, and last the marks are. Interrupted, the same command completes it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

import pyarrow as pa

from harvester.dataset.commits import Commit, Part, read_commits, read_failures, write_commit
from harvester.dataset.lock import Lock
from harvester.dataset.maintenance.compact import COMPACTED_TABLES, CompactionOptions, Rewriting, rewrite
from harvester.dataset.paths import TableName, split_path
from harvester.dataset.shard_writer import ShardWriter
from harvester.dataset.snapshot import Snapshot, read_snapshot
from harvester.dataset.storage import Storage
from harvester.dataset.tombstones import Tombstones, read_marks, write_marks

_NAMED: Final = ("crdc_series_uuid", "instance_url", "etag", "harvested_at", "instance_size")


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a prune removed, or would remove.

    Attributes:
        series: Series that left the catalog.
        instances: Rows of `instances`.
        frames: Rows of `frames`.
        objects_bytes: The size of the objects of these rows.
        partitions: Folders that are rewritten.
        by_collection: Rows of `instances`, by the folder of their collection.
    """

    series: int
    instances: int
    frames: int
    objects_bytes: int
    partitions: int
    by_collection: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Removal:
    """The rows to remove."""

    series: frozenset[str]
    objects: Mapping[str, datetime]
    frames: set[str] = field(default_factory=set)
    folders: dict[str, list[Part]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    by_collection: Counter[str] = field(default_factory=Counter)

    def kept(self, kind: TableName, table: pa.Table) -> pa.Array | pa.ChunkedArray:
        """The mask of the rows that stay."""
        from pyarrow import compute  # noqa: PLC0415  a tenth of a command's start

        return compute.invert(self._removed(kind, table))

    def _removed(self, kind: TableName, table: pa.Table | pa.RecordBatch) -> pa.Array | pa.ChunkedArray:
        if kind == "frames":
            return pa.array([key in self.frames for key in _versions(table)], pa.bool_())
        goes = [uuid in self.series for uuid in _values(table, "crdc_series_uuid")]
        if self.objects:
            rows = zip(_values(table, "instance_url"), _values(table, "harvested_at"), strict=True)
            goes = [
                gone or (url in self.objects and at is not None and at < self.objects[url])
                for gone, (url, at) in zip(goes, rows, strict=True)
            ]
        return pa.array(goes, pa.bool_())

    def search(self, storage: Storage, parts: Sequence[Part], kind: TableName) -> None:
        """Find the rows of one table to remove."""
        folders: dict[str, list[Part]] = {}
        hit: set[str] = set()
        for part in sorted(parts, key=lambda part: part.path):
            folder = split_path(part.path)[0]
            folders.setdefault(folder, []).append(part)
            if self._search_part(storage, part, kind):
                hit.add(folder)
        self.folders |= {folder: folders[folder] for folder in sorted(hit)}

    def _search_part(self, storage: Storage, part: Part, kind: TableName) -> bool:
        found = 0
        with storage.part_reader(part.path) as file:
            columns = [name for name in _NAMED if name in file.schema_arrow.names]
            for batch in file.iter_batches(columns=columns):
                rows = batch.filter(self._removed(kind, batch))
                found += rows.num_rows
                if kind == "instances" and rows.num_rows:
                    self.frames.update(_versions(rows))
                    self.counts["bytes"] += sum(size or 0 for size in _values(rows, "instance_size"))
        self.counts[kind] += found
        if kind == "instances" and found:
            self.by_collection[part.path.split("/")[1]] += found
        return found > 0


def find_prunable(storage: Storage, before: int | None = None) -> Pruned:
    """What `prune` would remove.

    Raises:
        DatasetError: The dataset cannot be read.
    """
    return _summed(_removal(storage, read_snapshot(storage), read_marks(storage), before))


def prune(storage: Storage, lock: Lock, options: CompactionOptions, before: int | None = None) -> Pruned:
    """Remove superseded rows.

    Args:
        storage: The dataset's files.
        lock: Proof that this process holds the dataset.
        options: How parts are rewritten, and how long replaced ones are kept for readers.
        before: Only series that a release earlier than this one no longer had; None: all superseded ones.

    Raises:
        DatasetError: A record or a part is corrupt, or the storage refuses.
        ValueError: The lock is another dataset's.
    """
    found: list[_Removal] = []

    def choose(snapshot: Snapshot) -> Rewriting:
        found.append(_removal(storage, snapshot, read_marks(storage), before))
        return Rewriting(found[0].folders, found[0].kept)

    rewrite(storage, lock, options, choose)
    removal = found[0]
    _remove_series(storage, removal.series)
    marks = read_marks(storage)
    write_marks(
        storage,
        replace(
            marks,
            series={uuid: mark for uuid, mark in marks.series.items() if uuid not in removal.series},
            objects={url: at for url, at in marks.objects.items() if url not in removal.objects},
        ),
    )
    return _summed(removal)


def _removal(storage: Storage, snapshot: Snapshot, marks: Tombstones, before: int | None) -> _Removal:
    series = frozenset(
        uuid
        for uuid, mark in marks.series.items()
        if mark.superseded_in is not None and (before is None or mark.superseded_in < before)
    )
    removal = _Removal(series, marks.objects if before is None else {})
    if removal.series or removal.objects:
        for kind in reversed(COMPACTED_TABLES):  # instances determine which frames are removed
            removal.search(storage, [part for part in snapshot.parts if part.kind == kind], kind)
    return removal


def _remove_series(storage: Storage, series: frozenset[str]) -> None:
    """Remove series from the commits, so that they are harvested again if the catalog has them again."""
    for committed in list(read_commits(storage)):
        if series.intersection(committed.series):
            commit = _without_failures(storage, committed, series)
            left = tuple(key for key in commit.series if key not in series)
            counts = {key: count for key, count in commit.counts.items() if key not in series}
            write_commit(storage, replace(commit, series=left, counts=counts), replacing=True)


def _without_failures(storage: Storage, commit: Commit, series: frozenset[str]) -> Commit:
    """The commit without the rows of `failures` of these series."""
    parts = [part for part in commit.parts if part.kind == "failures"]
    if not parts:
        return commit
    rows = read_failures(storage, parts)
    stays = rows.filter(pa.array([key not in series for key in rows["series_key"].to_pylist()], pa.bool_()))
    if stays.num_rows == rows.num_rows:
        return commit
    writer = ShardWriter(storage, commit.crawl, commit.shard, replacing=commit)
    writer.write_failures((), harvester_version="", kept=stays)
    return writer.commit({}, requests=0, bytes_fetched=0, seconds=0, versions=commit.versions)


def _summed(removal: _Removal) -> Pruned:
    return Pruned(
        series=len(removal.series),
        instances=removal.counts["instances"],
        frames=removal.counts["frames"],
        objects_bytes=removal.counts["bytes"],
        partitions=len(removal.folders),
        by_collection=dict(sorted(removal.by_collection.items())),
    )


def _versions(table: pa.Table | pa.RecordBatch) -> Iterator[str]:
    """The key that `frames` and `instances` share: an object's address and ETag."""
    pairs: Iterable[tuple[str | None, str | None]] = zip(
        _values(table, "instance_url"), _values(table, "etag"), strict=True
    )
    return (f"{url}\0{etag}" for url, etag in pairs)


def _values(table: pa.Table | pa.RecordBatch, name: str) -> list[Any]:
    if name not in table.schema.names:
        return [None] * table.num_rows
    return list(table.column(name).to_pylist())
