"""Compaction: the small parts of each partition become large ones, sorted by series, of one schema.

The new parts are staged where nobody sees them. Then the record of what will be is written: a compaction
that ends before it has changed nothing, and after it whoever writes next publishes what is staged, however
often that is killed. `publishing` does so in three steps:

1. Those who opened the dataset are led to further names of the files that they read.
2. Each partition's folder changes places with its new one, at one stroke.
3. The record takes the place of the last one, at one stroke: from here on the dataset opens compacted.
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
from harvester.dataset.maintenance.generations import COMPACTED_TABLES
from harvester.dataset.maintenance.orphans import sweep
from harvester.dataset.maintenance.publishing import publish
from harvester.dataset.maintenance.replacing import replacing_in
from harvester.dataset.parquet_writer import open_part
from harvester.dataset.paths import NEXT_SNAPSHOT, STAGED, TableName, part_name, partition_folder
from harvester.dataset.schema_merge import unite
from harvester.dataset.snapshot import Record, Snapshot, read_columns, with_columns, write_record
from harvester.dataset.storage import Storage
from harvester.errors import DatasetError

SORTED_BY: Final = ("SeriesInstanceUID", "SOPInstanceUID")

# Large enough that a reader opens few files, small enough to be copied again when it is cut off.
_PART_BYTES: Final = 512 * 1024 * 1024
_MEMORY_BYTES: Final = 512 * 1024 * 1024
_KEEP: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class CompactionOptions:
    """How to compact.

    Attributes:
        keep: How long replaced parts stay for those who opened the dataset before.
        memory_bytes: About how much memory sorting takes.
        part_bytes: A part that has grown to this size is closed.
        report: Is told how many rows are written, and of how many.
    """

    keep: timedelta = _KEEP
    memory_bytes: int = _MEMORY_BYTES
    part_bytes: int = _PART_BYTES
    report: Callable[[int, int], None] = lambda _done, _total: None


@dataclass(frozen=True, slots=True)
class Compaction:
    """What a compaction did.

    Attributes:
        partitions: How many folders were written anew; the others were compact already.
        rows: Rows in them.
        parts_before: The parts that were merged.
        parts_after: The parts that they became.
        bytes_before: Bytes of the one.
        bytes_after: Bytes of the others.
        seconds: How long it took.
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
    """Which parts are written anew, and what of them.

    Attributes:
        folders: The parts that are merged, by the folder that they lie in; other parts stay.
        kept: Says which rows of a table of this kind stay; None: all.
    """

    folders: Mapping[str, Sequence[Part]]
    kept: Callable[[TableName, pa.Table], pa.Array | pa.ChunkedArray] | None = None


def compact(storage: Storage, lock: Lock, options: CompactionOptions) -> Compaction:
    """Merge the parts of every partition that has one which no compaction wrote.

    Raises:
        DatasetError: A record or a part is corrupt, the disk is full, or the file system cannot.
        ValueError: The lock is another dataset's.
    """
    return rewrite(storage, lock, options, lambda snapshot: Rewriting(_to_merge(snapshot)))


def rewrite(
    storage: Storage, lock: Lock, options: CompactionOptions, choose: Callable[[Snapshot], Rewriting]
) -> Compaction:
    """Write parts anew, folder by folder, and let them take the place of the old ones.

    Args:
        storage: The dataset's files.
        lock: Proof that nobody else writes.
        options: How.
        choose: Which ones, of all parts that count.

    Raises:
        DatasetError: A record or a part is corrupt, the disk is full, or the file system cannot.
        ValueError: The lock is another dataset's.
    """
    started = time.monotonic()
    sweep(storage, lock)
    snapshot, columns = read_columns(storage)
    rewriting = choose(snapshot)
    old = [part for parts in rewriting.folders.values() for part in parts]
    new: list[Part] = []
    try:
        if rewriting.folders:
            generation = snapshot.record.generation
            place = replacing_in(storage)
            place.prepare(generation)
            merger = _Merger(storage, generation + 1, options, sum(part.rows for part in old), rewriting)
            for folder, parts in rewriting.folders.items():
                new += merger.merge(folder, parts)
            place.keep(generation, snapshot.parts, old)
            record = _following(snapshot, old, new, options.keep)
            write_record(storage, NEXT_SNAPSHOT, with_columns(record, columns))
    finally:
        # Without the record, what is staged is removed; with it, it is whole.
        publish(storage)
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
    """The parts of each folder that has a part which no compaction wrote."""
    compacted = set(snapshot.record.compacted)
    folders: dict[str, list[Part]] = {}
    for part in sorted(snapshot.parts, key=lambda part: part.path):
        if part.kind in COMPACTED_TABLES:
            folders.setdefault(partition_folder(part.path), []).append(part)
    return {folder: parts for folder, parts in folders.items() if not compacted.issuperset(parts)}


def _following(snapshot: Snapshot, old: Iterable[Part], new: Iterable[Part], keep: timedelta) -> Record:
    """The record of the dataset with new parts in place of old ones."""
    before, gone = snapshot.record, set(old)
    merged_now = [part.path for commit in snapshot.commits.values() for part in commit.parts if part in gone]
    return Record(
        generation=before.generation + 1,
        compacted=(*(part for part in before.compacted if part not in gone), *new),
        merged=(*before.merged, *merged_now),
        commits={
            path: replace(commit, parts=tuple(part for part in commit.parts if part not in gone))
            for path, commit in snapshot.commits.items()
        },
        kept={**before.kept, before.generation: datetime.now(UTC) + keep},
    )


@dataclass(slots=True)
class _Merger:
    """Writes the parts of one compaction."""

    storage: Storage
    generation: int
    options: CompactionOptions
    total: int
    rewriting: Rewriting
    done: int = 0

    def merge(self, folder: str, parts: Sequence[Part]) -> list[Part]:
        """Stage one folder's parts anew."""
        kept = self.rewriting.kept
        source = Source(
            [self.storage.file(part.path) for part in parts],
            self.storage.filesystem,
            None if kept is None else partial(kept, parts[0].kind),
        )
        rows = sum(part.rows for part in parts)
        where = f"{self.storage.folder}/{folder}"
        try:
            schema = unite(pq.read_schema(file, filesystem=source.filesystem) for file in source.files)
            groups = merged(source, schema, self._order(schema))
            staged = list(self._write(folder, schema, groups))
        except (OSError, pa.ArrowException) as error:
            reason = " ".join(str(error).split())
            raise DatasetError(f"{where}: cannot be compacted ({reason}); it stays as it is") from error
        written = sum(part.rows for part in staged)
        if kept is None and written != rows:
            raise DatasetError(
                f"{where}: the commits say {rows} rows, its parts hold {written}; it stays as it is"
            )
        return staged

    def _order(self, schema: pa.Schema) -> Order:
        keys = [
            key for key in SORTED_BY if key in schema.names and pa.types.is_string(schema.field(key).type)
        ]
        return Order(tuple(keys), self.options.memory_bytes, self.storage.spill)

    def _write(self, folder: str, schema: pa.Schema, groups: Iterator[pa.Table]) -> Iterator[Part]:
        group = next(groups, None)
        for number in count():
            if group is None:
                return
            path = f"{folder}/{part_name('compacted', f'g{self.generation}', number)}"
            rows = 0
            with self.storage.write(f"{STAGED}/{path}") as stream:
                with open_part(schema, stream) as writer:
                    while group is not None and stream.tell() < self.options.part_bytes:
                        writer.write_table(group, row_group_size=group.num_rows)
                        rows += group.num_rows
                        self.done += group.num_rows
                        self.options.report(self.done, self.total)
                        group = next(groups, None)
                size = stream.tell()
            yield Part(path=path, rows=rows, bytes=size)
