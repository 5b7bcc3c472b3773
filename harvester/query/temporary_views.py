"""Temporary views for one query: absent attributes as columns of NULLs, and IDC's tables.

All attributes of the dictionary as columns would slow down every query. So a query is first bound to an
empty table with the columns of the dataset, and gets each attribute that DuckDB misses there, as a column
or as a field of the sequences that the query names. An alias of the same name takes precedence.
"""

import re
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

import duckdb
import pyarrow as pa

from harvester.catalog.database import identifier, literal
from harvester.dataset import INSTANCE_COLUMNS
from harvester.query.bigquery.inputs import NO_PARAMETERS, Parameters, Views, table_name
from harvester.query.idc_tables import DERIVED_TABLES, derived_table
from harvester.query.missing_attributes import AvailableColumns
from harvester.query.portal_tables import PIVOT_ATTRIBUTES
from harvester.query.sql_types import arrow_type, sql_type
from harvester.query.supersession import SUPERSEDED
from harvester.query.views import CURATED, DICOM_TABLES, HEADER_MODALITY, dicom_view

_SCHEMA_TABLES: Final = ("information_schema_columns", "information_schema_tables")
_PROJECT: Final = "bigquery-public-data"
_RELEASE: Final = "idc_current"
_EMPTY: Final = "memory.harvest.instances"
_HIDDEN: Final = "harvest_rows"
_STAR: Final = re.compile(r"(?:\b(?:select|distinct|all)|[.,(])\s*\*|\bcolumns\s*\(|^\s*from", re.IGNORECASE)
# What IDC's tables need of `instances`, whatever a query names.
_ALWAYS: Final = frozenset(
    name.lower() for name in (*INSTANCE_COLUMNS.names, *CURATED, *SUPERSEDED, HEADER_MODALITY)
)
# A query that names one of these can return attributes that it does not name.
_WITH_ALL_ATTRIBUTES: Final = frozenset(("instances", "information_schema", *DICOM_TABLES))
# A person's query names fewer attributes that are not there.
_MAXIMUM_ABSENT: Final = 1000


@dataclass(frozen=True, slots=True)
class _Definitions:
    """What is defined over the rows of `instances`.

    Attributes:
        tables: Which of `DICOM_TABLES`.
        derived: Which of `DERIVED_TABLES`, in order.
        names: The names that a query uses, in lower case; None: all, it can return each.
        only_named: Whether the rows have columns of these names alone, and those that IDC's tables need.
    """

    tables: list[str]
    derived: list[str]
    names: AbstractSet[str] | None
    only_named: bool

    def rows(self, columns: AvailableColumns, table: str) -> str:
        """The query of the rows, from `ROWS` or the empty table."""
        return columns.view(table, self.names | _ALWAYS if self.only_named and self.names else None)

    def define(self, connection: duckdb.DuckDBPyConnection, columns: AvailableColumns) -> None:
        """Make the temporary views, over the empty table: what DuckDB defines it binds, which opens parts."""
        connection.execute(f"CREATE OR REPLACE TEMP VIEW {_HIDDEN} AS {self.rows(columns, _EMPTY)}")
        if not self.only_named:
            connection.execute(
                f"CREATE OR REPLACE TEMP VIEW instances AS "
                f"SELECT * EXCLUDE ({HEADER_MODALITY}) FROM {_HIDDEN}"
            )
        for table in self.tables:
            view = dicom_view(
                table, f"temp.main.{_HIDDEN}", columns.arrays, self.names, catalog="memory.main."
            )
            connection.execute(f"CREATE OR REPLACE TEMP VIEW {table} AS {view}")
        for name in self.derived:
            query = derived_table(name).query(lambda view: _schema(connection, identifier(view)))
            connection.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS {query}")


ROWS: Final = "memory.harvest.rows"
"""The rows of `instances`, with what only IDC's tables show of them."""


def define_instances(connection: duckdb.DuckDBPyConnection, there: pa.Schema) -> None:
    """Make `ROWS` and the view `instances`, for now without rows: it is kept as a table, to bind queries to.

    Args:
        connection: New.
        there: The columns of what reads the parts.
    """
    columns = (f"{identifier(field.name)} {sql_type(field.type)}" for field in (*there, *_absent(there)))
    connection.execute("CREATE SCHEMA IF NOT EXISTS harvest")
    connection.execute(f"CREATE TABLE {_EMPTY} ({', '.join(columns)})")
    connection.execute(f"CREATE VIEW {ROWS} AS SELECT * FROM {_EMPTY}")
    connection.execute(f"CREATE VIEW instances AS SELECT * EXCLUDE ({HEADER_MODALITY}) FROM {ROWS}")


def with_fixed_columns(table: str, there: pa.Schema) -> str:
    """A table of instances with the columns that every dataset has, whatever its parts hold."""
    missing = (
        f"CAST(NULL AS {sql_type(field.type)}) AS {identifier(field.name)}" for field in _absent(there)
    )
    return f"SELECT {', '.join(['*', *missing])} FROM {table}"


def _absent(there: pa.Schema) -> list[pa.Field]:
    """The columns that every dataset has, and its parts lack."""
    present = {field.name.lower() for field in there}
    return [field for field in INSTANCE_COLUMNS if field.name.lower() not in present]


def bind(
    connection: duckdb.DuckDBPyConnection,
    sql: str,
    parameters: Parameters = NO_PARAMETERS,
    attributes: Iterable[str] = (),
) -> None:
    """Make the temporary views that a query needs in place of the dataset's own, and no others.

    Args:
        connection: From `open_dataset`.
        sql: A query in DuckDB's dialect.
        parameters: The values of its parameters.
        attributes: Keywords of columns that the query reads.

    Raises:
        QueryError: It names an attribute whose values are binary: those have no column.
    """
    _drop_views(connection)
    names, tables, derived = _named(sql)
    columns = _columns(connection, names, tables)
    for attribute in attributes:
        columns.add_column(attribute)
    if columns.may_lack(names):
        _add_missing_of_views(connection, columns, derived)
    elif not tables:
        return
    only_named = _reads_derived_tables_only(sql, derived)
    takes_all = not only_named and _takes_all(sql)
    views = _Definitions(tables, derived, None if takes_all else names, only_named)
    _define(connection, columns, views, names)
    if columns.may_lack(_words(sql)):
        _add_missing(connection, columns, views, sql, parameters)
    connection.execute(f"CREATE OR REPLACE TEMP VIEW {_HIDDEN} AS {views.rows(columns, ROWS)}")


def readable_views(connection: duckdb.DuckDBPyConnection, sql: str) -> Views:
    """The views that a query in BigQuery's dialect can read, with their columns.

    Args:
        connection: From `open_dataset`.
        sql: The query; of the views over `instances` only those are defined that it names.
    """
    _drop_views(connection)
    names, tables, derived = _named(sql)
    columns = _columns(connection, names, tables)
    _add_missing_of_views(connection, columns, derived)
    only_named = _reads_derived_tables_only(sql, derived)
    _define(
        connection, columns, _Definitions(tables, derived, names if only_named else None, only_named), names
    )
    rows = connection.execute("SHOW TABLES").fetchall()
    views = (frozenset(str(name).lower() for (name,) in rows) - {_HIDDEN}) | {
        *DICOM_TABLES,
        *DERIVED_TABLES,
        *_SCHEMA_TABLES,
    }

    def columns_of(view: str) -> pa.Schema | None:
        if view not in views or (view in _SCHEMA_TABLES and "information_schema" not in names):
            return None
        schema = _schema(connection, identifier(view))
        return schema if view in DERIVED_TABLES else columns.without_added_fields(schema)

    if "information_schema" in names:
        listed = views - {*_SCHEMA_TABLES, *DERIVED_TABLES} | {*derived}
        _define_information_schema(connection, {view: columns_of(view) for view in sorted(listed)})
    return Views(views, columns_of)


def _columns(connection: duckdb.DuckDBPyConnection, names: set[str], tables: list[str]) -> AvailableColumns:
    """The columns of the dataset, and those that a table of IDC always has."""
    columns = AvailableColumns(_schema(connection), names)
    curated = CURATED if "dicom_metadata_curated" in tables else ()
    for attribute in (*curated, *(PIVOT_ATTRIBUTES if "dicom_pivot" in names else ())):
        columns.add_column(attribute)
    return columns


def _define_information_schema(
    connection: duckdb.DuckDBPyConnection, columns: Mapping[str, pa.Schema | None]
) -> None:
    """Make the tables of IDC's tables and of their columns, with BigQuery's types.

    Of derived tables only the columns of those that the query names are listed: each has to be defined.
    """
    from harvester.query.bigquery.column_types import sqlglot_type  # noqa: PLC0415  slow to import

    named = [
        {
            "table_catalog": _PROJECT,
            "table_schema": _RELEASE,
            "table_name": table,
            "column_name": field.name,
            "ordinal_position": position,
            "is_nullable": "NO" if pa.types.is_list(field.type) else "YES",
            "data_type": sqlglot_type(field.type).sql("bigquery"),
        }
        for table, schema in columns.items()
        for position, field in enumerate(schema or (), start=1)
    ]
    tables = [(_PROJECT, _RELEASE, table) for table in sorted({*columns, *DERIVED_TABLES})]
    connection.register("incoming", pa.Table.from_pylist(named))
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {_SCHEMA_TABLES[0]} AS SELECT * FROM incoming")
    connection.unregister("incoming")
    values = ", ".join(f"({', '.join(map(literal, table))}, 'BASE TABLE')" for table in tables)
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {_SCHEMA_TABLES[1]} AS "
        f"FROM (VALUES {values}) AS listed(table_catalog, table_schema, table_name, table_type)"
    )


def _add_missing_of_views(
    connection: duckdb.DuckDBPyConnection, columns: AvailableColumns, derived: list[str]
) -> None:
    """Add the attributes that DuckDB misses in derived tables that read no other derived table.

    It names them one by one, so each table is defined over the columns alone that it names.
    """
    for name in derived:
        names, tables, others = _named(derived_table(name).sql)
        if not others:
            _define(connection, columns, _Definitions(tables, [name], names, only_named=True), names)


def _define(
    connection: duckdb.DuckDBPyConnection,
    columns: AvailableColumns,
    views: _Definitions,
    names: AbstractSet[str],
) -> None:
    """Make temporary views, and add the attributes that DuckDB misses in them."""
    for _ in range(_MAXIMUM_ABSENT):
        try:
            views.define(connection, columns)
        except duckdb.BinderException as error:
            if not columns.add_missing(error, names):
                raise
        else:
            return


def _add_missing(
    connection: duckdb.DuckDBPyConnection,
    columns: AvailableColumns,
    views: _Definitions,
    sql: str,
    parameters: Parameters,
) -> None:
    """Add the attributes that DuckDB misses in a query.

    Raises:
        QueryError: Only items of sequences have one of them, or its values are binary.
    """
    for _ in range(_MAXIMUM_ABSENT):
        error = _binding_error(connection, sql, parameters)
        if error is None:
            return
        columns.refuse_nested(error)
        if not columns.add_missing(error, columns.names):
            return
        _define(connection, columns, views, columns.names)


def _drop_views(connection: duckdb.DuckDBPyConnection) -> None:
    for view in (_HIDDEN, "instances", *DICOM_TABLES, *DERIVED_TABLES):
        connection.execute(f"DROP VIEW IF EXISTS temp.main.{view}")


def _named(sql: str) -> tuple[set[str], list[str], list[str]]:
    """The words of a query and of the tables that it is derived from, and those tables in order."""
    texts, derived = [sql], list[str]()
    if "information_schema" in _words(sql):
        texts.append(" ".join(DICOM_TABLES))
    for text in texts:
        for name in DERIVED_TABLES:
            if name in _words(text) and name not in derived:
                derived.append(name)
                texts.append(derived_table(name).sql)
    names = set().union(*map(_words, texts))
    order = list(DERIVED_TABLES)
    return names, [table for table in DICOM_TABLES if table in names], sorted(derived, key=order.index)


def _words(sql: str) -> set[str]:
    words = {word.lower() for word in re.findall(r"\w+", sql)}
    return words | {table_name(word) for word in words}


def _schema(connection: duckdb.DuckDBPyConnection, table: str = _EMPTY) -> pa.Schema:
    relation = connection.sql(f"SELECT * FROM {table}")
    kinds = map(arrow_type, relation.types)
    return pa.schema([pa.field(name, kind) for name, kind in zip(relation.columns, kinds, strict=True)])


def _binding_error(
    connection: duckdb.DuckDBPyConnection, sql: str, parameters: Parameters
) -> duckdb.Error | None:
    """What is wrong with a query over the empty table."""
    try:
        connection.execute(f"EXPLAIN {sql}", dict(parameters) or None)
    except duckdb.ParserException:  # DESCRIBE, SUMMARIZE: they can be run, there are no rows
        try:
            connection.execute(sql)
        except duckdb.Error as error:
            return error
    except duckdb.Error as error:
        return error
    return None


def _reads_derived_tables_only(sql: str, derived: list[str]) -> bool:
    """Whether a query can return only attributes that it or a derived table names."""
    return bool(derived) and _words(sql).isdisjoint(_WITH_ALL_ATTRIBUTES)


def _takes_all(sql: str) -> bool:
    """Whether a query can return columns that it does not name."""
    without_counts = re.sub(r"count\s*\(\s*\*\s*\)", "", sql, flags=re.IGNORECASE)
    return re.search(r"select", sql, re.IGNORECASE) is None or _STAR.search(without_counts) is not None
