"""From BigQuery's dialect, as IDC's users write it, to DuckDB's; what has no counterpart is named."""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

import duckdb
import sqlglot
from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import ErrorLevel, ParseError, SqlglotError, UnsupportedError
from sqlglot.tokenizer_core import Token, TokenType

from harvester.errors import QueryError
from harvester.query.bigquery.arrays import read_repeated_attributes
from harvester.query.bigquery.rewrites import CHANGES, line_of
from harvester.query.bigquery.tables import use_own_tables

Variables = dict[str, exp.Expr]

_QUERIES: Final = frozenset({"SELECT", "WITH", "(", "FROM"})


def translate(sql: str, *, errors_as_null: bool = False) -> str:
    """Turn a query in BigQuery's dialect into one in DuckDB's.

    A script may declare and set variables, which are put into the query where they stand; it has one
    query, at its end. Tables are those of any release of IDC, or the views of the dataset.

    Args:
        sql: The text.
        errors_as_null: Whether `ERROR(...)` is NULL: IDC's own definitions refuse what IDC has not.

    Raises:
        QueryError: Something in it has no counterpart; the message names it and its line.
    """
    variables: Variables = {}
    kinds: dict[str, exp.Expr | None] = {}
    query: exp.Expr | None = None
    for line, text in _statements(sql):
        word = _first_word(text)
        if query is not None:
            raise QueryError(f"line {line}: {word} after the query; a script has one query, at its end")
        tree = _parse(text) if word in _QUERIES | {"DECLARE", "SET"} else None
        if isinstance(tree, exp.Declare):
            _declare(tree, variables, kinds)
        elif isinstance(tree, exp.Set):
            _set(tree, line, variables, kinds)
        elif isinstance(tree, exp.Query):
            query = tree
        else:
            raise QueryError(
                f"line {line}: {word} cannot be translated; a script may DECLARE and SET variables "
                "and then has one query"
            )
    if query is None:
        raise QueryError("the SQL text holds no query; ask for example: SELECT count(*) FROM dicom_all")
    return _translated(_inlined(query, variables), errors_as_null=errors_as_null)


def _translated(query: exp.Expr, *, errors_as_null: bool) -> str:
    _refuse_what_has_no_counterpart(query)
    use_own_tables(query)
    for change in CHANGES:
        query = change(query)
    if errors_as_null:
        for call in list(query.find_all(exp.Anonymous)):
            if call.name.upper() == "ERROR":
                call.replace(exp.Null())
    try:
        text = query.sql("duckdb", comments=False, unsupported_level=ErrorLevel.RAISE)
        translated = sqlglot.parse_one(text, read="duckdb")
        _refuse_unknown_functions(translated, query)
        return read_repeated_attributes(translated).sql("duckdb", comments=False)
    except UnsupportedError as error:
        raise QueryError(f"line {line_of(query)}: cannot be translated: {_one_line(error)}") from error
    except (SqlglotError, RecursionError) as error:
        raise QueryError(f"cannot be translated: {_one_line(error)}") from error


# The script.


def _statements(sql: str) -> Iterator[tuple[int, str]]:
    """Cut a script at its semicolons; each text keeps the numbers of its lines."""
    try:
        tokens = Dialect.get_or_raise("bigquery").tokenize(sql)
    except SqlglotError as error:
        raise QueryError(f"the SQL text cannot be read: {_one_line(error)}") from error
    statement: list[Token] = []
    for token in [*tokens, None]:
        if token is not None and token.token_type != TokenType.SEMICOLON:
            statement.append(token)
        elif statement:
            first = statement[0]
            line = sql.count("\n", 0, first.start) + 1
            yield line, "\n" * (line - 1) + sql[first.start : statement[-1].end + 1]
            statement = []


def _first_word(text: str) -> str:
    found = re.match(r"\s*(\w+|\S)", text)
    return "" if found is None else found[1].upper()


def _parse(text: str) -> exp.Expr:
    try:
        return sqlglot.parse_one(text, read="bigquery")
    except ParseError as error:
        first = error.errors[0] if error.errors else {}
        near = f" near {first['highlight']!r}" if first.get("highlight") else ""
        raise QueryError(f"line {first.get('line', 1)}: {first.get('description', error)}{near}") from error
    except (SqlglotError, RecursionError) as error:
        raise QueryError(_one_line(error)) from error


def _declare(tree: exp.Declare, variables: Variables, kinds: dict[str, exp.Expr | None]) -> None:
    for item in tree.expressions:
        kind = item.args.get("kind")
        value = item.args.get("default") or exp.Null()
        names = item.this if isinstance(item.this, list) else [item.this]
        for name in names:
            kinds[name.name.lower()] = kind
            variables[name.name.lower()] = _typed(_inlined(value.copy(), variables), kind)


def _set(tree: exp.Set, line: int, variables: Variables, kinds: dict[str, exp.Expr | None]) -> None:
    for item in tree.expressions:
        assignment = item.this
        if not isinstance(assignment, exp.EQ) or assignment.this.name.lower() not in kinds:
            raise QueryError(f"line {line}: SET is translated only for one declared variable, SET x = value")
        name = assignment.this.name.lower()
        variables[name] = _typed(_inlined(assignment.expression.copy(), variables), kinds[name])


def _typed(value: exp.Expr, kind: exp.Expr | None) -> exp.Expr:
    return value if kind is None else exp.Cast(this=exp.Paren(this=value), to=kind.copy())


def _inlined(query: exp.Expr, variables: Variables) -> exp.Expr:
    """Put variables into a query; a column of the same name is not told apart from one."""
    if not variables:
        return query

    def value(node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.Column) and not node.table and node.name.lower() in variables:
            return exp.Paren(this=variables[node.name.lower()].copy())
        return node

    return query.transform(value)


# What is refused.


def _refuse_what_has_no_counterpart(query: exp.Expr) -> None:
    for node in query.walk():
        if isinstance(node, exp.Parameter | exp.Placeholder):
            raise QueryError(
                f"line {line_of(node.parent or node)}: {node.sql('bigquery')} is a query parameter, "
                "which has no value here; write the value"
            )
        if isinstance(node, exp.Version):
            raise QueryError(
                f"line {line_of(node)}: FOR SYSTEM_TIME cannot be translated: a dataset has one state"
            )


def _refuse_unknown_functions(translated: exp.Expr, query: exp.Expr) -> None:
    for node in translated.find_all(exp.Anonymous):
        if node.name.lower() in _functions():
            continue
        owner = node.parent
        prefix = f"{owner.this.sql()}." if isinstance(owner, exp.Dot) else ""
        written = (
            call
            for call in query.find_all(exp.Func)
            if call.meta.get("bigquery_name", call.name).lower() == node.name.lower()
        )
        line = line_of(next(written, query))
        raise QueryError(f"line {line}: {prefix}{node.name}() cannot be translated")


@lru_cache(maxsize=1)
def _functions() -> frozenset[str]:
    """What DuckDB can call, and what is turned into something it can."""
    with duckdb.connect() as connection:
        rows = connection.execute("SELECT DISTINCT lower(function_name) FROM duckdb_functions()").fetchall()
    return frozenset(name for (name,) in rows) | {"error", "try"}


def _one_line(error: Exception) -> str:
    return " ".join(re.sub(r"\x1b\[\d*m", "", str(error)).split())[:300]
