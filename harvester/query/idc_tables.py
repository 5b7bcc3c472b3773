"""IDC's index tables, made from a harvest by the definitions in the installed idc-index release."""

import re
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from harvester.catalog.database import identifier
from harvester.catalog.release import IndexColumn, index_tables
from harvester.errors import QueryError
from harvester.query.bigquery.inputs import ColumnsOf, Views
from harvester.query.derived_tables import DERIVED
from harvester.query.dictionary import attributes_by_keyword
from harvester.query.sql_types import absent_type
from harvester.query.views import DICOM_TABLES

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

DERIVED_TABLES: Final = (*DERIVED, *INDEX_NAMES[1:])
"""The tables that a query can read although no view of them is kept; `idc_index` is the release's own."""

_TABLES_WITH_SERIES: Final = ("dicom_all", "dicom_metadata", "auxiliary_metadata")
_TYPES: Final = {
    "STRING": "VARCHAR",
    "INTEGER": "BIGINT",
    "FLOAT": "DOUBLE",
    "BOOLEAN": "BOOLEAN",
    "DATE": "DATE",
    "TIMESTAMP": "TIMESTAMP",
}


@dataclass(frozen=True, slots=True)
class DerivedTable:
    """A table that a query defines over the dataset's views.

    Attributes:
        sql: The query: in DuckDB's dialect, or IDC's own in BigQuery's.
        columns: The columns of IDC's table; empty for a query in DuckDB's dialect.
    """

    sql: str
    columns: tuple[IndexColumn, ...] = ()

    def query(self, columns_of: ColumnsOf) -> str:
        """The definition in DuckDB's dialect; instances without a SeriesInstanceUID are left out.

        Args:
            columns_of: The columns of the views that it reads.
        """
        if not self.columns:
            return self.sql
        from harvester.query.bigquery.translate import translate  # noqa: PLC0415  slow to import

        query = translate(self.sql, Views({*DICOM_TABLES, *DERIVED_TABLES}, columns_of), errors_as_null=True)
        # `NOT IN (SELECT SeriesInstanceUID ...)` holds for no row if one of these is NULL.
        rows = [
            f"{table} AS NOT MATERIALIZED (FROM {table} WHERE SeriesInstanceUID IS NOT NULL)"
            for table in _TABLES_WITH_SERIES
            if re.search(rf"\b{table}\b", self.sql)
        ]
        columns = ", ".join(map(_column, self.columns))
        return f"WITH {', '.join(rows)} SELECT {columns} FROM ({query}) AS built"


def derived_table(name: str) -> DerivedTable:
    """The definition of one of `DERIVED_TABLES`, or of `idc_index`.

    Raises:
        QueryError: There is no such table, or the installed release does not define it.
    """
    if name in DERIVED:
        return DerivedTable(DERIVED[name])
    if name not in INDEX_NAMES:
        raise QueryError(f"{name!r} is no index table of headers; there are {', '.join(INDEX_NAMES)}")
    table = index_tables().get(name)
    if table is None or table.sql is None or not table.columns:
        raise QueryError(f"the installed idc-index-data does not define {name}; upgrade it with pip")
    # Its comments name other tables, which it does not read.
    return DerivedTable(re.sub(r"^\s*#.*$", "", table.sql, flags=re.MULTILINE), table.columns)


def index_query(name: str) -> str:
    """The query that makes an index table whose definition reads no sequence, in DuckDB's dialect.

    Raises:
        QueryError: There is no such table, or it cannot be translated.
    """
    columns = pa.schema(
        [
            pa.field(attribute.keyword, kind)
            for attribute in attributes_by_keyword().values()
            if attribute.vr != "SQ" and (kind := absent_type(attribute)) is not None
        ]
    )
    return derived_table(name).query(lambda _view: columns)


def _column(column: IndexColumn) -> str:
    name = identifier(column.name)
    kind = _TYPES.get(column.kind)
    value = name if kind is None else f"CAST({name} AS {kind}{'[]' if column.repeated else ''})"
    # An array is never NULL in what BigQuery exports.
    return f"{f'COALESCE({value}, [])' if column.repeated else value} AS {name}"
