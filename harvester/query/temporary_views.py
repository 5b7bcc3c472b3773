"""Temporary views for one query: absent attributes as columns of NULLs, and IDC's tables.

All attributes of the dictionary as columns would slow down every query. So a query is first bound to an
empty table with the columns of the dataset, and gets each attribute that DuckDB misses there, as a column
or as a field of the sequences that the query names. An alias of the same name takes precedence.
"""

import re
from collections.abc import Iterable, Mapping
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
from harvester.query.views import CURATED, DICOM_TABLES, HEADER_MODALITY, array_columns, dicom_view

_SCHEMA_TABLES: Final = ("information_schema_columns", "information_schema_tables")
_PROJECT: Final = "bigquery-public-data"
_RELEASE: Final = "idc_current"
_EMPTY: Final = "memory.harvest.instances"
_HIDDEN: Final = "harvest_rows"
_STAR: Final = re.compile(r"(?:\b(?:select|distinct|all)|[.,(])\s*\*|\bcolumns\s*\(|^\s*from", re.IGNORECASE)
# A person's query names fewer attributes that are not there.
_MAXIMUM_ABSENT: Final = 1000


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
    if columns.may_lack():
        _add_missing(connection, columns, (tables, derived), sql, parameters)
    elif not tables:
        return
    # Over the empty table first: what DuckDB defines it binds, which over the parts opens all of them.
    _define(connection, columns.view(_EMPTY), tables, None if _takes_all(sql) else names, derived)
    connection.execute(f"CREATE OR REPLACE TEMP VIEW {_HIDDEN} AS {columns.view(ROWS)}")


def readable_views(connection: duckdb.DuckDBPyConnection, sql: str) -> Views:
    """The views that a query in BigQuery's dialect can read, with their columns.

    Args:
        connection: From `open_dataset`.
        sql: The query; of the views over `instances` only those are defined that it names.
    """
    _drop_views(connection)
    names, tables, derived = _named(sql)
    columns = _columns(connection, names, tables)
    if derived:
        _add_missing_of_views(connection, columns, tables, derived)
    _define(connection, columns.view(_EMPTY), tables, None, derived)
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
    connection: duckdb.DuckDBPyConnection, columns: AvailableColumns, tables: list[str], derived: list[str]
) -> None:
    """Add the attributes that DuckDB misses in derived tables."""
    _define(connection, columns.view(_EMPTY), tables, columns.names, ())
    for name in derived:
        for _ in range(_MAXIMUM_ABSENT):
            try:
                _define_derived(connection, name)
                break
            except duckdb.BinderException as error:
                if not columns.add_missing(error, _words(derived_table(name).sql)):
                    break
                _define(connection, columns.view(_EMPTY), tables, columns.names, ())


def _add_missing(
    connection: duckdb.DuckDBPyConnection,
    columns: AvailableColumns,
    views: tuple[list[str], list[str]],
    sql: str,
    parameters: Parameters,
) -> None:
    """Add the attributes that DuckDB misses in a query.

    Raises:
        QueryError: Only items of sequences have one of them, or its values are binary.
    """
    tables, derived = views
    _add_missing_of_views(connection, columns, tables, derived)
    for _ in range(_MAXIMUM_ABSENT):
        _define(connection, columns.view(_EMPTY), tables, columns.names, derived)
        error = _binding_error(connection, sql, parameters)
        if error is None:
            return
        columns.refuse_nested(error)
        if not columns.add_missing(error, columns.names):
            return


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


def _define(
    connection: duckdb.DuckDBPyConnection,
    instances: str,
    tables: Iterable[str],
    names: Iterable[str] | None,
    derived: Iterable[str],
) -> None:
    connection.execute(f"CREATE OR REPLACE TEMP VIEW {_HIDDEN} AS {instances}")
    connection.execute(
        f"CREATE OR REPLACE TEMP VIEW instances AS SELECT * EXCLUDE ({HEADER_MODALITY}) FROM {_HIDDEN}"
    )
    tables = list(tables)
    arrays = array_columns(_schema(connection, "temp.main.instances")) if tables else []
    for table in tables:
        view = dicom_view(table, f"temp.main.{_HIDDEN}", arrays, names, catalog="memory.main.")
        connection.execute(f"CREATE OR REPLACE TEMP VIEW {table} AS {view}")
    for name in derived:
        _define_derived(connection, name)


def _define_derived(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    query = derived_table(name).query(lambda view: _schema(connection, identifier(view)))
    connection.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS {query}")


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


def _takes_all(sql: str) -> bool:
    """Whether a query can return columns that it does not name."""
    without_counts = re.sub(r"count\s*\(\s*\*\s*\)", "", sql, flags=re.IGNORECASE)
    return re.search(r"select", sql, re.IGNORECASE) is None or _STAR.search(without_counts) is not None
