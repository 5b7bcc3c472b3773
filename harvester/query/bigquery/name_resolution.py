"""Which attribute an expression is, by SQL's rules of scope; None wherever that is in doubt."""

from collections.abc import Iterator
from typing import Final, TypeAlias

from sqlglot import exp

from harvester.dicom.dictionary import Attribute, attributes_by_keyword
from harvester.query.views import DICOM_TABLES

# What a name was found to be: an attribute of the table, an expression that defines it, or unclear.
_Found: TypeAlias = Attribute | exp.Expr | None

_BASE: Final = frozenset({"instances", *DICOM_TABLES})
_MAXIMUM_STEPS: Final = 64


def attribute_of(node: exp.Expr, steps: int = _MAXIMUM_STEPS) -> Attribute | None:
    """The one attribute that an expression reads, as a list or as an item of it.

    Args:
        node: In the tree of a query in DuckDB's dialect.
        steps: How many definitions are followed.
    """
    if isinstance(node, exp.Column) and steps:
        return _column(node, steps - 1)
    if isinstance(node, exp.Dot):
        return _field(attribute_of(node.this, steps), [node.expression.name])
    if isinstance(node, exp.Bracket):
        # An element of a list of values is no attribute any more; an item of a sequence has its name.
        inner = attribute_of(node.this, steps)
        return inner if inner is not None and inner.vr == "SQ" else None
    return None


def _column(column: exp.Column, steps: int) -> Attribute | None:
    names = [part.name for part in column.parts]
    source = _source_called(names[0], column) if len(names) > 1 else None
    if source is not None:
        found, rest = _in_source(source, names[1]), names[2:]
    else:
        found, rest = _in_scopes(names[0], column), names[1:]
    if isinstance(found, exp.Expr):
        found = _defined(found, steps)
    return _field(found, rest)


def _defined(definition: exp.Expr, steps: int) -> Attribute | None:
    """What an alias stands for."""
    if isinstance(definition, exp.Unnest):
        inner = attribute_of(definition.expressions[0], steps)
        return inner if inner is not None and inner.vr == "SQ" else None
    return attribute_of(definition, steps)


def _in_scopes(name: str, node: exp.Expr) -> _Found:
    """Look a name up in the query that it stands in, then in those around it."""
    for select in _selects_around(node):
        for source in _sources(select):
            found = _in_source(source, name)
            if found is not None:
                return found
            if _may_have(source, name):
                return None
    return None


def _source_called(name: str, node: exp.Expr) -> exp.Expr | None:
    for select in _selects_around(node):
        for source in _sources(select):
            if source.alias_or_name.lower() == name.lower() and not isinstance(source, exp.Unnest):
                return source
    return None


def _in_source(source: exp.Expr, name: str) -> _Found:
    if isinstance(source, exp.Unnest):
        alias = source.args.get("alias")
        columns = (alias.args.get("columns") or []) if alias is not None else []
        return source if columns and columns[0].name.lower() == name.lower() else None
    query = _query_of(source)
    if query is None:
        return attributes_by_keyword().get(name.lower())
    for item in query.selects:
        if item.alias_or_name.lower() == name.lower():
            return item.this if isinstance(item, exp.Alias) else item
    return None


def _may_have(source: exp.Expr, name: str) -> bool:
    """Whether a source can have a column that it does not spell out."""
    if isinstance(source, exp.Unnest):
        alias = source.args.get("alias")
        columns = (alias.args.get("columns") or []) if alias is not None else []
        return any(column.name.lower() == name.lower() for column in columns)
    query = _query_of(source)
    return query.is_star if query is not None else source.name.lower() not in _BASE


def _query_of(source: exp.Expr) -> exp.Select | None:
    """The query that a subquery or a common table expression is; None for a table."""
    query = source.this if isinstance(source, exp.Subquery) else _common_table(source)
    if query is not None and not isinstance(query, exp.Select):
        return exp.select("*")  # UNION and the like: anything
    return query


def _common_table(table: exp.Expr) -> exp.Expr | None:
    inside: exp.Expr = table
    while inside.parent is not None:
        above = inside.parent
        clause = above.args.get("with_") if isinstance(above, exp.Query) else None
        for expression in clause.expressions if clause is not None else ():
            own = any(expression is ancestor for ancestor in _ancestors(table))
            if expression.alias.lower() == table.name.lower() and not own:
                query: exp.Expr = expression.this
                return query
        inside = above
    return None


def _ancestors(node: exp.Expr) -> Iterator[exp.Expr]:
    while node.parent is not None:
        node = node.parent
        yield node


def _selects_around(node: exp.Expr) -> Iterator[exp.Select]:
    return (above for above in _ancestors(node) if isinstance(above, exp.Select))


def _sources(select: exp.Select) -> Iterator[exp.Expr]:
    clause = select.args.get("from_")
    if clause is not None:
        yield clause.this
    for join in select.args.get("joins") or ():
        yield join.this


def _field(attribute: _Found, names: list[str]) -> Attribute | None:
    if not isinstance(attribute, Attribute):
        return None
    for name in names:
        below = attributes_by_keyword().get(name.lower())
        if attribute.vr != "SQ" or below is None:
            return None
        attribute = below
    return attribute
