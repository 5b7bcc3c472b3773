"""A sandboxed DuckDB, and the quoting of identifiers and literals in its SQL."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Timer
from typing import Any

import duckdb
import pyarrow as pa

from harvester.messages import one_line

MAX_QUERY_SECONDS = 120.0
MEMORY = "2GB"
"""A million series sort within 0.5 GB."""


def in_memory(**settings: str | bool) -> duckdb.DuckDBPyConnection:
    """An in-memory database that prints nothing.

    In a notebook or an interactive Python, DuckDB would print a progress bar of its own to standard output.
    """
    connection = duckdb.connect(config={**settings})
    with suppress(duckdb.InvalidInputException):  # in a notebook without ipywidgets there is no bar
        connection.execute("SET enable_progress_bar = false")
    with suppress(duckdb.Error):  # users' queries have `x -> x + 1`, which DuckDB 2 refuses otherwise
        connection.execute("SET lambda_syntax = 'ENABLE_SINGLE_ARROW'")
    return connection


def connect() -> duckdb.DuckDBPyConnection:
    """An in-memory database without temporary files, extensions and access to Python variables."""
    connection = in_memory(
        memory_limit=MEMORY,
        temp_directory="",
        autoinstall_known_extensions=False,
        autoload_known_extensions=False,
    )
    connection.execute("SET python_enable_replacements = false")
    return connection


def lock(
    connection: duckdb.DuckDBPyConnection, files: Iterable[str | Path], folders: Iterable[str] = ()
) -> None:
    """Deny access to everything but these files and folders, and lock the settings.

    DuckDB has no read-only files: a caller that runs statements of users has to refuse those that write.
    """
    connection.execute(f"SET allowed_paths = [{', '.join(literal(str(file)) for file in files)}]")
    connection.execute(f"SET allowed_directories = [{', '.join(map(literal, folders))}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def add_table(connection: duckdb.DuckDBPyConnection, name: str, columns: pa.Table) -> None:
    """Copy an Arrow table into a table of the database."""
    connection.register("incoming", columns)
    connection.execute(f"CREATE TABLE {identifier(name)} AS SELECT * FROM incoming")
    connection.unregister("incoming")


def first_row(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[Any, ...] | None:
    """The first row of a query of few rows; all are fetched, since DuckDB 2 runs no other query before."""
    rows: list[tuple[Any, ...]] = connection.execute(sql).fetchall()
    return rows[0] if rows else None


def arrow_reader(relation: duckdb.DuckDBPyRelation, batch_rows: int) -> pa.RecordBatchReader:
    """Run a query and stream its rows; while the stream is open, DuckDB 2 runs no other on its connection."""
    if hasattr(relation, "to_arrow_reader"):
        return relation.to_arrow_reader(batch_rows)
    return relation.fetch_record_batch(batch_rows)  # DuckDB 1.4


@contextmanager
def bounded(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Interrupt the block's query after `MAX_QUERY_SECONDS`: a user's `where` can be any expression."""
    timer = Timer(MAX_QUERY_SECONDS, connection.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def identifier(name: str) -> str:
    """Quote an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Quote an SQL string literal; SQL text ends at a NUL, so that `chr(0)` stands for one."""
    quoted = "'" + text.replace("'", "''") + "'"
    return "({})".format(quoted.replace("\0", "' || chr(0) || '")) if "\0" in text else quoted


def error_line(error: duckdb.Error) -> str:
    """DuckDB's message on one line, without its excerpt of the SQL."""
    return one_line(str(error).split("\n\nLINE ")[0].split("\nLINE ")[0], 500)
