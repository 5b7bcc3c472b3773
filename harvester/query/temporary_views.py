"""Temporary views for one query: absent attributes as columns of NULLs, and IDC's tables.

All attributes of the dictionary as columns would slow down every query. So a query is first bound to an
empty table with the columns of the dataset, and gets each attribute that DuckDB misses there, as a column
or as a field of the sequences that the query names. An alias of the same name takes precedence.
"""

import re
from collections.abc import Container, Iterable, Mapping
from typing import Final

import duckdb
import pyarrow as pa

from harvester.catalog.database import identifier, literal
from harvester.dataset import INSTANCE_COLUMNS
from harvester.dicom.dictionary import attributes_by_keyword
from harvester.errors import QueryError
from harvester.query.bigquery.column_types import sqlglot_type
from harvester.query.bigquery.script import NO_PARAMETERS, Parameters
from harvester.query.bigquery.translate import Views
from harvester.query.idc_tables import DERIVED_TABLES, derived_table
from harvester.query.sql_types import absent_type, arrow_type, paths_of, sql_type, with_field
from harvester.query.views import CURATED, DICOM_TABLES, array_columns, dicom_view

_MISSING: Final = re.compile(
    r'column "([^"]+)" (?:not found|does not exist|in \w+ list not found)'
    r'|table "([^"]+)" not found|a column named "([^"]+)"|find key "([^"]+)"',
    re.IGNORECASE,
)
_SCHEMA_TABLES: Final = ("information_schema_columns", "information_schema_tables")
_PROJECT: Final = "bigquery-public-data"
_RELEASE: Final = "idc_current"
_EMPTY: Final = "memory.harvest.instances"
_WHOLE: Final = "memory.main.instances"
_STAR: Final = re.compile(r"(?:\b(?:select|distinct|all)|[.,(])\s*\*|\bcolumns\s*\(|^\s*from", re.IGNORECASE)
# A person's query names fewer attributes that are not there.
_MAXIMUM_ABSENT: Final = 1000


def define_instances(connection: duckdb.DuckDBPyConnection, parts: str) -> pa.Schema:
    """Make the view `instances`, for now without rows: it is kept as a table, to bind queries to.

    Args:
        connection: New.
        parts: The query that reads the parts.

    Returns:
        The columns: those of the parts, and those that every dataset has.
    """
    connection.execute("CREATE SCHEMA IF NOT EXISTS harvest")
    connection.execute(f"CREATE TABLE harvest.parts AS {parts} WITH NO DATA")
    there = _schema(connection, "harvest.parts")
    connection.execute(f"CREATE TABLE {_EMPTY} AS {with_fixed_columns('harvest.parts', there)}")
    connection.execute(f"CREATE VIEW {_WHOLE} AS SELECT * FROM {_EMPTY}")
    return there


def with_fixed_columns(table: str, there: pa.Schema) -> str:
    """A table of instances with the columns that every dataset has, whatever its parts hold."""
    present = {field.name.lower() for field in there}
    missing = [
        f"CAST(NULL AS {sql_type(field.type)}) AS {identifier(field.name)}"
        for field in INSTANCE_COLUMNS
        if field.name.lower() not in present
    ]
    return f"SELECT {', '.join(['*', *missing])} FROM {table}"


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
    connection.execute(f"CREATE OR REPLACE TEMP VIEW instances AS {columns.view(_WHOLE)}")


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
        _add_missing(connection, columns, (tables, derived), "SELECT 1")
    _define(connection, columns.view(_EMPTY), tables, None, derived)
    rows = connection.execute("SHOW TABLES").fetchall()
    views = frozenset(str(name).lower() for (name,) in rows) | {
        *DICOM_TABLES,
        *DERIVED_TABLES,
        *_SCHEMA_TABLES,
    }

    def columns_of(view: str) -> pa.Schema | None:
        if view not in views or (view in _SCHEMA_TABLES and "information_schema" not in names):
            return None
        return _schema(connection, _EMPTY if view == "instances" else identifier(view))

    if "information_schema" in names:
        _define_information_schema(
            connection,
            {view: columns_of(view) for view in sorted(views - {*_SCHEMA_TABLES, *DERIVED_TABLES})},
        )
    return Views(views, columns_of)


def _columns(connection: duckdb.DuckDBPyConnection, names: set[str], tables: list[str]) -> "_Columns":
    """The columns of the dataset, and those that a table of IDC always has."""
    columns = _Columns(_schema(connection), names)
    if "dicom_metadata_curated" in tables:
        for attribute in set(CURATED) - {field.name for field in _schema(connection)}:
            columns.add(attribute)
    return columns


def _define_information_schema(
    connection: duckdb.DuckDBPyConnection, columns: Mapping[str, pa.Schema | None]
) -> None:
    """Make the tables of IDC's tables and of their columns, with BigQuery's types.

    The columns of derived tables are not listed: to know them, each would have to be defined.
    """
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


def _add_missing(
    connection: duckdb.DuckDBPyConnection,
    columns: "_Columns",
    views: tuple[list[str], list[str]],
    sql: str,
    parameters: Parameters = NO_PARAMETERS,
) -> None:
    """Add the attributes that DuckDB misses in a query, or in the IDC and derived tables that it reads."""
    tables, derived = views
    for _ in range(_MAXIMUM_ABSENT):
        try:
            _define(connection, columns.view(_EMPTY), tables, frozenset(), derived)
            error = _binding_error(connection, sql, parameters)
            failed_in_query = True
        except duckdb.BinderException as failed:
            error, failed_in_query = failed, False
        missing = missing_name(str(error)) if error is not None else None
        add = columns.add_field if "find key" in str(error) else columns.add
        if missing is None:
            return
        if failed_in_query and add == columns.add:
            columns.refuse_nested(missing)
        if not add(missing):
            return


def _drop_views(connection: duckdb.DuckDBPyConnection) -> None:
    for view in ("instances", *DICOM_TABLES, *DERIVED_TABLES):
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
    return words | {word.removesuffix("_view") for word in words}


def missing_name(message: str) -> str | None:
    """The column, table or field that DuckDB's message says is not there."""
    found = _MISSING.search(message)
    return None if found is None else next(name for name in found.groups() if name)


class _Columns:
    """The columns of a dataset, and the attributes that it lacks and one query needs.

    Args:
        schema: The columns of the dataset.
        names: The words of the query, in lower case.
    """

    def __init__(self, schema: pa.Schema, names: Container[str]) -> None:
        self._types = {field.name: field.type for field in schema}
        self._own = dict(self._types)
        self._names = names

    def may_lack(self) -> bool:
        """Whether the query has a word that is an attribute and no column."""
        present = {name.lower() for name in self._own}
        return any(name in self._names and name not in present for name in attributes_by_keyword())

    def add(self, name: str) -> bool:
        """Add an absent attribute as a column, or where it is one as a field; False if neither is needed.

        Raises:
            QueryError: Its values are binary.
        """
        attribute = attributes_by_keyword().get(name.lower())
        if attribute is None:
            return False
        if attribute.keyword in self._types:
            return self.add_field(name)
        kind = absent_type(attribute)
        if kind is None:
            raise QueryError(
                f"{attribute.keyword} ({attribute.vr}) has no column, its values are binary; "
                "bulk_data and pixel_data_offset say where they lie"
            )
        self._types[attribute.keyword] = kind
        return True

    def refuse_nested(self, name: str) -> None:
        """Refuse a bare name that only items of sequences have: as a column it would be NULL in all rows.

        Raises:
            QueryError: The message shows how the field is written.
        """
        wanted = name.lower()
        if any(column.lower() == wanted for column in self._types):
            return
        places = (
            place for column, kind in self._own.items() for place in paths_of(wanted, (column,), kind)
        )
        found = min(places, key=lambda place: (len(place), place), default=None)
        if found is None:
            return
        *sequences, field = found
        first = ".".join([*(f"{sequence}[1]" for sequence in sequences), field])
        outer, joins = "", []
        for number, sequence in enumerate(sequences, start=1):
            joins.append(f"unnest({outer}{sequence}) AS t{number}(item{number})")
            outer = f"item{number}."
        raise QueryError(
            f"no object has {field} at its top level, but items of {'.'.join(sequences)} have it: write {first} "
            f"for the first item; for each, {outer}{field} and FROM ..., {', '.join(joins)}"
        )

    def add_column(self, name: str) -> None:
        """Add an attribute as a column, if there is none yet and its values are not binary."""
        attribute = attributes_by_keyword()[name.lower()]
        kind = absent_type(attribute)
        if attribute.keyword not in self._types and kind is not None:
            self._types[attribute.keyword] = kind

    def add_field(self, name: str) -> bool:
        """Add an absent attribute to the items of the sequences that the query names."""
        attribute = attributes_by_keyword().get(name.lower())
        before = dict(self._types)
        if attribute is not None:
            for column in list(before):
                if column.lower() in self._names:
                    self._types[column] = with_field(column, before[column], attribute, self._names)
        return self._types != before

    def view(self, table: str) -> str:
        """A table with everything that was found to be needed."""
        casts = [
            f"CAST({identifier(name)} AS {sql_type(self._types[name])}) AS {identifier(name)}"
            for name, kind in self._own.items()
            if self._types[name] != kind
        ]
        absent = [
            f"CAST(NULL AS {sql_type(kind)}) AS {identifier(name)}"
            for name, kind in self._types.items()
            if name not in self._own
        ]
        star = f"* REPLACE ({', '.join(casts)})" if casts else "*"
        return f"SELECT {', '.join([star, *absent])} FROM {table}"


def _define(
    connection: duckdb.DuckDBPyConnection,
    instances: str,
    tables: Iterable[str],
    names: Iterable[str] | None,
    derived: Iterable[str],
) -> None:
    connection.execute(f"CREATE OR REPLACE TEMP VIEW instances AS {instances}")
    tables = list(tables)
    arrays = array_columns(_schema(connection, "temp.main.instances")) if tables else []
    for table in tables:
        view = dicom_view(table, "temp.main.instances", arrays, names, catalog="memory.main.")
        connection.execute(f"CREATE OR REPLACE TEMP VIEW {table} AS {view}")
    for name in derived:
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
