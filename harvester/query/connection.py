"""SQL over a dataset: DuckDB with the views `instances`, `frames` and `failures`, and nothing else."""

import difflib
import re
import secrets
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from harvester.dataset import (
    FAILURE_COLUMNS,
    FRAME_COLUMNS,
    INSTANCE_COLUMNS,
    KINDS,
    PARTITION_COLUMNS,
    Dataset,
    Kind,
)
from harvester.errors import QueryError

_FIXED_COLUMNS: dict[Kind, pa.Schema] = {
    "instances": INSTANCE_COLUMNS,
    "frames": FRAME_COLUMNS,
    "failures": FAILURE_COLUMNS,
}

# DuckDB's unit of work: a smaller batch only splits it, a larger one costs memory on wide rows.
_BATCH_ROWS = 2048

# Table functions of DuckDB that are a SELECT's to call, and yet write files or upset the connection.
_REFUSED_FUNCTIONS = re.compile(r"\b(?:enable|disable)_(?:logging|profiling)\b", re.IGNORECASE)
_EXPLAIN = re.compile(r"\s*EXPLAIN\s+(?:ANALYZE\s+)?", re.IGNORECASE)
_MISSING_COLUMN = re.compile(r'column "([^"]+)" not found|a column named "([^"]+)"')


@dataclass(frozen=True, slots=True)
class Result:
    """The answer to a query, still streaming: it can be read once.

    Attributes:
        columns: The columns' names; two can be equal.
    """

    columns: tuple[str, ...]
    _reader: pa.RecordBatchReader

    @property
    def schema(self) -> pa.Schema:
        """The columns' Arrow types."""
        return self._reader.schema

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Read the rows, batch by batch.

        Raises:
            QueryError: The query failed on the way.
        """
        while True:
            try:
                batch = self._reader.read_next_batch()
            except StopIteration:
                return
            # DuckDB's errors come through Arrow's stream as Arrow's, of which one is an OSError.
            except (duckdb.Error, pa.ArrowException, OSError) as error:
                raise QueryError(_one_line(error)) from error
            yield batch


def open_dataset(path: str | Path) -> duckdb.DuckDBPyConnection:
    """Open a dataset for SQL, its committed rows only, and close every other door.

    The views read the parts that commits name when this is called. The connection reads no file
    outside the dataset, loads no extension, and its settings are locked. DuckDB has no read-only
    directories: that nothing is written into the dataset is `run_query`'s work.

    Args:
        path: The dataset's directory.

    Returns:
        A connection in memory; the caller closes it.

    Raises:
        DatasetError: It is not a dataset, or one of its records is corrupt.
        QueryError: One of its parts cannot be read.
    """
    dataset = Dataset.open(path)
    parts: dict[Kind, list[str]] = {kind: [] for kind in KINDS}
    for commit in dataset.commits():
        for part in commit.parts:
            parts[part.kind].append(f"{dataset.location}/{part.path}")
    connection = duckdb.connect(
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "allow_community_extensions": "false",
            "python_enable_replacements": "false",
            # Made only when a query outgrows memory, and deleted with the connection.
            "temp_directory": f"{tempfile.gettempdir()}/harvester-query-{secrets.token_hex(8)}",
        }
    )
    try:
        for kind in KINDS:
            connection.execute(f"CREATE VIEW {kind} AS {_view(kind, parts[kind])}")
        connection.execute(f"SET allowed_directories = [{_quoted(dataset.location)}]")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
    except duckdb.Error as error:
        connection.close()
        raise QueryError(f"{dataset.location}: {_one_line(error)}") from error
    return connection


def run_query(connection: duckdb.DuckDBPyConnection, sql: str) -> Result:
    """Run one SELECT (or EXPLAIN, DESCRIBE, SUMMARIZE, PIVOT, ...) and stream its answer.

    Args:
        connection: From `open_dataset`.
        sql: The text; it may end with a semicolon.

    Raises:
        QueryError: It is no query, or DuckDB refuses it; for a column that does not exist, the
            message says which have a similar name.
    """
    try:
        for statement in _read_only(connection, sql):
            connection.execute(statement)
        reader = connection.to_arrow_reader(_BATCH_ROWS)
    except (duckdb.Error, pa.ArrowException) as error:
        raise QueryError(_one_line(error) + _did_you_mean(connection, str(error))) from error
    return Result(tuple(reader.schema.names), reader)


def _read_only(connection: duckdb.DuckDBPyConnection, sql: str) -> list[duckdb.Statement]:
    """Parse a text that asks and changes nothing."""
    statements = connection.extract_statements(sql)
    if not statements:
        raise QueryError("the SQL text is empty; ask for example: SELECT count(*) FROM instances")
    *before, last = statements
    # PIVOT becomes statements of its own, whose text is empty: a list of values, then the query.
    if any(statement.query for statement in before):
        raise QueryError(f"{len(statements)} SQL statements at once; run them one by one")
    explained = _EXPLAIN.match(sql)
    if last.type == duckdb.StatementType.EXPLAIN and explained:
        _read_only(connection, sql[explained.end() :])
    elif last.type != duckdb.StatementType.SELECT:
        raise QueryError(f"{last.type.name} statements are not allowed: a dataset is only read; use SELECT")
    if refused := _REFUSED_FUNCTIONS.search(sql):
        raise QueryError(f"{refused.group()} is not allowed: a dataset is only read")
    return statements


def _view(kind: Kind, files: list[str]) -> str:
    partitioned = kind != "failures"
    if not files:
        columns = ", ".join(
            f"CAST(NULL AS {_sql_type(field.type)}) AS {_identifier(field.name)}"
            for field in _FIXED_COLUMNS[kind]
        )
        return f"SELECT {columns} WHERE false"
    types = ", ".join(f"{_quoted(name)}: VARCHAR" for name in PARTITION_COLUMNS.names)
    hive = f"hive_partitioning=true, hive_types={{{types}}}" if partitioned else "hive_partitioning=false"
    return f"SELECT * FROM read_parquet([{', '.join(map(_quoted, files))}], union_by_name=true, {hive})"


def _sql_type(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return f"{_sql_type(kind.value_type)}[]"
    if pa.types.is_struct(kind):
        fields = ", ".join(f"{_identifier(field.name)} {_sql_type(field.type)}" for field in kind)
        return f"STRUCT({fields})"
    return {
        pa.string(): "VARCHAR",
        pa.int64(): "BIGINT",
        pa.uint64(): "UBIGINT",
        pa.float64(): "DOUBLE",
        pa.bool_(): "BOOLEAN",
        pa.timestamp("us"): "TIMESTAMP",
    }[kind]


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _one_line(error: Exception) -> str:
    """DuckDB's message without what follows it: an excerpt of the SQL text, and guesses by position."""
    message = re.split(r"\n\nLINE |\nCandidate bindings", str(error), maxsplit=1)[0]
    return " ".join(message.split())


def _did_you_mean(connection: duckdb.DuckDBPyConnection, message: str) -> str:
    missing = _MISSING_COLUMN.search(message)
    if missing is None:
        return ""
    known = {
        str(name).lower(): str(name)
        for kind in KINDS
        for name, *_ in connection.execute(f"DESCRIBE {kind}").fetchall()
    }
    wanted = (missing.group(1) or missing.group(2)).lower()
    near = difflib.get_close_matches(wanted, known, n=3)
    return f"; did you mean {', '.join(known[name] for name in near)}?" if near else ""
