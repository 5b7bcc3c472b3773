"""The tables of the installed idc-index-data release: Parquet files, SQL and columns."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path


@dataclass(frozen=True, slots=True)
class IndexColumn:
    """A column of the release's schema; `kind` is its BigQuery type, or its elements' if `repeated`."""

    name: str
    kind: str
    repeated: bool
    description: str = ""


@dataclass(frozen=True, slots=True)
class IndexTable:
    """One table of the release; `path` is None if the package does not have its rows.

    `sql` is IDC's query for the table, in BigQuery's dialect.
    """

    name: str
    path: Path | None
    sql: str | None
    columns: tuple[IndexColumn, ...]
    description: str = ""


def index_tables() -> dict[str, IndexTable]:
    """The release's tables by name, in its order."""
    import idc_index_data  # noqa: PLC0415 - reads a dozen files, which few commands need

    return {name: _table(name, entry) for name, entry in idc_index_data.INDEX_METADATA.items()}


def index_files() -> dict[str, Path]:
    """The files of the tables whose rows the release has; its package, slow to import, is not loaded."""
    spec = find_spec("idc_index_data")
    folders = () if spec is None else spec.submodule_search_locations or ()
    return {
        file.stem: file.resolve() for folder in folders for file in sorted(Path(folder).glob("*.parquet"))
    }


def _table(name: str, entry: Mapping[str, object]) -> IndexTable:
    path, sql, schema = entry.get("parquet_filepath"), entry.get("sql"), entry.get("schema")
    columns = schema.get("columns", []) if isinstance(schema, dict) else []
    return IndexTable(
        name=name,
        path=path if isinstance(path, Path) else None,
        sql=sql if isinstance(sql, str) else None,
        columns=tuple(
            IndexColumn(
                column["name"],
                column["type"],
                column["mode"] == "REPEATED",
                column.get("description", ""),
            )
            for column in columns
        ),
        description=schema.get("table_description", "") if isinstance(schema, dict) else "",
    )
