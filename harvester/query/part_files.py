"""The files behind a dataset's views: SQL variables, which follow parts that a compaction moves."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import duckdb

from harvester.catalog.database import literal
from harvester.dataset import TABLES, Snapshot, TableName
from harvester.dataset.directory import LocalStorage
from harvester.dataset.paths import REPLACED
from harvester.dataset.snapshot import locate_parts, missing_part_error
from harvester.dataset.storage import Storage
from harvester.errors import QueryError

_FOLDER: Final = "harvest_folder"
_MISSING_FILE: Final = re.compile(r"Cannot (?:open|access) file|No files found")


def files_of(table: TableName) -> str:
    """The SQL expression of a table's files."""
    return f"getvariable('harvest_{table}')"


def files_by_table(snapshot: Snapshot) -> dict[TableName, list[str]]:
    """The files of all tables, where they are now."""
    return {table: snapshot.files(table) for table in TABLES}


def define_files(
    connection: duckdb.DuckDBPyConnection, storage: Storage, files: Mapping[TableName, Sequence[str]]
) -> None:
    """Set the variables to the files of each table."""
    # Only in a directory do parts move: in a bucket `PartFiles` finds them.
    folder = storage.folder if storage.filesystem is None else ""
    connection.execute(f"SET VARIABLE {_FOLDER} = {literal(folder)}")
    for table, found in files.items():
        _set(connection, table, found)


def follow_files(connection: duckdb.DuckDBPyConnection) -> bool:
    """Set the variables again where a compaction has moved files; False where none has moved."""
    folder = _value(connection, f"getvariable('{_FOLDER}')")
    if not folder:
        return False
    storage, moved = LocalStorage(Path(folder)), False
    for table in TABLES:
        files = _value(connection, files_of(table)) or []
        paths = [file.removeprefix(f"{folder}/") for file in files]
        # `_harvest/replaced/<generation>/<path>` is where an earlier compaction keeps a part.
        parts = [path.split("/", 3)[3] if path.startswith(f"{REPLACED}/") else path for path in paths]
        found = [f"{folder}/{path}" for path in locate_parts(storage, parts)]
        if found != files:
            _set(connection, table, found)
            moved = True
    return moved


def lacks_file(error: Exception) -> bool:
    """Whether DuckDB found no file where one was."""
    return _MISSING_FILE.search(str(error)) is not None


def missing_part(connection: duckdb.DuckDBPyConnection) -> QueryError | None:
    """The error that names the first part that is no longer there; None where all are."""
    folder = _value(connection, f"getvariable('{_FOLDER}')")
    if not folder:
        return None
    for table in TABLES:
        for file in _value(connection, files_of(table)) or []:
            if not Path(file).exists():
                return QueryError(str(missing_part_error(file, folder)))
    return None


def _set(connection: duckdb.DuckDBPyConnection, table: TableName, files: Sequence[str]) -> None:
    connection.execute(f"SET VARIABLE harvest_{table} = [{', '.join(map(literal, files))}]::VARCHAR[]")


def _value(connection: duckdb.DuckDBPyConnection, expression: str) -> Any:
    return connection.execute(f"SELECT {expression}").fetchall()[0][0]
