"""Which attributes, at which depth, an SQL text names: `SegmentSequence`, `SegmentSequence.SegmentLabel`.

Names are followed without scopes: what is called `roi` anywhere is taken for every `roi` of the text.
So more can be found than is meant, never less; a field more in an item of NULLs does no harm.
"""

from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

from sqlglot import exp

from harvester.dicom.dictionary import attributes_by_keyword

Path: TypeAlias = tuple[str, ...]
Aliases: TypeAlias = dict[str, set[Path]]

# An alias of an alias of an alias ...: SQL of people ends long before.
_MAXIMUM_ROUNDS: Final = 12
_MAXIMUM_DEPTH: Final = 24
_MAXIMUM_PATHS: Final = 256


def attribute_paths(statement: exp.Expr) -> set[Path]:
    """Follow every name of a text in DuckDB's dialect to the attributes it can stand for.

    Returns:
        Paths of keywords in lower case, from a column of `instances` downwards.
    """
    aliases = _aliases(statement)
    found: set[Path] = set()
    for node in statement.find_all(exp.Column, exp.Dot, exp.StructExtract):
        found |= _paths(node, aliases)
    for unnest, names in _recursive_unnests(statement):
        found |= {(*path, name) for path in _paths(unnest, aliases) for name in names if _is_in(path, name)}
    return found


def _aliases(statement: exp.Expr) -> Aliases:
    """What each alias of the text can stand for, found by following aliases until nothing is new."""
    definitions = list(_definitions(statement))
    aliases: Aliases = {}
    for _ in range(_MAXIMUM_ROUNDS):
        size = sum(map(len, aliases.values()))
        for name, value in definitions:
            paths = aliases.setdefault(name.lower(), set())
            if len(paths) < _MAXIMUM_PATHS:
                paths |= _paths(value, aliases)
        if size == sum(map(len, aliases.values())):
            break
    return aliases


def _definitions(statement: exp.Expr) -> Iterator[tuple[str, exp.Expr]]:
    for node in statement.find_all(exp.Alias, exp.PropertyEQ, exp.TableAlias, exp.Lambda, exp.Comprehension):
        if isinstance(node, exp.Alias):
            yield node.alias, node.this
        elif isinstance(node, exp.PropertyEQ):
            yield node.name, node.expression
        elif isinstance(node, exp.TableAlias):
            yield from _table_alias(node)
        elif isinstance(node, exp.Comprehension):
            yield node.expression.name, node.args["iterator"]
        elif node.parent is not None:
            # list_transform(LIST, x -> ...): x is an item of what stands before.
            yield from ((parameter.name, node.parent.this) for parameter in node.expressions)


def _table_alias(alias: exp.TableAlias) -> Iterator[tuple[str, exp.Expr]]:
    source = alias.parent
    names = [column.name for column in alias.args.get("columns") or ()]
    if isinstance(source, exp.Unnest):
        yield from ((name, source) for name in (*names, alias.name) if name)
    elif source is not None:
        query = source.this
        selects = query.selects if isinstance(query, exp.Query) else []
        yield from zip(names, selects, strict=False)


def _paths(node: exp.Expr, aliases: Aliases) -> set[Path]:
    """What an expression can be, or be made of."""
    if isinstance(node, exp.Column):
        names = [part.name.lower() for part in node.parts]
        # The first names can be a table's, a schema's, a catalog's.
        return {
            path
            for start in range(len(names))
            for base in _bases(names[start], aliases)
            for path in (_walk(base, names[start + 1 :]),)
        }
    if isinstance(node, exp.Dot | exp.StructExtract):
        below = _paths(node.this, aliases)
        return {_walk(base, [node.expression.name.lower()]) for base in below}
    if isinstance(node, exp.Identifier):  # a lambda's parameter
        return set(aliases.get(node.name.lower(), ()))
    if isinstance(node, exp.Bracket):
        return _paths(node.this, aliases)
    return {path for child in node.iter_expressions() for path in _paths(child, aliases)}


def _bases(name: str, aliases: Aliases) -> Iterable[Path]:
    own = {(name,)} if name in attributes_by_keyword() else set()
    return own | aliases.get(name, set())


def _walk(base: Path, names: list[str]) -> Path:
    """Go down by names as far as they are attributes: `PatientName.Alphabetic` ends at once."""
    for name in names:
        if not _is_in(base, name) or len(base) >= _MAXIMUM_DEPTH:
            break
        base = (*base, name)
    return base


def _is_in(path: Path, name: str) -> bool:
    known = attributes_by_keyword()
    return name in known and known[path[-1]].vr == "SQ"


def _recursive_unnests(statement: exp.Expr) -> Iterator[tuple[exp.Expr, set[str]]]:
    """Find `unnest(X, recursive := true)`, whose fields become columns, and the names that may be theirs."""
    for node in statement.find_all(exp.Explode, exp.Unnest, exp.Anonymous):
        select = node.find_ancestor(exp.Select)
        if not any(inner.name.lower() == "recursive" for inner in node.find_all(exp.Var, exp.Identifier)):
            continue
        if select is None or select.is_star:
            continue
        within = set(map(id, select.find_all(exp.Column)))
        used = {column.name.lower() for column in statement.find_all(exp.Column) if id(column) not in within}
        yield node, used - {item.alias_or_name.lower() for item in select.selects}
