"""Attributes that no object of a dataset has, as columns of NULLs for the query that names them.

All of the dictionary's attributes as columns would cost every query; so a query is first bound to
an empty table of the dataset's columns, and gets what DuckDB misses there. What DuckDB can resolve
without it (an alias of the same name) is never overruled. Fields of items, which no alias can be
mistaken for, are found by following the names in the text.
"""

import re
from collections.abc import Iterable
from typing import Final

import duckdb
import pyarrow as pa
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from harvester.catalog.database import identifier
from harvester.dataset import INSTANCE_COLUMNS
from harvester.dicom.dictionary import Attribute, attributes_by_keyword
from harvester.errors import QueryError
from harvester.query.attribute_paths import Path, attribute_paths
from harvester.query.bigquery.translate import Views
from harvester.query.idc_tables import DERIVED_TABLES, derived_table
from harvester.query.sandbox import explained
from harvester.query.sql_types import Fields, absent_type, arrow_type, sql_type, widened
from harvester.query.views import CURATED, DICOM_TABLES, array_columns, dicom_view

_MISSING: Final = re.compile(
    r'column "([^"]+)" (?:not found|does not exist|in \w+ list not found)'
    r'|table "([^"]+)" not found|a column named "([^"]+)"|find key "([^"]+)"',
    re.IGNORECASE,
)
_EMPTY: Final = "memory.harvest.instances"
_WHOLE: Final = "memory.main.instances"
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


def bind(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Make the temporary views that a query needs in place of the dataset's own, and no others.

    Args:
        connection: From `open_dataset`.
        sql: A query in DuckDB's dialect.

    Raises:
        QueryError: It names an attribute whose values are binary: those have no column.
    """
    _drop_views(connection)
    names, tables, derived = _named(sql)
    statement = _parsed(explained(sql))
    columns = _Columns(_schema(connection), set() if statement is None else attribute_paths(statement))
    if "dicom_metadata_curated" in tables:
        for attribute in CURATED:
            columns.add(attribute)
    if columns.may_lack(names):
        for _ in range(_MAXIMUM_ABSENT):
            _define(connection, columns.view(_EMPTY), tables, frozenset(), derived)
            missing = _missing(connection, sql)
            if missing is None or not columns.add(missing):
                break
    elif not tables:
        return
    # Over the empty table first: what DuckDB defines it binds, which over the parts opens all of them.
    _define(connection, columns.view(_EMPTY), tables, None if _takes_all(statement) else names, derived)
    connection.execute(f"CREATE OR REPLACE TEMP VIEW instances AS {columns.view(_WHOLE)}")


def readable_views(connection: duckdb.DuckDBPyConnection, sql: str) -> Views:
    """The views that a query in BigQuery's dialect can read, with their columns.

    Args:
        connection: From `open_dataset`.
        sql: The query; of the views over `instances` only those are defined that it names.
    """
    _drop_views(connection)
    _names, tables, derived = _named(sql)
    _define(connection, f"SELECT * FROM {_EMPTY}", tables, None, derived)
    rows = connection.execute("SHOW TABLES").fetchall()
    views = frozenset(str(name).lower() for (name,) in rows) | {*DICOM_TABLES, *DERIVED_TABLES}

    def columns_of(view: str) -> pa.Schema | None:
        if view not in views:
            return None
        return _schema(connection, _EMPTY if view == "instances" else identifier(view))

    return Views(views, columns_of)


def _drop_views(connection: duckdb.DuckDBPyConnection) -> None:
    for view in ("instances", *DICOM_TABLES, *DERIVED_TABLES):
        connection.execute(f"DROP VIEW IF EXISTS temp.main.{view}")


def _named(sql: str) -> tuple[set[str], list[str], list[str]]:
    """The words of a query and of the tables that it is derived from, and those tables in order."""
    texts, derived = [sql], []
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
    """The columns of a dataset and, of those that it lacks, the ones that a query turns out to need."""

    def __init__(self, schema: pa.Schema, paths: Iterable[Path]) -> None:
        self._types = {field.name: field.type for field in schema}
        self._present = {field.name.lower() for field in schema}
        self._fields: dict[str, Fields] = {}
        for path in paths:
            level: dict[str, Fields] = self._fields
            for name in path:
                level = level.setdefault(name, {})  # type: ignore[assignment]
        self._wider = {
            name: wider
            for name, kind in self._types.items()
            if (wider := widened(kind, self._fields.get(name.lower(), {}))) != kind
        }
        self._added: dict[str, pa.DataType] = {}

    def may_lack(self, names: Iterable[str]) -> bool:
        """Whether any of these words is an attribute that the dataset lacks, or a field is missing."""
        known = attributes_by_keyword()
        return bool(self._wider) or any(name in known and name not in self._present for name in names)

    def add(self, name: str) -> bool:
        """Take in an attribute that is missing; False where that is no attribute, or was taken in."""
        attribute = attributes_by_keyword().get(name.lower())
        if attribute is None or name.lower() in self._present:
            return False
        self._present.add(name.lower())
        kind = absent_type(attribute, self._fields.get(name.lower(), {}))
        if kind is None:
            raise QueryError(_binary(attribute))
        self._added[attribute.keyword] = kind
        return True

    def view(self, table: str) -> str:
        """A table with everything that was found to be needed."""
        casts = [
            f"CAST({identifier(name)} AS {sql_type(kind)}) AS {identifier(name)}"
            for name, kind in self._wider.items()
        ]
        absent = [f"CAST(NULL AS {sql_type(kind)}) AS {name}" for name, kind in self._added.items()]
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


def _missing(connection: duckdb.DuckDBPyConnection, sql: str) -> str | None:
    """What DuckDB finds missing when it binds the query to the empty table."""
    try:
        connection.execute(f"EXPLAIN {sql}")
    except duckdb.ParserException:  # DESCRIBE, SUMMARIZE: they can be run, there are no rows
        try:
            connection.execute(sql)
        except duckdb.Error as error:
            return missing_name(str(error))
    except duckdb.Error as error:
        return missing_name(str(error))
    return None


def _parsed(sql: str) -> exp.Expr | None:
    """The query's tree; None where sqlglot does not know a word, which costs only the fields of items."""
    try:
        return sqlglot.parse_one(sql, read="duckdb")
    except (SqlglotError, RecursionError):
        return None


def _takes_all(statement: exp.Expr | None) -> bool:
    return statement is None or any(
        not isinstance(star.parent, exp.Count) for star in statement.find_all(exp.Star)
    )


def _binary(attribute: Attribute) -> str:
    return (
        f"{attribute.keyword} ({attribute.vr}) has no column, its values are binary; "
        "bulk_data and pixel_data_offset say where they lie"
    )
