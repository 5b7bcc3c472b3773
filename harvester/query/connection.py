"""SQL over a dataset: DuckDB with its views, those of the idc-index release, and nothing else."""

import secrets
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa

from harvester.catalog.database import add_table, identifier, in_memory, literal, lock
from harvester.catalog.release import index_files
from harvester.dataset import INSTANCE_COLUMNS, TABLES, Dataset, Snapshot, TableName
from harvester.dataset.paths import REPLACED
from harvester.errors import DatasetError, QueryError
from harvester.query.idc_tables import INDEX_NAMES
from harvester.query.part_files import define_files, files_by_table
from harvester.query.run import plain_message
from harvester.query.supersession import add_marks, marked, with_marks
from harvester.query.temporary_views import ROWS, define_instances, with_fixed_columns
from harvester.query.views import (
    DICOM_TABLES,
    array_columns,
    dicom_view,
    instance_columns,
    series_view,
    studies_view,
    table_view,
    with_curated,
)


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

# A dataset that is compacted while it is opened is opened again.
_ATTEMPTS: Final = 20


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
    if any("\ud800" <= letter <= "\udfff" for letter in dataset.location):
        raise DatasetError(f"{dataset.location}: the path is not UTF-8, as SQL needs it; rename the folder")
    snapshot, columns = dataset.snapshot()
    for _ in range(_ATTEMPTS):
        files = files_by_table(snapshot)
        try:
            return _opened(dataset, snapshot, files, columns, options)
        except duckdb.Error as error:
            if files_by_table(snapshot) != files:
                continue  # a compaction has moved parts meanwhile
            before = snapshot
            snapshot, columns = dataset.snapshot()
            if snapshot == before:
                raise QueryError(f"{dataset.location}: {plain_message(error)}") from error
    raise DatasetError(f"{dataset.location}: changes faster than it can be read; try again")


def register(connection: duckdb.DuckDBPyConnection, name: str, table: pa.Table) -> None:
    """Add a table of the user's, or replace one of this name.

    Args:
        connection: From `open_dataset`.
        name: Its name.
        table: Its rows, which are copied.

    Raises:
        QueryError: The name is one of the dataset's tables or views, or DuckDB cannot hold a column.
    """
    views = connection.execute("SELECT lower(view_name) FROM duckdb_views() WHERE NOT internal").fetchall()
    if name.lower() in {view for (view,) in views} | {*TABLES, *DICOM_TABLES, *INDEX_NAMES}:
        raise QueryError(f"{name!r} is a table of the dataset; register yours under another name")
    try:
        connection.execute(f"DROP TABLE IF EXISTS {identifier(name)}")
        add_table(connection, name, table)
    except duckdb.Error as error:
        raise QueryError(f"table {name!r}: {plain_message(error)}") from error


def open_release() -> duckdb.DuckDBPyConnection:
    """A connection to the tables of the installed idc-index release; those of a dataset are empty."""
    with tempfile.TemporaryDirectory(prefix="harvester-release-") as folder:
        return open_dataset(Dataset.create(folder).location)


def _opened(
    dataset: Dataset,
    snapshot: Snapshot,
    files: Mapping[TableName, list[str]],
    columns: Mapping[TableName, pa.Schema],
    options: DatabaseOptions,
) -> duckdb.DuckDBPyConnection:
    marks = dataset.marks()
    parts = {kind: table_view(kind, columns[kind], empty=not files[kind]) for kind in TABLES}
    connection = in_memory(
        autoinstall_known_extensions="false",
        autoload_known_extensions="false",
        allow_community_extensions="false",
        python_enable_replacements="false",
        **options.settings,
        # Made only when a query outgrows memory, and deleted with the connection.
        temp_directory=f"{tempfile.gettempdir()}/harvester-query-{secrets.token_hex(8)}",
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
        there = with_marks(instance_columns(columns["instances"], empty=not files["instances"]))
        instances = marked(parts["instances"], marks, columns["instances"].names)
        _add_views(connection, instances, there, options.rows.get("instances"))
        # DuckDB would use nine tenths of the free disk space; as an option of connect this has no effect.
        room = shutil.disk_usage(tempfile.gettempdir()).free // 2
        connection.execute(f"SET max_temp_directory_size = '{room // 1000}kB'")
        if options.asked_often:
            connection.execute("SET parquet_metadata_cache = true")
        # Makes `query_progress` available; DuckDB itself prints nothing. In a notebook without ipywidgets
        # DuckDB refuses the settings.
        with suppress(duckdb.InvalidInputException):
            connection.execute("SET enable_progress_bar_print = false")
            connection.execute("SET enable_progress_bar = true")
        lock(
            connection,
            [*release, *chain.from_iterable(files.values())],
            [f"{dataset.storage.folder}/{REPLACED}"],
        )
    except duckdb.Error:
        connection.close()
        raise
    return connection


def _add_release(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Make a view of each table that the installed idc-index release brings; return their files."""
    files = {name: str(file) for name, file in index_files().items()}
    for name, file in files.items():
        connection.execute(f"CREATE VIEW {identifier(name)} AS SELECT * FROM read_parquet({literal(file)})")
    if "idc_index" in files:  # its name in idc-index's own queries
        connection.execute('CREATE VIEW "index" AS FROM idc_index')
    return list(files.values())


def _some(rows: str, condition: str | None) -> str:
    return rows if condition is None else f"SELECT * FROM ({rows}) WHERE {condition}"


def _add_views(
    connection: duckdb.DuckDBPyConnection, parts: str, there: pa.Schema, condition: str | None
) -> None:
    """Make the views of instances; those upon them over an empty one, since DuckDB opens what it binds."""
    define_instances(connection, there)
    names = [*INSTANCE_COLUMNS.names, *there.names]
    arrays = array_columns(pa.unify_schemas([INSTANCE_COLUMNS, there]))
    for table in DICOM_TABLES:
        view = dicom_view(table, with_curated(ROWS, names), arrays)
        # To bind all its columns anew takes ten times as long.
        connection.execute(
            f"CREATE VIEW {table} AS {'FROM dicom_all' if table == 'dicom_metadata' else view}"
        )
    connection.execute(f"CREATE VIEW series AS {series_view(names)}")
    connection.execute(f"CREATE VIEW studies AS {studies_view(names)}")
    rows = _some(with_fixed_columns(f"({parts})", there), condition)
    connection.execute(f"CREATE OR REPLACE VIEW {ROWS} AS {rows}")
