"""Writes a shard to the dataset: its parts first, then the commit that makes it done."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa

from harvester.dataset.commits import Commit, Part, write_commit
from harvester.dataset.harvest_columns import failure_table
from harvester.dataset.parquet_writer import write_part
from harvester.dataset.paths import (
    Partition,
    TableName,
    number_of_part,
    open_path,
    part_name,
    part_path,
    split_path,
)
from harvester.dataset.storage import Storage
from harvester.model import Failure


class ShardWriter:
    """Writes the parts of one shard; nothing counts until `commit`.

    Parts are numbered in the order in which they are written, by table and partition, so a repeated shard
    replaces its own parts.

    Where a commit is replaced, its parts of `instances` and `frames` stay, and new ones get higher numbers;
    its parts of `failures` are replaced when the record is.

    Args:
        storage: The dataset's files.
        crawl: The crawl's name, which is its plan's.
        shard: The shard's name.
        replacing: The shard's commit, if its failures are retried.
    """

    def __init__(self, storage: Storage, crawl: str, shard: str, *, replacing: Commit | None = None) -> None:
        part_name(crawl, shard)  # rejects bad names before anything is fetched
        self._storage = storage
        self._crawl = crawl
        self._shard = shard
        self._replacing = replacing
        self._parts: list[Part] = []
        self._is_open = False
        self._numbers: Counter[str] = _numbers_after(replacing.parts if replacing else ())

    def write_instances(self, table: pa.Table | pa.RecordBatch, partition: Partition) -> Part | None:
        """Write rows of `instances`; None, and no file, if there are none.

        Raises:
            DatasetError: The file cannot be written.
        """
        return self._write("instances", table, partition)

    def write_frames(self, table: pa.Table | pa.RecordBatch, partition: Partition) -> Part | None:
        """Write rows of `frames`; None, and no file, if there are none.

        Raises:
            DatasetError: The file cannot be written.
        """
        return self._write("frames", table, partition)

    def write_failures(
        self, failures: Iterable[Failure], *, harvester_version: str, kept: pa.Table | None = None
    ) -> Part | None:
        """Write rows of `failures`; None, and no file, if there are none.

        Args:
            failures: The new failures.
            harvester_version: The version that found them.
            kept: Rows of the replaced commit that stay.

        Raises:
            DatasetError: The file cannot be written.
        """
        table = failure_table(failures, harvester_version=harvester_version)
        return self._write("failures", pa.concat_tables([kept, table]) if kept is not None else table, None)

    def commit(
        self,
        series: Iterable[str] | Mapping[str, tuple[int, int]],
        *,
        requests: int,
        bytes_fetched: int,
        seconds: float,
        versions: Mapping[str, str],
    ) -> Commit:
        """Make the shard done: its rows count, and it is not harvested again.

        Args:
            series: The keys of its series; if known, with the numbers of instances and failures of each.
                Where a commit is replaced, the series that changed, with their new totals.
            requests: Requests sent, retries included.
            bytes_fetched: Bytes of response bodies received.
            seconds: From the shard's first request until now.
            versions: Versions of harvester and of the packages that determine its values.

        Raises:
            DatasetError: The record cannot be written, or the lock is lost.
        """
        commit = Commit(
            crawl=self._crawl,
            shard=self._shard,
            series=tuple(series),
            parts=tuple(self._parts),
            requests=requests,
            bytes_fetched=bytes_fetched,
            seconds=seconds,
            committed_at=datetime.now(UTC),
            versions=dict(versions),
            counts=dict(series) if isinstance(series, Mapping) else {},
        )
        before = self._replacing
        if before is not None:
            commit = _next_generation(before, commit)
        write_commit(self._storage, commit, replacing=before is not None)
        self._close()
        for part in before.parts if before is not None else ():
            if part.kind == "failures":
                self._storage.delete(part.path)  # else the next sweep does
        return commit

    def discard(self) -> None:
        """Delete the parts written so far, of a shard that is abandoned or repeated.

        Raises:
            DatasetError: A file cannot be deleted.
        """
        while self._parts:
            self._storage.delete(self._parts.pop().path)
        self._close()
        self._numbers = _numbers_after(self._replacing.parts if self._replacing else ())

    def _write(
        self, kind: TableName, rows: pa.Table | pa.RecordBatch, partition: Partition | None
    ) -> Part | None:
        table = pa.Table.from_batches([rows]) if isinstance(rows, pa.RecordBatch) else rows
        if not table.num_rows:
            return None
        if partition is not None:
            table = _with_partition_columns(table, partition)
        folder = kind if partition is None else f"{kind}/{partition.path}"
        name = part_name(self._crawl, self._shard, self._numbers[folder])
        path = part_path(kind, name, partition)
        self._open()
        with self._storage.write(path) as stream:
            write_part(table, stream)
            size = stream.tell()
        part = Part(path=path, rows=table.num_rows, bytes=size)
        self._numbers[folder] += 1
        self._parts.append(part)
        return part

    def _open(self) -> None:
        """Record that the shard has parts without a commit: only such parts may be deleted later."""
        if not self._is_open:
            committed = [part.path for part in self._replacing.parts] if self._replacing else []
            with self._storage.write(open_path(self._crawl, self._shard)) as stream:
                stream.write(json.dumps({"committed": committed}).encode())
            self._is_open = True

    def _close(self) -> None:
        if self._is_open:
            self._storage.delete(open_path(self._crawl, self._shard))
            self._is_open = False


def _numbers_after(parts: Iterable[Part]) -> Counter[str]:
    """The next number in each folder: a committed part is never overwritten."""
    numbers: Counter[str] = Counter()
    for part in parts:
        folder, _ = split_path(part.path)
        numbers[folder] = max(numbers[folder], number_of_part(part.path) + 1)
    return numbers


def _next_generation(before: Commit, now: Commit) -> Commit:
    return replace(
        before,
        parts=(*(part for part in before.parts if part.kind != "failures"), *now.parts),
        requests=before.requests + now.requests,
        bytes_fetched=before.bytes_fetched + now.bytes_fetched,
        seconds=before.seconds + now.seconds,
        committed_at=now.committed_at,
        versions=now.versions,
        counts={**before.counts, **now.counts},
        generation=before.generation + 1,
    )


def _with_partition_columns(table: pa.Table, partition: Partition) -> pa.Table:
    """Add the partition's columns where the table lacks them: each file is complete by itself."""
    for name, value in (("collection_id", partition.collection_id), ("Modality", partition.modality)):
        if name not in table.column_names:
            table = table.append_column(name, pa.repeat(pa.scalar(value, pa.string()), len(table)))
    return table
