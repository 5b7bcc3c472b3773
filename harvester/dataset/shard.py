"""One shard on its way into the dataset: its parts first, then the commit that makes it done."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import pyarrow as pa

from harvester.dataset.commits import Commit, Part, write_commit
from harvester.dataset.names import Kind, Partition, part_name, part_path
from harvester.dataset.parts import write_part
from harvester.dataset.schema import failure_table
from harvester.dataset.storage import LocalStorage
from harvester.model import Failure


class ShardWriter:
    """Writes the parts of one shard; nothing counts until `commit`.

    Parts are numbered in the order they are written, by table and partition, so a shard that is
    run again replaces its own.

    Args:
        storage: The dataset's files.
        crawl: The crawl's name, which is its plan's.
        shard: The shard's name.
    """

    def __init__(self, storage: LocalStorage, crawl: str, shard: str) -> None:
        part_name(crawl, shard)  # refuses bad names before anything is fetched
        self._storage = storage
        self._crawl = crawl
        self._shard = shard
        self._parts: list[Part] = []
        self._numbers: Counter[str] = Counter()

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

    def write_failures(self, failures: Iterable[Failure], *, harvester_version: str) -> Part | None:
        """Write rows of `failures`; None, and no file, if there are none.

        Raises:
            DatasetError: The file cannot be written.
        """
        return self._write("failures", failure_table(failures, harvester_version=harvester_version), None)

    def commit(
        self,
        series: Iterable[str] | Mapping[str, tuple[int, int]],
        *,
        requests: int,
        bytes_fetched: int,
        seconds: float,
        versions: Mapping[str, str],
    ) -> Commit:
        """Make the shard done: from here on its rows count, and it is not harvested again.

        Args:
            series: The keys of its series; if known, with how many instances and failures each gave.
            requests: Requests that were sent, retries included.
            bytes_fetched: Bytes of bodies that were received.
            seconds: From the shard's first request until now.
            versions: Of harvester, and of what its values depend on.

        Raises:
            DatasetError: The record cannot be written.
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
        write_commit(self._storage, commit)
        return commit

    def discard(self) -> None:
        """Delete the parts written so far, for a shard that is given up or begun again.

        Raises:
            DatasetError: A file cannot be deleted.
        """
        while self._parts:
            self._storage.delete(self._parts.pop().path)
        self._numbers.clear()

    def _write(self, kind: Kind, rows: pa.Table | pa.RecordBatch, partition: Partition | None) -> Part | None:
        table = pa.Table.from_batches([rows]) if isinstance(rows, pa.RecordBatch) else rows
        if not table.num_rows:
            return None
        if partition is not None:
            table = _with_partition_columns(table, partition)
        folder = kind if partition is None else f"{kind}/{partition.path}"
        name = part_name(self._crawl, self._shard, self._numbers[folder])
        path = part_path(kind, name, partition)
        with self._storage.write(path) as stream:
            write_part(table, stream)
            size = stream.tell()
        part = Part(path=path, rows=table.num_rows, bytes=size)
        self._numbers[folder] += 1
        self._parts.append(part)
        return part


def _with_partition_columns(table: pa.Table, partition: Partition) -> pa.Table:
    """Add the partition's columns where the table lacks them: the file alone must be complete."""
    for name, value in (("collection_id", partition.collection_id), ("Modality", partition.modality)):
        if name not in table.column_names:
            table = table.append_column(name, pa.repeat(pa.scalar(value, pa.string()), len(table)))
    return table
