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
        "checkpoint",
        "disable_logging",
        "disable_profiling",
        "enable_logging",
        "enable_profiling",
        "force_checkpoint",
        "json_execute_serialized_sql",
        "query",
        "truncate_duckdb_logs",
        "write_log",
    }
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
    if last.type == duckdb.StatementType.EXPLAIN:
        require_question(connection, explained(sql))
    elif last.type != duckdb.StatementType.SELECT:
        raise QueryError(f"{last.type.name} statements are not allowed: a dataset is only read; use SELECT")
    if refused := next((name for name in _called(sql) if name in _REFUSED_FUNCTIONS), None):
        raise QueryError(f"{refused}() is not allowed: a dataset is only read")
    return statements


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
    for place, _kind in duckdb.tokenize(sql):
        found = _TOKEN.match(text, place)
        if found is not None:
            word = found.group().decode(errors="replace").lower()
            yield place, word[1:-1].replace('""', '"') if word.startswith('"') else word
