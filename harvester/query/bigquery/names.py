"""Resolves the names of a query by BigQuery's rules of scope: sqlglot's qualifier and what it leaves open."""

from collections.abc import Collection, Iterator
from itertools import count
from typing import Final

from sqlglot import exp
from sqlglot.errors import OptimizeError
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.optimizer.qualify_columns import qualify_columns
from sqlglot.optimizer.qualify_tables import qualify_tables
from sqlglot.optimizer.scope import Scope, traverse_scope

from harvester.errors import QueryError
from harvester.messages import did_you_mean, one_line
from harvester.query.bigquery.column_types import absent_value, attribute_called, table_schema
from harvester.query.bigquery.inputs import ColumnsOf

_ITEM: Final = "item_"
_GROUP: Final = "group by "


def place_of(node: exp.Expr) -> str:
    """Where a construct begins in the user's text, found by its words: `line 3, column 15`."""
    line, column = min(
        (
            (meta["line"], meta["col"] - (meta["end"] - meta["start"]))
            for meta in (inner.meta for inner in node.walk())
            if None not in (meta.get("line"), meta.get("col"), meta.get("start"), meta.get("end"))
        ),
        default=(1, 1),
    )
    return f"line {line}, column {column}"


def resolve_names(query: exp.Query, columns_of: ColumnsOf) -> exp.Query:
    """Qualify every column of a query, expand its stars and annotate its types.

    An attribute that neither a table of the query nor an item of `UNNEST` has is a NULL of its type.

    Args:
        query: In BigQuery's dialect; its tables are views of the dataset.
        columns_of: The columns of a view.

    Raises:
        QueryError: A name is no column, no field and no attribute, or stands for more than one column.
    """
    tables = {table.name for table in query.find_all(exp.Table)} - {
        cte.alias for cte in query.find_all(exp.CTE)
    }
    names = None if query.find(exp.Star) else frozenset(_names(query))
    schema, known, spelt = table_schema(sorted(tables), columns_of, names)
    outputs = [] if query.is_star else [item.alias for item in query.selects]
    _unify_spelling(query, spelt)
    _name_items(query)
    _name_outputs(query)
    _keep_group_names(query)
    try:
        query = qualify_tables(query, dialect="bigquery")
        query = qualify_columns(query, schema, allow_partial_qualification=True)
    except OptimizeError as error:
        raise QueryError(one_line(str(error))) from error
    _drop_expanded_items(query)
    _group_by_position(query)
    while sum(_Scope(scope, known).settle() for scope in traverse_scope(query)):
        query = annotate_types(query, schema=schema, dialect="bigquery")  # the items' fields are known next
    for scope in traverse_scope(query):
        _Scope(scope, known).settle(last=True)
    query = annotate_types(query, schema=schema, dialect="bigquery")
    while _settle_fields(query):  # the fields of a field that no item has come next
        query = annotate_types(query, schema=schema, dialect="bigquery")
    for item, name in zip(query.selects, outputs, strict=False):
        if name:
            item.set("alias", exp.to_identifier(name, quoted=True))
    return query


def _names(query: exp.Query) -> Iterator[str]:
    return (identifier.name.lower() for identifier in query.find_all(exp.Identifier))


def _unify_spelling(query: exp.Query, known: dict[str, str]) -> None:
    """Spell a name in one way wherever it stands: names differ in more than their case."""
    for identifier in query.find_all(exp.Identifier):
        identifier.set("this", known.setdefault(identifier.name.lower(), identifier.name))
        identifier.set("quoted", True)


def _name_items(query: exp.Query) -> None:
    """Give the items of each UNNEST a name, by which DuckDB reaches their fields."""
    numbers = count(1)
    for unnest in query.find_all(exp.Unnest):
        alias = unnest.args.get("alias")
        if isinstance(unnest.parent, exp.From | exp.Join) and not (alias and (alias.columns or alias.name)):
            name = exp.to_identifier(f"{_ITEM}{next(numbers)}", quoted=True)
            unnest.set("alias", exp.TableAlias(columns=[name]))


def _name_outputs(query: exp.Query) -> None:
    """Name the columns that have no name as BigQuery does: f0_, f1_ ..."""
    for select in query.find_all(exp.Select):
        numbers = count()
        for paren in list(select.expressions):
            if isinstance(paren.unnest(), exp.Column | exp.Dot):
                paren.replace(paren.unnest())  # DISTINCT(PatientID) keeps its name
        for item in list(select.expressions):
            item.meta["written"] = True
            if not isinstance(item, exp.Alias | exp.Column | exp.Dot | exp.Star):
                name = exp.to_identifier(f"f{next(numbers)}_", quoted=True)
                item.replace(exp.Alias(this=item.copy(), alias=name))


def _keep_group_names(query: exp.Query) -> None:
    """Keep an alias of a subquery in GROUP BY from the qualifier, which would repeat the subquery."""
    for select in query.find_all(exp.Select):
        made = {item.alias for item in select.expressions if item.find(exp.Select)} - {""}
        group = select.args.get("group")
        for key in list(group.expressions) if group is not None else ():
            if isinstance(key, exp.Column) and not key.table and key.name in made:
                key.replace(exp.Literal.string(f"{_GROUP}{key.name}"))


def _group_by_position(query: exp.Query) -> None:
    for select in query.find_all(exp.Select):
        group = select.args.get("group")
        for key in list(group.expressions) if group is not None else ():
            if key.is_string and key.name.startswith(_GROUP):
                names = [item.alias_or_name for item in select.expressions]
                key.replace(exp.Literal.number(names.index(key.name.removeprefix(_GROUP)) + 1))


def _drop_expanded_items(query: exp.Query) -> None:
    """From the columns that a star became, drop structs of UNNEST: their fields are columns already."""
    for scope in traverse_scope(query):
        structs = {
            name: source.expression.alias_column_names[:1]
            for name, source in scope.sources.items()
            if isinstance(source, Scope)
            and isinstance(source.expression, exp.Unnest)
            and source.expression.type is not None
            and source.expression.type.is_type(exp.DType.STRUCT)
        }
        if not structs or not isinstance(scope.expression, exp.Select):
            continue
        items = [
            item
            for item in scope.expression.expressions
            if not isinstance(column := item.unalias(), exp.Column)
            or item.meta.get("written")
            or column.meta.get("written")
            or [column.name] != structs.get(column.table)
        ]
        scope.expression.set("expressions", items)


class _Scope:
    """One scope of a qualified query, whose open columns become fields of items, NULLs or errors."""

    def __init__(self, scope: Scope, known: dict[str, frozenset[str]]) -> None:
        self._scope = scope
        self._known = known

    def settle(self, *, last: bool = False) -> bool:
        """Settle the columns; those that may be fields of items of a type not known yet only at last.

        Returns:
            Whether a column without a table got one.
        """
        found = False
        for column in list(self._scope.columns):
            if isinstance(column.this, exp.Star):
                continue
            if not column.table:
                found = self._settle_bare(column, last=last) or found
            if last and column.table:
                self._settle_qualified(column)
        return found

    def _settle_qualified(self, column: exp.Column) -> None:
        source = self._source(column.table)
        if isinstance(source, exp.Table) and source.name in self._known:
            if column.name not in self._known[source.name]:
                _make_absent(column, self._options())
        elif isinstance(source, Scope) and isinstance(source.expression, exp.Unnest):
            unnest = source.expression
            offset = unnest.args.get("offset")
            names = unnest.alias_column_names
            if isinstance(offset, exp.Identifier) and column.name == offset.name:
                # BigQuery counts from 0, DuckDB from 1.
                column.replace(exp.Paren(this=exp.Sub(this=column.copy(), expression=exp.Literal.number(1))))
            elif names and column.name not in names:
                item = exp.column(names[0], table=column.table, quoted=True)
                column.replace(exp.Dot(this=item, expression=column.this.copy()))

    def _settle_bare(self, column: exp.Column, *, last: bool) -> bool:
        query = self._scope.expression
        if isinstance(query, exp.SetOperation) and column.name in query.named_selects:
            return False
        if self._source(column.name) is not None:  # the row of a table
            return False
        sources = self._sources_before(column)
        if not last and any(_is_open(source) for source in sources.values()):
            return False
        having = [name for name, source in sources.items() if column.name in self._columns(source)]
        if len(having) == 1:  # the other sources are items of a sequence that no object has
            column.set("table", exp.to_identifier(having[0], quoted=True))
            return True
        output = self._output(column)
        if having and output is not None:
            column.replace(output.copy())
            return True
        if having:
            names = [name for name in having if not name.startswith("_")]
            hint = " or ".join(f"{name}.{column.name}" for name in names)
            raise QueryError(
                f"{place_of(column)}: {column.name} is ambiguous: more than one table or item has it; "
                f"write {hint}, or name the items: UNNEST(...) AS item, item.{column.name}"
            )
        if last:
            _make_absent(column, self._options())
        return False

    def _sources_before(self, column: exp.Column) -> dict[str, Scope | exp.Expr]:
        """The sources in scope at a column: in FROM, only those before it."""
        sources: dict[str, Scope | exp.Expr] = {**self._scope.sources}
        unnest = column.find_ancestor(exp.Unnest, exp.Query)
        if not isinstance(unnest, exp.Unnest):
            return sources
        join = unnest.find_ancestor(exp.Join, exp.Query)
        select = unnest.parent_select
        if not isinstance(join, exp.Join) or select is None:
            return sources
        joins = select.args.get("joins") or []
        later = {later.this.alias_or_name for later in joins[joins.index(join) :]} if join in joins else set()
        return {name: source for name, source in sources.items() if name not in later}

    def _output(self, column: exp.Column) -> exp.Expr | None:
        """The column of the result that a name in GROUP BY, HAVING or ORDER BY stands for."""
        clause = column.find_ancestor(exp.Group, exp.Having, exp.Order, exp.Query)
        query = self._scope.expression
        if isinstance(clause, exp.Query | None) or not isinstance(query, exp.Select):
            return None
        return next((item.unalias() for item in query.selects if item.alias_or_name == column.name), None)

    def _columns(self, source: Scope | exp.Expr) -> Collection[str]:
        if isinstance(source, exp.Table):
            return self._known.get(source.name, frozenset())
        query = source.expression if isinstance(source, Scope) else None
        if isinstance(query, exp.Unnest):
            fields = (
                query.type.expressions
                if query.type is not None and query.type.is_type(exp.DType.STRUCT)
                else []
            )
            return [*query.alias_column_names, *(field.name for field in fields)]
        return query.named_selects if isinstance(query, exp.Query | exp.UDTF) else []

    def _source(self, name: str) -> Scope | exp.Expr | None:
        scope: Scope | None = self._scope
        while scope is not None:
            if name in scope.sources:
                return scope.sources[name]
            scope = scope.parent
        return None

    def _options(self) -> list[str]:
        return [name for columns in self._known.values() for name in columns]


def _is_open(source: Scope | exp.Expr) -> bool:
    """Whether it is an UNNEST whose items have no known type yet."""
    unnest = source.expression if isinstance(source, Scope) else None
    return isinstance(unnest, exp.Unnest) and (unnest.type is None or unnest.type.is_type(exp.DType.UNKNOWN))


def _make_absent(node: exp.Expr, options: list[str]) -> None:
    """Replace a name that nothing has by a NULL of the attribute's type.

    Raises:
        QueryError: It is no attribute of DICOM's dictionary.
    """
    name = node.expression if isinstance(node, exp.Dot) else node.this
    attribute = attribute_called(name.name)
    if attribute is None:
        hint = did_you_mean(name.name, options)
        raise QueryError(f"{place_of(name)}: there is no column or field {name.name}{hint}")
    value = absent_value(attribute)
    if isinstance(node, exp.Dot) and isinstance(value.this, exp.Array):
        item_is_null = exp.Is(this=node.this.copy(), expression=exp.Null())
        value = exp.If(this=item_is_null, true=exp.Null(), false=value)
    node.replace(value)


def _settle_fields(query: exp.Query) -> bool:
    """Replace fields that no item has by NULL; whether there were any."""
    found = False
    for dot in [node for node in query.find_all(exp.Dot) if isinstance(node.expression, exp.Identifier)]:
        kind = dot.this.type
        if kind is None or not kind.is_type(exp.DType.STRUCT):
            continue
        fields = [field.name for field in kind.expressions]
        if dot.expression.name not in fields and (not fields or attribute_called(dot.expression.name)):
            _make_absent(dot, fields)
            found = True
    return found
