"""DuckDB's errors about a translated query, in the terms of the query that the user wrote."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from sqlglot import exp
from sqlglot.errors import ParseError

from harvester.messages import one_line
from harvester.query.bigquery.names import place_of

_MARK: Final = re.compile(r"/\* (line \d+, column \d+) \*/")
_EXCERPT: Final = re.compile(r"\nLINE \d+: (.*)\n( *)\^", re.DOTALL)
_KIND: Final = re.compile(r"^[A-Z][A-Za-z ]* Error: ")
# What follows the first sentence of a message: lists of overloads, and advice on DuckDB's own SQL.
_TAIL: Final = re.compile(
    r"\s*(?:\n\n|\nLINE |You might need|Either add it|Candidate|Did you mean|Try |Use ).*", re.DOTALL
)
_TYPES: Final = {
    "VARCHAR": "STRING",
    "STRING_LITERAL": "STRING",
    "BIGINT": "INT64",
    "HUGEINT": "INT64",
    "INTEGER": "INT64",
    "INTEGER_LITERAL": "INT64",
    "DOUBLE": "FLOAT64",
    "BOOLEAN": "BOOL",
    "TIMESTAMP": "DATETIME",
}
_TYPE: Final = re.compile(rf"\b({'|'.join(_TYPES)})\b")
_COLOUR: Final = re.compile(r"\x1b\[\d*m")
_INTERNAL: Final = re.compile(r'"?_\d+"?\."?item_\d+"?\.|"?\b_\d+"?\.')


def mark_places(query: exp.Expr) -> None:
    """Note beside each column and call where it stands in the user's text, for `own_words`."""
    for node in query.find_all(exp.Column, exp.Func):
        if any(inner.meta.get("line") is not None for inner in node.walk()):
            node.comments = [place_of(node)]


def syntax_error(error: Exception, sql: str) -> str:
    """A syntax error of sqlglot in one line: the place where the token begins, and what is wrong there."""
    if isinstance(error, RecursionError):
        return "the query is nested too deeply"
    if isinstance(error, ParseError) and error.errors:
        return _parse_error(error.errors[0], sql)
    missing = re.match(r"Missing (.+) from \d+:(\d+)$", str(error.__cause__), re.DOTALL)
    if missing is not None:
        return f"{_place(sql, int(missing[2]))}: the {missing[1]} that begins here is not closed"
    if "/*" in sql and "*/" not in sql[sql.rindex("/*") :]:
        return f"{_place(sql, sql.rindex('/*'))}: the comment that begins here is not closed"
    return one_line(f"the SQL text cannot be read: {_COLOUR.sub('', str(error))}")[:300]


def _parse_error(first: Mapping[str, Any], sql: str) -> str:
    token = first.get("highlight") or ""
    start = sum(len(line) + 1 for line in sql.split("\n")[: first["line"] - 1]) + first["col"] - len(token)
    what = str(first.get("description", ""))
    expected = re.match(r"Expect(?:ed|ing) (.+?)(?: but got (<.*))?$", what, re.DOTALL)
    if expected is not None and expected[2] and "SENTINEL" not in expected[2]:
        text = f"expected {expected[1]}, not {token!r}"
    elif expected is not None:
        text = f"expected {expected[1]} near {token!r}"
    elif what.startswith("Required keyword"):
        text = f"something is missing near {token!r}"
    else:
        text = f"unexpected {token!r}"
    return one_line(f"{_place(sql, max(start, 0))}: {text}")[:300]


def _place(sql: str, offset: int) -> str:
    return f"line {sql.count(chr(10), 0, offset) + 1}, column {offset - sql.rfind(chr(10), 0, offset)}"


def own_words(message: str, sql: str) -> str:
    """A message of DuckDB about a translated query, in BigQuery's terms and at the user's line and column.

    Args:
        message: The whole message, with its excerpt of the query; best of one with `mark_places`.
        sql: The user's text.
    """
    text = _KIND.sub("", _TAIL.sub("", message)).strip().rstrip(".")
    text = _TYPE.sub(lambda found: _TYPES[found[1]], _INTERNAL.sub("", text))
    unknown = re.match(r"(?:Scalar|Table|Aggregate|Macro)? ?Function with name (\w+) does not exist", text)
    place = None
    if unknown is not None:
        text = f"{unknown[1].upper()}() cannot be translated"
        called = re.search(rf"\b{unknown[1]}\s*\(", sql, re.IGNORECASE)
        place = None if called is None else _place(sql, called.start())
    place = place or _marked_place(message) or next(_named_places(text, sql), None)
    return one_line(text if place is None else f"{place}: {text}")


def _marked_place(message: str) -> str | None:
    """The mark nearest after the place that DuckDB points at, else before it."""
    excerpt = _EXCERPT.search(message)
    if excerpt is None:
        return None
    pointed = len(excerpt[2]) - len("LINE 1: ")
    marks = list(_MARK.finditer(excerpt[1]))
    after = [mark[1] for mark in marks if mark.end() >= pointed]
    before = [mark[1] for mark in marks if mark.end() < pointed]
    return next(iter(after), None) or next(reversed(before), None)


def _named_places(text: str, sql: str) -> Iterator[str]:
    """Where the words of a message stand in the user's text."""
    for word in sorted(set(re.findall(r"[A-Za-z_]\w{2,}", text)), key=len, reverse=True):
        found = re.search(rf"\b{word}\b", sql, re.IGNORECASE)
        if found is not None:
            yield _place(sql, found.start())
