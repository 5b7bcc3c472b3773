"""The rows of instances with what became of them since: superseded, or moved to another collection."""

from collections.abc import Iterable
from typing import Final

import duckdb
import pyarrow as pa

from harvester.catalog.database import identifier
from harvester.dataset.tombstones import Tombstones
from harvester.query.sql_types import sql_type

CURRENT: Final = "superseded_at IS NULL"
"""Which rows of `instances` the newest release, or the last listing, still has."""

SUPERSEDED: Final = ("superseded_in", "superseded_at")

_SERIES: Final = "memory.harvest.series_marks"
_OBJECTS: Final = "memory.harvest.object_marks"


def add_marks(connection: duckdb.DuckDBPyConnection, marks: Tombstones) -> None:
    """Keep the marks as tables of the connection."""
    connection.execute("CREATE SCHEMA IF NOT EXISTS harvest")
    for name, table in ((_SERIES, marks.series_table()), (_OBJECTS, marks.object_table())):
        columns = (f"{identifier(field.name)} {sql_type(field.type)}" for field in table.schema)
        connection.execute(f"CREATE TABLE {name} ({', '.join(columns)})")
        if table.num_rows:  # to look at a table of Arrow DuckDB loads pandas: longer than most queries take
            connection.register("incoming", table)
            connection.execute(f"INSERT INTO {name} BY NAME SELECT * FROM incoming")
            connection.unregister("incoming")


def with_marks(columns: pa.Schema) -> pa.Schema:
    """The columns that `marked` has, over parts with these."""
    return pa.unify_schemas(
        [columns, pa.schema([(SUPERSEDED[0], pa.int64()), (SUPERSEDED[1], pa.timestamp("us"))])]
    )


def marked(parts: str, marks: Tombstones, present: Iterable[str]) -> str:
    """The query that reads the parts, with the columns `superseded_in` and `superseded_at`.

    Args:
        parts: Reads the parts of `instances`.
        marks: What `add_marks` was given.
        present: The names of the parts' columns: what has no address or series cannot be marked.
    """
    there = set(present)
    columns, joins = {"superseded_in": "CAST(NULL AS BIGINT)", "superseded_at": "CAST(NULL AS TIMESTAMP)"}, ""
    replaced = ""
    if marks.series and "crdc_series_uuid" in there:
        joins += f" LEFT JOIN {_SERIES} AS s ON p.crdc_series_uuid = s.crdc_series_uuid"
        columns = {"superseded_in": "s.superseded_in", "superseded_at": "s.superseded_at"}
        if any(mark.moved_in is not None for mark in marks.series.values()):
            replaced = " REPLACE (COALESCE(s.collection_id, p.collection_id) AS collection_id)"
    if marks.objects and {"instance_url", "harvested_at"} <= there:
        joins += (
            f" LEFT JOIN {_OBJECTS} AS o ON p.instance_url = o.instance_url"
            " AND p.harvested_at < o.superseded_at"
        )
        columns["superseded_at"] = f"COALESCE({columns['superseded_at']}, o.superseded_at)"
    added = ", ".join(f"{sql} AS {name}" for name, sql in columns.items())
    return f"SELECT p.*{replaced}, {added} FROM ({parts}) AS p{joins}"
