"""Writes Parquet parts whose row groups and pages stay within the limits of readers."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

# DuckDB 1.5 fails on a page of 2 GB; a row of slide microscopy can take megabytes. A page is never larger
# than its row group, and only a single row can make a row group larger than this limit.
MAXIMUM_GROUP_ROWS = 65_536
MAXIMUM_GROUP_BYTES = 64 * 1024 * 1024

# Values between two checks of a page's size: pyarrow's default of 1024 overshoots with long texts.
VALUES_BETWEEN_PAGE_CHECKS = 256
PAGE_BYTES = 1024 * 1024

# pyarrow 26 opens no file whose schema is deeper than 100 nodes; the root is one, and each nested sequence
# takes three, which allows 32 nested sequences.
MAXIMUM_SCHEMA_DEPTH = 99

# Texts that differ in each row: a dictionary would only repeat the column.
UNREPEATED = frozenset(
    {"SOPInstanceUID", "MediaStorageSOPInstanceUID", "instance_url", "crdc_instance_uuid", "etag"}
)


def write_part(table: pa.Table, stream: BinaryIO) -> None:
    """Write a table as one Parquet file, with the settings of `open_part`.

    Raises:
        ValueError: A column is nested too deeply.
    """
    with open_part(table.schema, stream) as writer:
        for group in row_groups(table):
            writer.write_table(group, row_group_size=max(1, group.num_rows))


@contextmanager
def open_part(schema: pa.Schema, stream: BinaryIO) -> Iterator[pq.ParquetWriter]:
    """Begin a Parquet file; the caller writes its row groups, and it is complete when the block ends.

    Zstandard; dictionaries for texts only, since numbers compress as well without; statistics, by which
    readers skip row groups, for flat columns only. Without the Arrow schema, which would double the footer.

    Raises:
        ValueError: A column is nested too deeply for pyarrow to open the file again. (DuckDB 1.5 becomes slow
            long before: each level doubles the cost of a row group.)
    """
    texts = _text_paths(schema)
    flat = [field.name for field in schema if not pa.types.is_nested(field.type)]
    with pq.ParquetWriter(
        stream,
        schema,
        compression="zstd",
        use_dictionary=texts,
        write_statistics=flat,
        data_page_size=PAGE_BYTES,
        write_batch_size=VALUES_BETWEEN_PAGE_CHECKS,
        store_schema=False,
    ) as writer:
        yield writer


def row_groups(
    table: pa.Table, maximum_rows: int = MAXIMUM_GROUP_ROWS, maximum_bytes: int = MAXIMUM_GROUP_BYTES
) -> Iterator[pa.Table]:
    """Cut a table into slices of limited rows and bytes; a row above the limit makes a slice of its own."""
    for start in range(0, table.num_rows, maximum_rows):
        yield from _halves(table.slice(start, maximum_rows), maximum_bytes)


def _halves(table: pa.Table, maximum_bytes: int) -> Iterator[pa.Table]:
    if table.num_rows <= 1 or table.nbytes <= maximum_bytes:
        yield table
        return
    middle = table.num_rows // 2
    yield from _halves(table.slice(0, middle), maximum_bytes)
    yield from _halves(table.slice(middle), maximum_bytes)


def _text_paths(schema: pa.Schema) -> list[str]:
    """The Parquet paths of text leaves whose values repeat."""
    texts = []
    pending = [(field.name, field.name, field.type, 1) for field in schema]
    while pending:
        column, path, kind, depth = pending.pop()
        if depth > MAXIMUM_SCHEMA_DEPTH:
            raise ValueError(f"column {column}: nested deeper than {MAXIMUM_SCHEMA_DEPTH} Parquet nodes")
        if pa.types.is_struct(kind):
            pending.extend((column, f"{path}.{field.name}", field.type, depth + 1) for field in kind)
        elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
            pending.append((column, f"{path}.list.element", kind.value_type, depth + 2))
        elif (pa.types.is_string(kind) or pa.types.is_large_string(kind)) and column not in UNREPEATED:
            texts.append(path)
    return texts
