"""Compaction: merges the small parts of each partition into large ones, sorted by series, of one schema.

The new parts are staged, then published (see `publish`). A compaction that is killed before the next snapshot
is written has changed nothing; after that, the next writer completes it.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from harvester.dataset.commits import Part
from harvester.dataset.lock import Lock
from harvester.dataset.maintenance.external_sort import Order, Source, merged
from harvester.dataset.maintenance.orphans import sweep
from harvester.dataset.maintenance.publish import keep_replaced, publish
from harvester.dataset.parquet_writer import open_part
from harvester.dataset.paths import (
    NEXT_SNAPSHOT,
    SNAPSHOT,
    STAGED,
    TableName,
    compacted_name,
    generation_of_part,
    split_path,
)
from harvester.dataset.schema_merge import unite
from harvester.dataset.snapshot import (
    Record,
    Snapshot,
    read_columns,
    read_snapshot,
    with_columns,
    write_checkpoint,
    write_record,
)
from harvester.dataset.storage import Storage
from harvester.errors import DatasetError
from harvester.messages import size

SORTED_BY: Final = ("SeriesInstanceUID", "SOPInstanceUID")

# Failures are few, and each retry replaces them commit by commit: they are not compacted.
COMPACTED_TABLES: Final[tuple[TableName, ...]] = ("instances", "frames")

# A part that has grown to this size is closed: a reader opens few files, and a failed copy repeats little.
PART_BYTES = 512 * 1024 * 1024

# After a crawl, a partition is rewritten if so many parts are small, and they are such a share of its bytes.
# So a partition that grows each night is rewritten a few times until its size has doubled, not each night.
_SMALL_BYTES: Final = PART_BYTES // 8
_FEWEST_SMALL: Final = 4
_SHARE_OF_SMALL: Final = 0.25
_DISK_BYTES_FOR_A_BYTE: Final = 3  # the new part, what is sorted outside of memory, and a margin
SORT_MEMORY_BYTES: Final = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class CompactionOptions:
    """How to compact.

    Attributes:
        keep: How long replaced parts stay for readers that opened the dataset before.
        report: Called with the rows written so far, and the rows in all, while parts are read and written;
            an exception that it raises ends the compaction, which then has changed nothing.
    """

    keep: timedelta = timedelta(hours=24)
    report: Callable[[int, int], None] = lambda _done, _total: None


@dataclass(frozen=True, slots=True)
class Compaction:
    """The result of a compaction.

    Attributes:
        partitions: Partitions that were rewritten; the others were compact already.
        rows: Rows in them.
        parts_before: Parts that were merged.
        parts_after: Parts that replace them.
        bytes_before: Size of the merged parts.
        bytes_after: Size of the new parts.
        seconds: Duration.
    """

    partitions: int
    rows: int
    parts_before: int
    parts_after: int
    bytes_before: int
    bytes_after: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Rewriting:
    """Which parts are rewritten.

    Attributes:
        folders: The parts to merge, by their folder; other parts stay.
        kept: Returns the mask of a table's rows that stay; None: all.
    """

    folders: Mapping[str, Sequence[Part]]
    kept: Callable[[TableName, pa.Table], pa.Array | pa.ChunkedArray] | None = None


def compact(storage: Storage, lock: Lock, options: CompactionOptions) -> Compaction:
    """Merge the parts of every partition that has a part which no compaction wrote.

    Raises:
        DatasetError: A record or a part is corrupt, the disk is full, or the storage refuses.
        ValueError: The lock is another dataset's.
    """
    return rewrite(storage, lock, options, lambda snapshot: Rewriting(_to_merge(snapshot)))


def compact_grown(
    storage: Storage, lock: Lock, options: CompactionOptions, least_parts: int
) -> Compaction | None:
    """Merge the parts of the partitions that have many small ones; None: too few in all, nothing was done.

    Args:
        storage: The dataset's files.
        lock: Proof that this process holds the dataset.
        options: How to compact.
        least_parts: How many small parts such partitions must have together.

    Raises:
        DatasetError: As `compact`, and where the disk has too little room.
        ValueError: The lock is another dataset's.
    """
    parts = [part for parts in _grown(read_snapshot(storage)).values() for part in parts]
    if sum(map(_is_small, parts)) < least_parts:
        return None
    needed, room = _DISK_BYTES_FOR_A_BYTE * sum(part.bytes for part in parts), storage.room
    if room is not None and room < needed:
        what = f"merging {len(parts):,} parts can take {size(needed)} of disk space"
        raise DatasetError(f"{storage.folder}: {what}, and {size(room)} are free")
    return rewrite(storage, lock, options, lambda snapshot: Rewriting(_grown(snapshot)))


def rewrite(
    storage: Storage, lock: Lock, options: CompactionOptions, choose: Callable[[Snapshot], Rewriting]
) -> Compaction:
    """Rewrite the parts of some folders, and publish the new ones.

    Args:
        storage: The dataset's files.
        lock: Proof that this process holds the dataset.
        options: How to rewrite.
        choose: Returns what is rewritten.

    Raises:
        DatasetError: A record or a part is corrupt, the disk is full, or the storage refuses.
        ValueError: The lock is another dataset's.
    """
    started = time.monotonic()
    sweep(storage, lock)
    if not storage.exists(SNAPSHOT):
        write_checkpoint(storage)  # so that a compacted dataset without a snapshot has lost it
    snapshot, columns = read_columns(storage)
    rewriting = choose(snapshot)
    old = [part for parts in rewriting.folders.values() for part in parts]
    new: list[Part] = []
    try:
        if rewriting.folders:
            generation = snapshot.record.generation
            merger = _Merger(storage, generation + 1, options, sum(part.rows for part in old), rewriting)
            for folder, parts in rewriting.folders.items():
                new += merger.merge(folder, parts)
            keep_replaced(storage, generation, old)
            record = _following(snapshot, old, new, options.keep)
            write_record(storage, NEXT_SNAPSHOT, with_columns(record, columns))
    finally:
        publish(storage)  # or, after an error, delete what is staged
    return Compaction(
        partitions=len(rewriting.folders),
        rows=sum(part.rows for part in new),
        parts_before=len(old),
        parts_after=len(new),
        bytes_before=sum(part.bytes for part in old),
        bytes_after=sum(part.bytes for part in new),
        seconds=time.monotonic() - started,
    )


def _to_merge(snapshot: Snapshot) -> dict[str, list[Part]]:
    compacted = set(snapshot.record.compacted)
    return {folder: parts for folder, parts in _folders(snapshot).items() if not compacted.issuperset(parts)}


def _grown(snapshot: Snapshot) -> dict[str, list[Part]]:
    """The folders with enough small parts, in number and in bytes, that merging them pays."""
    grown = {}
    for folder, parts in _folders(snapshot).items():
        small = [part.bytes for part in parts if _is_small(part)]
        whole = sum(part.bytes for part in parts)
        if len(small) >= _FEWEST_SMALL and sum(small) >= _SHARE_OF_SMALL * whole:
            grown[folder] = parts
    return grown


def _is_small(part: Part) -> bool:
    return not generation_of_part(part.path) and part.bytes < _SMALL_BYTES


def _folders(snapshot: Snapshot) -> dict[str, list[Part]]:
    """The parts that compactions merge, by folder."""
    folders: dict[str, list[Part]] = {}
    for part in sorted(snapshot.parts, key=lambda part: part.path):
        if part.kind in COMPACTED_TABLES:
            folders.setdefault(split_path(part.path)[0], []).append(part)
    return folders


def _following(snapshot: Snapshot, old: Iterable[Part], new: Iterable[Part], keep: timedelta) -> Record:
    """The next snapshot: new parts in place of old ones."""
    before, replaced = snapshot.record, set(old)
    committed = (part for commit in snapshot.commits.values() for part in commit.parts)
    return Record(
        generation=before.generation + 1,
        compacted=(*(part for part in before.compacted if part not in replaced), *new),
        merged=(*before.merged, *(part.path for part in committed if part in replaced)),
        commits={
            path: replace(commit, parts=tuple(part for part in commit.parts if part not in replaced))
            for path, commit in snapshot.commits.items()
        },
        kept={**before.kept, before.generation: datetime.now(UTC) + keep},
    )


@dataclass(slots=True)
class _Merger:
    """Stages the parts of one compaction."""

    storage: Storage
    generation: int
    options: CompactionOptions
    total: int
    rewriting: Rewriting
    done: int = 0

    def merge(self, folder: str, parts: Sequence[Part]) -> list[Part]:
        """Stage the merged parts of one folder."""
        kept = self.rewriting.kept
        source = Source(
            [self.storage.file(part.path) for part in parts],
            self.storage.filesystem,
            None if kept is None else partial(kept, parts[0].kind),
            self._report,
        )
        try:
            schema = unite(pq.read_schema(file, filesystem=source.filesystem) for file in source.files)
            staged = list(self._write(folder, schema, merged(source, schema, self._order(schema))))
        except (OSError, pa.ArrowException) as error:
            raise self.storage.error(folder, "cannot be compacted, and stays as it is", error) from error
        rows, written = (sum(part.rows for part in some) for some in (parts, staged))
        if kept is None and written != rows:
            what = f"the commits say {rows} rows, its parts hold {written}; it stays as it is"
            raise self.storage.error(folder, what)
        return staged

    def _report(self) -> None:
        self.options.report(self.done, self.total)

    def _order(self, schema: pa.Schema) -> Order:
        keys = [
            key for key in SORTED_BY if key in schema.names and pa.types.is_string(schema.field(key).type)
        ]
        return Order(tuple(keys), SORT_MEMORY_BYTES, self.storage.spill)

    def _write(self, folder: str, schema: pa.Schema, groups: Iterator[pa.Table]) -> Iterator[Part]:
        group = next(groups, None)
        for number in count():
            if group is None:
                return
            path = f"{folder}/{compacted_name(self.generation, number)}"
            rows = 0
            with self.storage.write(f"{STAGED}/{path}") as stream:
                with open_part(schema, stream) as writer:
                    while group is not None and stream.tell() < PART_BYTES:
                        writer.write_table(group, row_group_size=group.num_rows)
                        rows += group.num_rows
                        self.done += group.num_rows
                        self._report()
                        group = next(groups, None)
                written = stream.tell()
            yield Part(path=path, rows=rows, bytes=written)
