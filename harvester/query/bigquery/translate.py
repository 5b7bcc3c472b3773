"""From BigQuery's dialect, as IDC's users write it, to DuckDB's; what has no counterpart is named."""

import re
from functools import lru_cache

import sqlglot
from sqlglot import exp
from sqlglot.errors import ErrorLevel, SqlglotError, UnsupportedError

from harvester.catalog.database import in_memory
from harvester.errors import QueryError
from harvester.messages import one_line
from harvester.query.bigquery.errors import mark_places
from harvester.query.bigquery.inputs import NO_PARAMETERS, Parameters, Views
from harvester.query.bigquery.names import place_of, resolve_names
from harvester.query.bigquery.rewrites import CHANGES
from harvester.query.bigquery.script import read_script
from harvester.query.bigquery.tables import use_own_tables
from harvester.query.bigquery.values import read_values_as_bigquery


def translate(
    sql: str,
    views: Views,
    parameters: Parameters = NO_PARAMETERS,
    *,
    errors_as_null: bool = False,
    with_places: bool = False,
) -> str:
    """Turn a script in BigQuery's dialect into one query in DuckDB's: its last one.

    Args:
        sql: The text. Tables are those of any release of IDC, or the views.
        views: What can be read.
        parameters: The values of query parameters, `@name`.
        errors_as_null: Whether `ERROR(...)` is NULL: IDC's own definitions refuse what IDC has not.
        with_places: Whether comments say where each name stands in the text, for `own_words`.

    Raises:
        QueryError: Something in it has no counterpart or is not there; the message names it and its place.
    """
    translated = [
        _translated(query, views, errors_as_null=errors_as_null, with_places=with_places)
        for query in read_script(sql, parameters)
    ]
    return translated[-1]


def _translated(query: exp.Query, views: Views, *, errors_as_null: bool, with_places: bool) -> str:
    _refuse_what_has_no_counterpart(query)
    use_own_tables(query, views.names)
    if errors_as_null:
        for call in list(query.find_all(exp.Anonymous)):
            if call.name.upper() == "ERROR":
                call.replace(exp.Null())
    try:
        query = resolve_names(query, views.columns_of)
        read_values_as_bigquery(query)
        for node in query.walk():
            node.comments = None
        if with_places:
            mark_places(query)
        changed: exp.Expr = query
        for change in CHANGES:
            changed = change(changed)
        text = changed.sql("duckdb", identify=True, comments=with_places, unsupported_level=ErrorLevel.RAISE)
        _refuse_unknown_functions(sqlglot.parse_one(text, read="duckdb"), query)
    except UnsupportedError as error:
        raise QueryError(_refusal(query, _plain(error))) from error
    except (SqlglotError, RecursionError) as error:
        raise QueryError(f"cannot be translated: {_plain(error)}") from error
    return text


def _refusal(query: exp.Expr, reason: str) -> str:
    """Name the innermost call that DuckDB has no counterpart of, as BigQuery calls it."""
    for call in reversed(list(query.find_all(exp.Func))):
        try:
            call.sql("duckdb", unsupported_level=ErrorLevel.RAISE)
        except UnsupportedError:
            name = call.sql("bigquery", comments=False).partition("(")[0]
            return f"{place_of(call)}: {name}() cannot be translated"
    return f"{place_of(query)}: cannot be translated: {reason}"


def _refuse_what_has_no_counterpart(query: exp.Expr) -> None:
    version = query.find(exp.Version)
    if version is not None:
        raise QueryError(
            f"{place_of(version)}: FOR SYSTEM_TIME cannot be translated: a dataset has one state"
        )
    collation = query.find(exp.Collate)
    if collation is not None:
        raise QueryError(f"{place_of(collation)}: COLLATE cannot be translated")


def _refuse_unknown_functions(translated: exp.Expr, query: exp.Expr) -> None:
    for node in translated.find_all(exp.Anonymous):
        if node.name.lower() in _functions():
            continue
        owner = node.parent
        prefix = f"{owner.this.name}." if isinstance(owner, exp.Dot) else ""
        written = (
            call
            for call in query.find_all(exp.Func)
            if call.meta.get("bigquery_name", call.name).lower() == node.name.lower()
        )
        place = place_of(next(written, query))
        raise QueryError(f"{place}: {prefix}{node.name}() cannot be translated")


@lru_cache(maxsize=1)
def _functions() -> frozenset[str]:
    """The functions that DuckDB lists, and ERROR and TRY."""
    with in_memory() as connection:
        rows = connection.execute("SELECT DISTINCT lower(function_name) FROM duckdb_functions()").fetchall()
    return frozenset(name for (name,) in rows) | {"error", "try"}


def _plain(error: Exception) -> str:
    return one_line(re.sub(r"\x1b\[\d*m", "", str(error)))[:300]
