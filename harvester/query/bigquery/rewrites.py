"""Rewrites what DuckDB lacks or reads in another way: each function changes one construct of the tree."""

import re
from collections.abc import Callable
from typing import Final

from sqlglot import exp

from harvester.errors import QueryError
from harvester.query.bigquery.names import place_of

_INTEGERS: Final = frozenset({exp.DType.INT, exp.DType.SMALLINT, exp.DType.TINYINT, exp.DType.MEDIUMINT})
# The weeks of a year, 0 before its first Sunday or Monday.
_WEEKS: Final = {"WEEK": "%U", "WEEK(SUNDAY)": "%U", "WEEK(MONDAY)": "%W"}
# FORMAT's specifiers: flags, width, precision, kind.
_SPECIFIER: Final = re.compile(r"%(?:%|[-+ 0#]*\d*(?:\.\d+)?([a-zA-Z]))")


def _types(query: exp.Expr) -> exp.Expr:
    """All of BigQuery's integers have 64 bits; NUMERIC has 38 digits, 9 of them after the point."""
    for kind in list(query.find_all(exp.DataType)):
        if kind.this in _INTEGERS:
            kind.set("this", exp.DType.BIGINT)
        elif kind.this in (exp.DType.DECIMAL, exp.DType.BIGDECIMAL) and not kind.expressions:
            kind.replace(exp.DataType.build("DECIMAL(38, 9)", dialect="duckdb"))
    return query


def _floating_literals(query: exp.Expr) -> exp.Expr:
    """`0.1` is a FLOAT64; in DuckDB it would be a DECIMAL, but for its exponent."""
    for number in query.find_all(exp.Literal):
        if not number.is_string and "." in number.name and "e" not in number.name.lower():
            number.set("this", f"{number.name}e0")
    return query


def _decimal_logarithms(query: exp.Expr) -> exp.Expr:
    """`LOG(10, x)` is a quotient, and 2.9999999999999996 for 1000: FLOOR would be one off."""
    for node in list(query.find_all(exp.Log)):
        if node.this.is_number and node.this.name == "10" and node.expression:
            node.replace(exp.Anonymous(this="LOG10", expressions=[node.expression]))
    return query


def _rounding(query: exp.Expr) -> exp.Expr:
    """DuckDB takes the number of digits as 32 bits only."""
    for node in query.find_all(exp.Round):
        if (digits := node.args.get("decimals")) is not None:
            node.set("decimals", exp.Cast(this=digits, to=exp.DataType.build("INT", dialect="duckdb")))
    return query


def _safe_functions(query: exp.Expr) -> exp.Expr:
    for node in list(query.find_all(exp.SafeFunc)):
        node.replace(exp.Anonymous(this="TRY", expressions=[node.this]))
    return query


def _formats(query: exp.Expr) -> exp.Expr:
    """`FORMAT` is C's printf, as far as DuckDB has it."""
    for node in list(query.find_all(exp.Format)):
        if not node.this.is_string:
            raise QueryError(f"{place_of(node)}: FORMAT is translated only with its format as a string")
        kinds = [found for found in _SPECIFIER.findall(node.this.name) if found]
        arguments = list(node.expressions)
        if set(kinds) - set("sdiufFeEgGxXot") or len(kinds) != len(arguments):
            raise QueryError(f"{place_of(node)}: FORMAT({node.this}) cannot be translated")
        text = exp.DataType.build("VARCHAR", dialect="duckdb")
        values = [
            exp.Cast(this=value, to=text.copy()) if kind in "st" else value
            for kind, value in zip(kinds, arguments, strict=True)
        ]
        template = re.sub(r"%([-+ 0#]*\d*(?:\.\d+)?)[tiu]", _c_specifier, node.this.name)
        node.replace(exp.Anonymous(this="PRINTF", expressions=[exp.Literal.string(template), *values]))
    return query


def _c_specifier(found: re.Match[str]) -> str:
    return f"%{found[1]}{'s' if found[0][-1] == 't' else 'd'}"


def _limited_aggregates(query: exp.Expr) -> exp.Expr:
    """DuckDB has no LIMIT in an aggregate: the list is cut after it."""
    for node in list(query.find_all(exp.ArrayAgg, exp.GroupConcat)):
        limit = node.this
        if not isinstance(limit, exp.Limit):
            continue
        node.set("this", limit.this)
        outer = node.parent if isinstance(node.parent, exp.IgnoreNulls | exp.RespectNulls) else node
        place = exp.Placeholder()
        outer.replace(place)
        if isinstance(node, exp.GroupConcat):
            separator = node.args.get("separator") or exp.Literal.string(",")
            items = exp.IgnoreNulls(this=exp.ArrayAgg(this=limit.this))
            place.replace(exp.Anonymous(this="ARRAY_TO_STRING", expressions=[_cut(items, limit), separator]))
        else:
            place.replace(_cut(outer, limit))
    return query


def _sorted_texts(query: exp.Expr) -> exp.Expr:
    """Sort distinct texts after they are collected: with ERROR() no key equals the argument in DuckDB."""
    for node in list(query.find_all(exp.GroupConcat)):
        order = node.this
        if not isinstance(order, exp.Order) or not isinstance(order.this, exp.Distinct):
            continue
        (value, *_), (key, *others) = order.this.expressions, order.expressions
        if (
            others
            or key.this != value
            or not any(call.name.upper() == "ERROR" for call in value.find_all(exp.Anonymous))
        ):
            continue
        items = exp.IgnoreNulls(this=exp.ArrayAgg(this=order.this))
        sort = "LIST_REVERSE_SORT" if key.args.get("desc") else "LIST_SORT"
        separator = node.args.get("separator") or exp.Literal.string(",")
        texts = exp.Anonymous(this=sort, expressions=[items])
        node.replace(exp.Anonymous(this="ARRAY_TO_STRING", expressions=[texts, separator]))
    return query


def _cut(items: exp.Expr, limit: exp.Limit) -> exp.Expr:
    return exp.Anonymous(this="LIST_SLICE", expressions=[items, exp.Literal.number(1), limit.expression])


def _extracted_dates(query: exp.Expr) -> exp.Expr:
    """`EXTRACT(DATE FROM x)` is a cast; days of a week count from 1, weeks begin on Sunday."""
    for node in list(query.find_all(exp.Extract)):
        part = node.this.sql("bigquery").upper()
        if part == "DATE":
            node.replace(exp.Cast(this=node.expression, to=exp.DataType(this=exp.DType.DATE)))
        elif part == "DAYOFWEEK":
            node.replace(exp.Paren(this=exp.Add(this=node.copy(), expression=exp.Literal.number(1))))
        elif part in _WEEKS:
            week = exp.Anonymous(
                this="STRFTIME", expressions=[node.expression, exp.Literal.string(_WEEKS[part])]
            )
            node.replace(exp.Cast(this=week, to=exp.DataType(this=exp.DType.BIGINT)))
        elif part == "ISOWEEK":
            node.set("this", exp.var("WEEK"))
        elif part.startswith("WEEK"):
            raise QueryError(f"{place_of(node)}: EXTRACT({part} FROM ...) cannot be translated")
    return query


def _complete_units(query: exp.Expr) -> exp.Expr:
    """`TIMESTAMP_DIFF` counts units that are complete, the other functions the boundaries between."""
    for node in list(query.find_all(exp.TimestampDiff)):
        unit = exp.Literal.string(node.args["unit"].name.lower())
        ends = [exp.cast(end, exp.DType.TIMESTAMP, dialect="duckdb") for end in (node.expression, node.this)]
        node.replace(exp.Anonymous(this="DATESUB", expressions=[unit, *ends]))
    return query


def _positions_in_text(query: exp.Expr) -> exp.Expr:
    """`SUBSTR` reads the position 0 as 1; DuckDB cannot search from the end."""
    for part in query.find_all(exp.Substring):
        start = part.args.get("start")
        if start is not None and start.is_int and int(start.name) == 0:
            part.set("start", exp.Literal.number(1))
    for search in query.find_all(exp.StrPosition):
        if isinstance(search.args.get("position"), exp.Neg):
            raise QueryError(f"{place_of(search)}: INSTR from the end of a text cannot be translated")
    return query


def _quotients(query: exp.Expr) -> exp.Expr:
    """`IEEE_DIVIDE` is DuckDB's division."""
    for node in list(query.find_all(exp.Anonymous)):
        if node.name.upper() == "IEEE_DIVIDE" and len(node.expressions) == 2:
            above, below = (exp.cast(value, exp.DType.DOUBLE) for value in node.expressions)
            node.replace(exp.Paren(this=exp.Div(this=above, expression=below, typed=False, safe=False)))
    return query


def _items_as_structs(query: exp.Expr) -> exp.Expr:
    """The items of an array that is written out stay structs, whose fields are named as any others."""
    for unnest in query.find_all(exp.Unnest):
        unnest.set("explode_array", None)
    return query


def _ignored_nulls(query: exp.Expr) -> exp.Expr:
    """Leave NULLs out of an array by a filter, whatever expression it collects."""
    for node in list(query.find_all(exp.IgnoreNulls)):
        value = node.this.this
        while isinstance(value, exp.Order | exp.Distinct):
            value = value.this or value.expressions[0]
        if isinstance(node.this, exp.ArrayAgg):
            there = exp.Not(this=exp.Is(this=value.copy(), expression=exp.Null()))
            node.replace(exp.Paren(this=exp.Filter(this=node.this, expression=exp.Where(this=there))))
    return query


def _orders(query: exp.Expr) -> exp.Expr:
    """Order by an expression over a subquery's column: in DuckDB it must be a column first."""
    for select in list(query.find_all(exp.Select)):
        order = select.args.get("order")
        made = {item.alias.lower() for item in select.selects if item.find(exp.Subquery, exp.Select)}
        keys = [] if order is None else [key for key in order.expressions if isinstance(key, exp.Ordered)]
        used = {column.name.lower() for key in keys for column in key.find_all(exp.Column)}
        bare = all(isinstance(key.this, exp.Column) for key in keys)
        if not made & used or bare or select.args.get("distinct") or select.is_star:
            continue
        _nest(select, keys)
    return query


def _nest(select: exp.Select, keys: list[exp.Ordered]) -> None:
    shown = [item.alias_or_name for item in select.selects]
    outputs = {name.lower() for name in shown}
    inner = select.copy()
    for part in ("order", "limit", "offset", "with_"):
        inner.set(part, None)
    for number, key in enumerate(keys):
        if not any(column.name.lower() in outputs for column in key.find_all(exp.Column)):
            inner.select(exp.alias_(key.this.copy(), f"order_{number}"), copy=False)
            key.set("this", exp.column(f"order_{number}"))
    for column in (column for key in keys for column in key.find_all(exp.Column)):
        column.set("table", None)
    select.set("expressions", [exp.column(name, quoted=True) for name in shown])
    for part in ("from_", "joins", "where", "group", "having", "qualify", "windows", "laterals"):
        select.set(part, None)
    select.set("from_", exp.From(this=inner.subquery("unordered")))


CHANGES: Final[tuple[Callable[[exp.Expr], exp.Expr], ...]] = (
    _types,
    _floating_literals,
    _decimal_logarithms,
    _rounding,
    _safe_functions,
    _formats,
    _limited_aggregates,
    _sorted_texts,
    _extracted_dates,
    _complete_units,
    _positions_in_text,
    _quotients,
    _items_as_structs,
    _ignored_nulls,
    _orders,
)
