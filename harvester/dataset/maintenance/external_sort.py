"""Sorts many Parquet files as one stream of row groups, in bounded memory.

Rows that fit into memory are sorted at once. More are distributed over buckets, each a range of keys, in an
unlinked temporary file on the dataset's disk; then each bucket is sorted, or distributed again if too large.
DuckDB's COPY ... ORDER BY is no replacement: it limits row groups by rows, and rows can take megabytes.
"""

import tempfile
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Final, Self, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from harvester.dataset.parquet_writer import row_groups
from harvester.dataset.schema_merge import conform

# Copies of a table during a sort: the input, its combined chunks, the result, and row groups being written.
_COPIES: Final = 4
_MAXIMUM_BUCKETS: Final = 256
# Sampled keys: enough for buckets of about equal size.
_SAMPLES: Final = 4096
_SAMPLES_OF_A_SHARE: Final = 32

_Key: TypeAlias = tuple[tuple[bool, str], ...]


@dataclass(frozen=True, slots=True)
class Order:
    """The sort keys, and how much memory sorting may take.

    Attributes:
        keys: Text columns in order of priority; NULL comes last. Empty: rows keep their order.
        memory_bytes: The approximate limit; a single row may exceed it.
        spill: The folder for the temporary file.
    """

    keys: tuple[str, ...]
    memory_bytes: int
    spill: Path

    @property
    def share(self) -> int:
        """Bytes that are sorted at once."""
        return max(1, self.memory_bytes // _COPIES)


@dataclass(frozen=True, slots=True)
class Source:
    """Parquet files that are read together.

    Attributes:
        files: Their names.
        filesystem: Where they are; None: local.
        kept: Returns the mask of the rows of a table to read; None: all.
        report: Called before each row group is read.
    """

    files: Sequence[str]
    filesystem: fs.FileSystem | None = None
    kept: Callable[[pa.Table], pa.Array | pa.ChunkedArray] | None = None
    report: Callable[[], None] = lambda: None

    def open(self, file: str) -> pq.ParquetFile:
        """Open one file."""
        return pq.ParquetFile(file, filesystem=self.filesystem)

    @property
    def rows(self) -> int:
        """Rows of all files, kept or not."""
        return sum(pq.read_metadata(file, filesystem=self.filesystem).num_rows for file in self.files)


def merged(source: Source, schema: pa.Schema, order: Order) -> Iterator[pa.Table]:
    """Read Parquet files as sorted row groups with this schema, of the size that `row_groups` gives.

    Raises:
        OSError: A file cannot be read, or the disk is full.
        pyarrow.ArrowException: A file is corrupt.
        DatasetError: A value does not fit the schema.
    """
    groups = _read(source, schema)
    return _cut(_sorted_files(source, groups, order) if order.keys else groups)


def _sorted_files(source: Source, groups: Iterator[pa.Table], order: Order) -> Iterator[pa.Table]:
    first = _take(groups, order.share)
    second = next(groups, None)
    if first is None or second is None:
        return iter(() if first is None else (_sorted(first, order),))
    rows = source.rows
    shares = first.nbytes / first.num_rows * rows / order.share
    return _spread(chain([first, second], groups), _sampled(source, rows, order), shares, order)


def _read(source: Source, schema: pa.Schema) -> Iterator[pa.Table]:
    for file in source.files:
        with source.open(file) as opened:
            for number in range(opened.num_row_groups):
                source.report()
                table = conform(opened.read_row_group(number), schema)
                if source.kept is not None:
                    table = table.filter(source.kept(table))
                if table.num_rows:
                    yield table


def _sampled(source: Source, rows: int, order: Order) -> list[_Key]:
    """The keys of rows at regular distances; only the key columns are read."""
    step, skip = max(1, rows // _SAMPLES), 0
    keys: list[_Key] = []
    for file in source.files:
        with source.open(file) as opened:
            present = [key for key in order.keys if key in opened.schema_arrow.names]
            for number in range(opened.num_row_groups):
                columns = opened.read_row_group(number, columns=present)
                chosen = columns.take(pa.array(range(skip, columns.num_rows, step), pa.int64()))
                skip = (skip - columns.num_rows) % step
                absent = {
                    key: pa.nulls(chosen.num_rows, pa.string()) for key in order.keys if key not in present
                }
                named = {**{key: chosen.column(key) for key in present}, **absent}
                table = pa.table({key: named[key] for key in order.keys})
                keys.extend(_key(table, row, order) for row in range(table.num_rows))
    return keys


def _spread(
    tables: Iterable[pa.Table], sample: list[_Key], shares: float, order: Order
) -> Iterator[pa.Table]:
    """Sort more rows than fit into memory."""
    bounds = _bounds(sample, shares)
    with _Spill(order.spill) as spill:
        buckets = [_Bucket() for _ in range(len(bounds) + 1)]
        source = iter(tables)
        while (table := _take(source, order.share)) is not None:
            table = _sorted(table, order)
            stops = [
                bisect_left(range(table.num_rows), bound, key=lambda row: _key(table, row, order))
                for bound in bounds
            ]
            for bucket, start, stop in zip(buckets, [0, *stops], [*stops, table.num_rows], strict=True):
                if stop > start:
                    bucket.add(table.slice(start, stop - start), spill, order)
            del table
        for bucket in buckets:
            yield from bucket.sorted(spill, order)


@dataclass(slots=True)
class _Bucket:
    """Rows of one range of keys, in the temporary file."""

    numbers: list[int] = field(default_factory=list)
    bytes: int = 0
    sample: list[_Key] = field(default_factory=list)

    def add(self, table: pa.Table, spill: "_Spill", order: Order) -> None:
        share = max(1, order.share // _SAMPLES_OF_A_SHARE)
        step = max(1, table.num_rows * share // max(1, table.nbytes))
        self.sample.extend(_key(table, row, order) for row in range(0, table.num_rows, step))
        self.bytes += table.nbytes
        self.numbers.extend(spill.write(table))

    def sorted(self, spill: "_Spill", order: Order) -> Iterator[pa.Table]:
        tables = (spill.read(number) for number in self.numbers)
        # A range of equal keys cannot be divided.
        if self.bytes > 2 * order.share and min(self.sample) < max(self.sample):
            yield from _spread(tables, self.sample, self.bytes / order.share, order)
        elif self.numbers:
            yield _sorted(pa.concat_tables(tables), order)


class _Spill:
    """An unlinked temporary file of tables; the system removes it when the process ends."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  closed by __exit__
        self._writer: Any = None
        self._reader: Any = None
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, table: pa.Table) -> range:
        if self._writer is None:
            options = pa.ipc.IpcWriteOptions(compression="zstd")
            sink = pa.PythonFile(self._file, "w")
            self._writer = pa.ipc.new_file(sink, table.schema, options=options)
        start = self._count
        for batch in table.to_batches():
            self._writer.write_batch(batch)
            self._count += 1
        return range(start, self._count)

    def read(self, number: int) -> pa.Table:
        if self._reader is None:
            self._writer.close()
            self._reader = pa.ipc.open_file(pa.PythonFile(self._file, "r"))
        return pa.Table.from_batches([self._reader.get_batch(number)])


def _bounds(sample: list[_Key], shares: float) -> list[_Key]:
    """Keys that divide the sample into so many equal ranges, or fewer where keys repeat."""
    ranges = min(_MAXIMUM_BUCKETS, max(2, round(shares) + 1))
    ordered = sorted(sample)
    chosen = {ordered[len(ordered) * number // ranges] for number in range(1, ranges)}
    return sorted(chosen - {ordered[0]}) or [ordered[-1]]


def _key(table: pa.Table, row: int, order: Order) -> _Key:
    """A row's key; Python compares it as Arrow sorts: by code points, NULL last."""
    values = [table.column(name)[row].as_py() for name in order.keys]
    return tuple((value is None, value or "") for value in values)


def _sorted(table: pa.Table, order: Order) -> pa.Table:
    return table.combine_chunks().sort_by([(key, "ascending") for key in order.keys])


def _take(tables: Iterator[pa.Table], share: int) -> pa.Table | None:
    """The next tables, up to the size of a share."""
    taken: list[pa.Table] = []
    size = 0
    while size < share and (table := next(tables, None)) is not None:
        taken.append(table)
        size += table.nbytes
    return pa.concat_tables(taken) if taken else None


def _cut(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Divide a stream of tables into full row groups."""
    rest: pa.Table | None = None
    for table in tables:
        groups = list(row_groups(table if rest is None else pa.concat_tables([rest, table])))
        rest = groups.pop()
        yield from groups
    if rest is not None:
        yield rest
