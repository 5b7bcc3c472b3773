"""What BigQuery's tables hold otherwise than a harvest: arrays that are never NULL, numbers as text.

In `dicom_all` an attribute of many values that is absent is an empty array; here it is NULL. Some
attributes of one value are arrays there; decimal and integer strings are strings. So far as a name
can be followed to one attribute, the query is changed to mean the same.
"""

from collections.abc import Iterator
from typing import Final

from sqlglot import exp

from harvester.dicom.dictionary import Attribute, attributes_by_keyword

_TEXT: Final = exp.DataType.build("VARCHAR", dialect="duckdb")
_NUMBERS_AS_TEXT: Final = frozenset({"DS", "IS"})
_COMPARISONS: Final = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.In, exp.Like, exp.ILike)


def read_repeated_attributes(query: exp.Expr) -> exp.Expr:
    """Change a query in DuckDB's dialect to read arrays and numbers as BigQuery's tables have them."""
    names = _Names(query)
    for node in list(query.find_all(exp.ArraySize, exp.ArrayToString, exp.Unnest)):
        array = node.expressions[0] if isinstance(node, exp.Unnest) else node.this
        attribute = names.attribute(array)
        if attribute is not None and not (isinstance(node, exp.Unnest) and _is_list(attribute)):
            array.replace(_array(array.copy(), attribute))
    for bracket in list(query.find_all(exp.Bracket)):
        attribute = names.attribute(bracket.this)
        if attribute is None or _is_list(attribute) or len(bracket.expressions) != 1:
            continue
        if bracket.expressions[0].is_int:  # counted from 0, whatever the dialect
            bracket.replace(bracket.this if bracket.expressions[0].name == "0" else exp.null())
    for comparison in list(query.find_all(*_COMPARISONS)):
        _compare_as_text(comparison, names)
    return query


def _is_list(attribute: Attribute) -> bool:
    return attribute.many or attribute.vr == "SQ"


def _array(value: exp.Expr, attribute: Attribute) -> exp.Expr:
    """The array that BigQuery has: NULL only where the item that it stands in is."""
    empty = exp.Array(expressions=[])
    if _is_list(attribute):
        array: exp.Expr = exp.Coalesce(this=value, expressions=[empty])
    else:
        array = exp.If(this=value.is_(exp.null()), true=empty, false=exp.Array(expressions=[value.copy()]))
    if isinstance(value, exp.Dot):
        return exp.If(this=value.this.copy().is_(exp.null()), true=exp.Null(), false=array)
    return array


def _compare_as_text(node: exp.Expr, names: "_Names") -> None:
    """Compare a number with text that is none, such as '', as text: DuckDB would fail to convert it."""
    sides = [node.this, *(node.expressions if isinstance(node, exp.In) else [node.expression])]
    pattern = isinstance(node, exp.Like | exp.ILike)
    if not any(side is not None and side.is_string and (pattern or not _number(side.name)) for side in sides):
        return
    for side in sides:
        attribute = None if side is None else names.attribute(_without_index(side))
        if attribute is not None and attribute.vr in _NUMBERS_AS_TEXT:
            side.replace(exp.Cast(this=side.copy(), to=_TEXT.copy()))


def _without_index(node: exp.Expr) -> exp.Expr:
    return node.this if isinstance(node, exp.Bracket) else node


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


class _Names:
    """The names of a query that stand for one attribute each, wherever they are used."""

    def __init__(self, query: exp.Expr) -> None:
        self._tables = {
            node.alias_or_name.lower() for node in query.find_all(exp.Table, exp.CTE, exp.Subquery)
        }
        self._definitions: dict[str, list[exp.Expr]] = {}
        for name, value in _definitions(query):
            self._definitions.setdefault(name.lower(), []).append(value)

    def attribute(self, node: exp.Expr) -> Attribute | None:
        """The one attribute whose value this is, the list itself or an item of it; None if in doubt."""
        return self._follow(node, frozenset())

    def _follow(self, node: exp.Expr, seen: frozenset[str]) -> Attribute | None:
        if isinstance(node, exp.Column):
            parts = [part.name.lower() for part in node.parts]
            first, *rest = parts[1:] if len(parts) > 1 and parts[0] in self._tables else parts
            return _walk(self._base(first, seen), rest)
        if isinstance(node, exp.Dot):
            return _walk(self._follow(node.this, seen), [node.expression.name.lower()])
        if isinstance(node, exp.Bracket):
            # An element of a list of values has no name of its own, an item of a sequence has.
            inner = self._follow(node.this, seen)
            return inner if inner is not None and inner.vr == "SQ" else None
        return None

    def _base(self, name: str, seen: frozenset[str]) -> Attribute | None:
        definitions = self._definitions.get(name)
        if definitions is None or name in seen:
            return attributes_by_keyword().get(name)
        found = {self._defined(definition, seen | {name}) for definition in definitions}
        return found.pop() if len(found) == 1 else None

    def _defined(self, definition: exp.Expr, seen: frozenset[str]) -> Attribute | None:
        if not isinstance(definition, exp.Unnest):
            return self._follow(definition, seen)
        inner = self._follow(definition.expressions[0], seen)
        return inner if inner is not None and inner.vr == "SQ" else None


def _definitions(query: exp.Expr) -> Iterator[tuple[str, exp.Expr]]:
    for alias in query.find_all(exp.Alias):
        yield alias.alias, alias.this
    for unnest in query.find_all(exp.Unnest):
        columns = unnest.args["alias"].args.get("columns") if unnest.args.get("alias") else None
        yield from ((column.name, unnest) for column in (columns or [])[:1])
        yield from ((column.name, exp.Null()) for column in (columns or [])[1:])


def _walk(attribute: Attribute | None, names: list[str]) -> Attribute | None:
    for name in names:
        if attribute is None or attribute.vr != "SQ":
            return None
        attribute = attributes_by_keyword().get(name)
    return attribute
