"""IDC's own index tables, made from a harvest by the definitions that the idc-index release brings."""

from typing import Final

import duckdb

from harvester.catalog.database import identifier
from harvester.catalog.release import IndexColumn, IndexTable, index_tables
from harvester.errors import QueryError
from harvester.query.bigquery.translate import translate
from harvester.query.connection import Result, run_query

INDEX_NAMES: Final = (
    "idc_index",
    "sm_index",
    "sm_instance_index",
    "seg_index",
    "ann_index",
    "ann_group_index",
    "contrast_index",
    "volume_geometry_index",
    "rtstruct_index",
    "ct_index",
    "mr_index",
    "pt_index",
)
"""The index tables that follow from headers; the release's others are of collections, or clinical."""

_TYPES: Final = {
    "STRING": "VARCHAR",
    "INTEGER": "BIGINT",
    "FLOAT": "DOUBLE",
    "BOOLEAN": "BOOLEAN",
    "DATE": "DATE",
    "TIMESTAMP": "TIMESTAMP",
}


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
    return run_query(connection, index_query(name))


def index_query(name: str) -> str:
    """The query by which an index table is made, in DuckDB's dialect; as `build_index` says.

    Raises:
        QueryError: There is no such table, or it cannot be translated.
    """
    if name not in INDEX_NAMES:
        raise QueryError(f"{name!r} is no index table of headers; there are {', '.join(INDEX_NAMES)}")
    table = index_tables().get(name)
    if table is None or table.sql is None or not table.columns:
        raise QueryError(f"the installed idc-index-data does not define {name}; upgrade it with pip")
    return _typed(table, translate(table.sql, errors_as_null=True))


def _typed(table: IndexTable, query: str) -> str:
    return f"SELECT {', '.join(map(_column, table.columns))} FROM ({query}) AS built"


def _column(column: IndexColumn) -> str:
    name = identifier(column.name)
    kind = _TYPES.get(column.kind)
    value = name if kind is None else f"CAST({name} AS {kind}{'[]' if column.repeated else ''})"
    # An array is never NULL in what BigQuery exports.
    return f"{f'COALESCE({value}, [])' if column.repeated else value} AS {name}"
