"""SQL over a dataset: DuckDB with its views, those of the idc-index release, and nothing else."""

import difflib
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, count
from pathlib import Path
from typing import Final, Literal, get_args

import duckdb
import pyarrow as pa

from harvester.catalog.database import add_table, identifier, literal, lock
from harvester.catalog.release import index_tables
from harvester.dataset import INSTANCE_COLUMNS, TABLES, Dataset, Snapshot, TableName
from harvester.dataset.paths import REPLACED
from harvester.dicom.dictionary import attributes_by_keyword
from harvester.errors import DatasetError, QueryError
from harvester.query.bigquery.translate import translate
from harvester.query.idc_tables import derived_table
from harvester.query.part_files import define_files, files_by_table, follow_files
from harvester.query.query_views import (
    bind,
    define_instances,
    missing_name,
    readable_views,
    with_fixed_columns,
)
from harvester.query.sandbox import require_question
from harvester.query.supersession import add_marks, marked
from harvester.query.views import (
    DICOM_TABLES,
    array_columns,
    dicom_view,
    series_view,
    studies_view,
    table_view,
    with_curated,
)

# DuckDB's unit of work: a smaller batch only splits it, a larger one costs memory on wide rows.
_BATCH_ROWS = 2048

Dialect = Literal["duckdb", "bigquery"]

DIALECTS: tuple[Dialect, ...] = get_args(Dialect)


@dataclass(frozen=True, slots=True)
class DatabaseOptions:
    """How much a database may take, and what of the dataset it shows.

    Attributes:
        memory: The most memory, as DuckDB writes it (`3GB`); None: its default, four fifths of the machine's.
        threads: How many threads; None: one a core.
        tables: Tables besides the dataset's views, by name.
        rows: An SQL condition on the rows of a table of the dataset; others are not there.
        asked_often: Keep in memory what says where the columns of each part lie: that is half the time of a
            query over thousands of parts.
    """

    memory: str | None = None
    threads: int | None = None
    tables: Mapping[str, pa.Table] = field(default_factory=dict)
    rows: Mapping[TableName, str] = field(default_factory=dict)
    asked_often: bool = False

    @property
    def settings(self) -> dict[str, str]:
        """DuckDB's settings."""
        given = {"memory_limit": self.memory, "threads": self.threads}
        return {name: str(value) for name, value in given.items() if value is not None}


_DEFAULT_OPTIONS: Final = DatabaseOptions()

_MISSING_FILE: Final = re.compile(r"Cannot (?:open|access) file|No files found")

# A dataset that is compacted while it is opened is opened again.
_ATTEMPTS: Final = 5


@dataclass(frozen=True, slots=True)
class Result:
    """The answer to a query, still streaming: it can be read once.

    Attributes:
        columns: The columns' names; two can be equal.
    """

    columns: tuple[str, ...]
    _reader: pa.RecordBatchReader
    _again: Callable[[Exception], pa.RecordBatchReader | None] = lambda _error: None

    @property
    def schema(self) -> pa.Schema:
        """The columns' Arrow types."""
        return self._reader.schema

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Read the rows, batch by batch.

        Raises:
            QueryError: The query failed on the way.
        """
        reader, begun = self._reader, False
        while True:
            try:
                batch = reader.read_next_batch()
            except StopIteration:
                return
            # DuckDB's errors come through Arrow's stream as Arrow's, of which one is an OSError.
            except (duckdb.Error, pa.ArrowException, OSError) as error:
                again = self._again(error)
                if again is None:
                    raise QueryError(_one_line(error)) from error
                if begun:
                    raise QueryError(
                        "the dataset was compacted while this query was read; run it again"
                    ) from error
                reader = again
                continue
            begun = True
            yield batch


def open_dataset(path: str | Path, options: DatabaseOptions = _DEFAULT_OPTIONS) -> duckdb.DuckDBPyConnection:
    """Open a dataset for SQL, its committed rows only, and close every other door.

    The views read the parts that count when this is called. `run_query` also finds those that a compaction
    replaced since, for as long as they are kept. The connection reads no file but these parts and the
    release's, loads no extension, and its settings are locked. DuckDB has no read-only files: that a
    part is not written over is `run_query`'s work.

    Args:
        path: The dataset's directory, or its address in a bucket.
        options: How much it may take, and what of the dataset it shows.

    Returns:
        A connection in memory; the caller closes it.

    Raises:
        DatasetError: It is not a dataset, one of its records is corrupt, or a part is missing.
        QueryError: DuckDB refuses one of the views.
    """
    dataset = Dataset.open(path)
    for _ in range(_ATTEMPTS):
        snapshot, columns = dataset.snapshot()
        files = files_by_table(snapshot)
        try:
            return _opened(dataset, snapshot, files, columns, options)
        except duckdb.Error as error:
            # Unless a compaction has moved parts meanwhile.
            if dataset.snapshot()[0] == snapshot and files_by_table(snapshot) == files:
                raise QueryError(f"{dataset.location}: {_one_line(error)}") from error
    raise DatasetError(f"{dataset.location}: changes faster than it can be read; try again")


def _opened(
    dataset: Dataset,
    snapshot: Snapshot,
    files: Mapping[TableName, list[str]],
    columns: Mapping[TableName, pa.Schema],
    options: DatabaseOptions,
) -> duckdb.DuckDBPyConnection:
    marks = dataset.marks()
    parts = {kind: table_view(kind, columns[kind], empty=not files[kind]) for kind in TABLES}
    connection = duckdb.connect(
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "allow_community_extensions": "false",
            "python_enable_replacements": "false",
            **options.settings,
            # Made only when a query outgrows memory, and deleted with the connection.
            "temp_directory": f"{tempfile.gettempdir()}/harvester-query-{secrets.token_hex(8)}",
        }
    )
    try:
        if dataset.storage.filesystem is not None:
            from harvester.query.bucket_files import PartFiles  # noqa: PLC0415  its package is an extra

            connection.register_filesystem(PartFiles(snapshot))
        define_files(connection, dataset.storage, files)
        release = _add_release(connection)
        for name, table in options.tables.items():
            add_table(connection, name, table)
        for kind in ("frames", "failures"):
            connection.execute(f"CREATE VIEW {kind} AS {_some(parts[kind], options.rows.get(kind))}")
        add_marks(connection, marks)
        _add_views(
            connection,
            marked(parts["instances"], marks, columns["instances"].names),
            options.rows.get("instances"),
        )
        # Of the disk's room DuckDB would leave others a tenth; as an option of connect it is not heeded.
        room = shutil.disk_usage(tempfile.gettempdir()).free // 2
        connection.execute(f"SET max_temp_directory_size = '{room // 1000}kB'")
        # How far a query is, for who asks the connection; DuckDB itself prints nothing.
        connection.execute("SET enable_progress_bar = true")
        if options.asked_often:
            connection.execute("SET parquet_metadata_cache = true")
        connection.execute("SET enable_progress_bar_print = false")
        lock(
            connection,
            [*release, *chain.from_iterable(files.values())],
            [f"{dataset.storage.folder}/{REPLACED}"],
        )
    except duckdb.Error:
        connection.close()
        raise
    return connection


def run_query(connection: duckdb.DuckDBPyConnection, sql: str, dialect: Dialect = "duckdb") -> Result:
    """Run one SELECT (or EXPLAIN, DESCRIBE, SUMMARIZE, PIVOT, ...) and stream its answer.

    An attribute that no object of the dataset has is NULL, whether it is a column or a field of a
    sequence's items.

    Args:
        connection: From `open_dataset`.
        sql: The text; it may end with a semicolon.
        dialect: `bigquery` translates it first.

    Raises:
        QueryError: It is no query, it cannot be translated, or DuckDB refuses it; for a name that
            neither the dataset nor DICOM's dictionary has, the message says which are similar.
    """
    if dialect == "bigquery":
        sql = translate(sql, readable_views(connection, sql))
    for attempt in count():
        try:
            reader = _run(connection, sql)
            break
        except (duckdb.Error, pa.ArrowException) as error:
            if attempt == _ATTEMPTS or not _have_parts_moved(connection, error):
                raise QueryError(_one_line(error) + _did_you_mean(connection, str(error))) from error
    return Result(tuple(reader.schema.names), reader, partial(_run_again, connection, sql))


def _run(connection: duckdb.DuckDBPyConnection, sql: str) -> pa.RecordBatchReader:
    statements = require_question(connection, sql)
    bind(connection, sql)
    for statement in statements:
        connection.execute(statement)
    return connection.to_arrow_reader(_BATCH_ROWS)


def _run_again(
    connection: duckdb.DuckDBPyConnection, sql: str, error: Exception
) -> pa.RecordBatchReader | None:
    """Run a query again that failed because a compaction moved parts; None: it failed otherwise."""
    return _run(connection, sql) if _have_parts_moved(connection, error) else None


def _have_parts_moved(connection: duckdb.DuckDBPyConnection, error: Exception) -> bool:
    return _MISSING_FILE.search(str(error)) is not None and follow_files(connection)


def _one_line(error: Exception) -> str:
    """DuckDB's message without what follows it: an excerpt, guesses by position, settings that are locked."""
    message = re.split(
        r"\n\nLINE |\nCandidate bindings|\n\nPossible solutions|\nBy default, this", str(error), maxsplit=1
    )[0]
    if "Out of Memory" in message:
        message += "; ask for fewer rows or columns at once"
    # Where a thread fails, DuckDB interrupts the others, and now and then theirs is the error that it keeps.
    if message.startswith("INTERRUPT Error"):
        message += " Unless you stopped the query, something in it failed: ask again to be told what"
    return " ".join(message.split())


def _did_you_mean(connection: duckdb.DuckDBPyConnection, message: str) -> str:
    """The nearest names of the dataset, else of DICOM's dictionary, to the one that is missing."""
    missing = missing_name(message)
    if missing is None or missing.lower() in attributes_by_keyword():
        return ""
    of_dataset = {
        str(name).lower(): str(name)
        for view in (*TABLES, "dicom_all")
        for name, *_ in connection.execute(f"DESCRIBE memory.main.{view}").fetchall()
    }
    of_dicom = {name: attribute.keyword for name, attribute in attributes_by_keyword().items()}
    for known, likeness in ((of_dataset, 0.8), (of_dicom, 0.8), (of_dataset, 0.6)):
        if near := difflib.get_close_matches(missing.lower(), known, n=3, cutoff=likeness):
            return f"; did you mean {', '.join(known[name] for name in near)}?"
    return ""


def _add_release(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Make a view of each table that the installed idc-index release brings; return their files."""
    files = {table.name: str(table.path) for table in index_tables().values() if table.path is not None}
    for name, file in files.items():
        connection.execute(f"CREATE VIEW {identifier(name)} AS SELECT * FROM read_parquet({literal(file)})")
    return list(files.values())


def _some(rows: str, condition: str | None) -> str:
    return rows if condition is None else f"SELECT * FROM ({rows}) WHERE {condition}"


def _add_views(connection: duckdb.DuckDBPyConnection, parts: str, condition: str | None) -> None:
    """Make the views of instances; those upon them over an empty one, since DuckDB opens what it binds."""
    there = define_instances(connection, parts)
    names = [*INSTANCE_COLUMNS.names, *(field.name for field in there)]
    arrays = array_columns(pa.unify_schemas([INSTANCE_COLUMNS, there]))
    for table in DICOM_TABLES:
        view = dicom_view(table, with_curated("instances", names), arrays)
        connection.execute(f"CREATE VIEW {table} AS {view}")
    connection.execute(f"CREATE VIEW series AS {series_view(names)}")
    connection.execute(f"CREATE VIEW studies AS {studies_view(names)}")
    rows = _some(with_fixed_columns(f"({parts})", there), condition)
    connection.execute(f"CREATE OR REPLACE VIEW instances AS {rows}")


def build_index(connection: duckdb.DuckDBPyConnection, name: str) -> Result:
    """Make one of IDC's index tables, with the columns and types that its schema in the release has.

    `idc_index` takes the attributes from the headers, and licence, DOI and releases from the
    installed release, by SeriesInstanceUID. Where IDC's definition stops at what IDC has not, such as
    another SOP class, its name is NULL.

    Args:
        connection: From `open_dataset`.
        name: One of `INDEX_NAMES`.

    Raises:
        QueryError: There is no such table, or the installed release defines it in a way that cannot
            be translated.
    """
    table = derived_table(name)
    return run_query(connection, table.query(readable_views(connection, table.sql).columns_of))
