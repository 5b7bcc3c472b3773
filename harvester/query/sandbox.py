"""Which SQL statements and functions a query may use: those that only read."""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import duckdb

from harvester.errors import QueryError

# What a SELECT may call though it writes files, upsets the connection, or runs SQL out of sight.
_REFUSED_FUNCTIONS: Final = frozenset(
    {
        "add_grammar_extension",
        "checkpoint",
        "create_external_resource",
        "deregister_external_resource",
        "destroy_external_resource",
        "disable_logging",
        "disable_profiling",
        "enable_logging",
        "enable_profiling",
        "force_checkpoint",
        "json_execute_serialized_sql",
        "query",
        "register_external_resource",
        "register_external_resource_type",
        "remove_grammar_extension",
        "setval",
        "truncate_duckdb_logs",
        "write_log",
    }
)
# What begins a statement that changes rows or writes files.
_CHANGES: Final = frozenset(
    {"alter", "copy", "create", "delete", "drop", "insert", "merge", "truncate", "update"}
)
_TOKEN: Final = re.compile(rb'"(?:[^"]|"")*"|[\w\x80-\xff]+|.', re.DOTALL)


def require_question(connection: duckdb.DuckDBPyConnection, sql: str) -> list[duckdb.Statement]:
    """Parse a text that asks and changes nothing.

    Raises:
        QueryError: It does more, or it is empty.
        duckdb.Error: It is no SQL.
    """
    statements = connection.extract_statements(sql)
    if not statements:
        raise QueryError("the SQL text is empty; ask for example: SELECT count(*) FROM instances")
    *before, last = statements
    # PIVOT becomes statements of its own, whose text is empty: a list of values, then the query.
    if any(statement.query for statement in before):
        raise QueryError(f"{len(statements)} SQL statements at once; run them one by one")
    if _kind(last) == "EXPLAIN" or _is_explained_pivot(last, sql):
        require_question(connection, explained(sql))
    elif _kind(last) == "MULTI":
        _require_subquery(connection, sql)
    elif _kind(last) != "SELECT":
        raise QueryError(f"{_kind(last)} statements are not allowed: a dataset is only read; use SELECT")
    if change := _change_inside(sql):
        raise QueryError(f"{change} is not allowed within a query: a dataset is only read; use SELECT")
    if refused := next((name for name in _called(sql) if name in _REFUSED_FUNCTIONS), None):
        raise QueryError(f"{refused}() is not allowed: a dataset is only read")
    return statements


def _is_explained_pivot(statement: duckdb.Statement, sql: str) -> bool:
    return _kind(statement) == "MULTI" and explained(sql) != sql


def _kind(statement: duckdb.Statement) -> str:
    try:
        return str(statement.type.name)
    except ValueError:  # one that DuckDB's own client has no name for
        return "such"


def _change_inside(sql: str) -> str | None:
    """The word that changes rows or writes a file within a query, as in `WITH x AS (COPY t TO ...) FROM x`.

    DuckDB 2 allows that. A column of such a name can be quoted.
    """
    text = sql.encode()
    tokens = [(place, word) for place, word in _tokens(sql)]
    for (_, before), (place, word), (_, following) in zip(tokens, tokens[1:], tokens[2:], strict=False):
        begins = before in {"(", ")"} and word in _CHANGES and text[place : place + 1] != b'"'
        if begins and ((word == "copy" and following == "(") or re.match(r"\w|\"", following)):
            return word.upper()
    return None


def _require_subquery(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Refuse what contains a PIVOT and does more than ask: of DuckDB 2 both are a statement of one kind.

    Raises:
        QueryError: It cannot stand where only a query can.
    """
    try:
        connection.extract_statements(f"SELECT * FROM (\n{sql.rstrip().rstrip(';')}\n)")
    except duckdb.Error:
        raise QueryError("only queries are allowed: a dataset is only read; use SELECT or PIVOT") from None


def explained(sql: str) -> str:
    """The statement that an EXPLAIN explains; any other text as it is."""
    tokens = list(_tokens(sql))
    if not tokens or tokens[0][1] != "explain":
        return sql
    place = 1
    if tokens[place][1] == "(":  # EXPLAIN (ANALYZE, FORMAT json) ...
        place = 1 + next((number for number, token in enumerate(tokens) if token[1] == ")"), len(tokens) - 1)
    while place < len(tokens) and tokens[place][1] in ("analyze", "analyse", "verbose"):
        place += 1
    return sql.encode()[tokens[place][0] :].decode() if place < len(tokens) else ""


def _called(sql: str) -> Iterator[str]:
    """The names that stand before a parenthesis, as DuckDB's own reading of the text has them."""
    tokens = list(_tokens(sql))
    for (_, name), (_, following) in pairwise(tokens):
        if following == "(":
            yield name


def _tokens(sql: str) -> Iterator[tuple[int, str]]:
    """Each token's place in bytes, and what it is: a word in lower case without quotes, else one letter."""
    text = sql.encode()
    for place, kind in duckdb.tokenize(sql):
        if kind == duckdb.token_type.comment:
            continue
        found = _TOKEN.match(text, place)
        if found is not None:
            word = found.group().decode(errors="replace").lower()
            yield place, word[1:-1].replace('""', '"') if word.startswith('"') else word
