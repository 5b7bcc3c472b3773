"""Reads a script in BigQuery's dialect: its variables, parameters, functions and temporary tables."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import sqlglot
from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import Token, TokenType

from harvester.errors import QueryError
from harvester.query.bigquery.errors import syntax_error
from harvester.query.bigquery.inputs import NO_PARAMETERS, Parameters
from harvester.query.bigquery.names import place_of

_STATEMENTS: Final = frozenset({"SELECT", "WITH", "(", "FROM", "DECLARE", "SET", "CREATE"})
_ANY_TYPE: Final = exp.DType.VARIANT


def read_script(sql: str, parameters: Parameters = NO_PARAMETERS) -> list[exp.Query]:
    """The queries of a script, each complete in itself; the last one is the script's result.

    A script may declare and set variables, and create temporary functions in SQL and temporary tables.
    A temporary table becomes a common table expression: nothing is created.

    Raises:
        QueryError: A statement is of another kind, or cannot be parsed.
    """
    script = _Script(parameters)
    for place, text in _statements(sql):
        script.add(place, text)
    if not script.queries:
        raise QueryError("the SQL text holds no query; ask for example: SELECT count(*) FROM dicom_all")
    return script.queries


def _statements(sql: str) -> Iterator[tuple[str, str]]:
    """Each statement, at the line and column where it stands in the script."""
    try:
        tokens = Dialect.get_or_raise("bigquery").tokenize(sql)
    except SqlglotError as error:
        raise QueryError(syntax_error(error, sql)) from error
    statement: list[Token] = []
    for token in [*tokens, None]:
        if token is not None and token.token_type != TokenType.SEMICOLON:
            statement.append(token)
        elif statement:
            start = statement[0].start
            line, column = sql.count("\n", 0, start), start - (sql.rfind("\n", 0, start) + 1)
            yield f"line {line + 1}", "\n" * line + " " * column + sql[start : statement[-1].end + 1]
            statement = []


@dataclass(slots=True)
class _Script:
    """What the statements of a script so far have defined, by name in lower case."""

    parameters: Parameters
    queries: list[exp.Query] = field(default_factory=list)
    _variables: dict[str, exp.Expr] = field(default_factory=dict)
    _types: dict[str, exp.Expr | None] = field(default_factory=dict)
    _functions: dict[str, exp.Create] = field(default_factory=dict)
    _tables: dict[str, exp.Query] = field(default_factory=dict)

    def add(self, place: str, text: str) -> None:
        """Take in the next statement."""
        word = (re.match(r"\s*(\w+|\S)", text) or [""])[0].strip().upper()
        tree = _parse(text) if word in _STATEMENTS else None
        if isinstance(tree, exp.Declare):
            self._declare(tree)
        elif isinstance(tree, exp.Set):
            self._set(tree, place)
        elif isinstance(tree, exp.Create):
            self._create(tree, place)
        elif isinstance(tree, exp.Query):
            self.queries.append(self._with_tables(self._complete(tree)))
        else:
            raise QueryError(
                f"{place}: {word} cannot be translated; a script may DECLARE and SET variables, "
                "CREATE TEMP FUNCTION, CREATE TEMP TABLE and query"
            )

    def _declare(self, tree: exp.Declare) -> None:
        for item in tree.expressions:
            names = item.this if isinstance(item.this, list) else [item.this]
            for name in names:
                self._types[name.name.lower()] = item.args.get("kind")
                self._assign(name.name.lower(), (item.args.get("default") or exp.Null()).copy())

    def _set(self, tree: exp.Set, place: str) -> None:
        for item in tree.expressions:
            assignment = item.this
            if not isinstance(assignment, exp.EQ) or assignment.this.name.lower() not in self._types:
                raise QueryError(f"{place}: SET is translated only for one declared variable, SET x = value")
            self._assign(assignment.this.name.lower(), assignment.expression.copy())

    def _assign(self, name: str, value: exp.Expr) -> None:
        kind = self._types[name]
        value = exp.Paren(this=self._complete(value))
        self._variables[name] = value if kind is None else exp.Cast(this=value, to=kind.copy())

    def _create(self, tree: exp.Create, place: str) -> None:
        kinds = list(tree.args["properties"].expressions) if tree.args.get("properties") else []
        if not any(isinstance(kind, exp.TemporaryProperty) for kind in kinds):
            raise QueryError(f"{place}: CREATE is translated only as CREATE TEMP TABLE or TEMP FUNCTION")
        language = next((kind.name for kind in kinds if isinstance(kind, exp.LanguageProperty)), "sql")
        if tree.kind == "FUNCTION" and language.lower() == "sql":
            tree.set("expression", self._complete(tree.expression))
            self._functions[tree.this.this.name.lower()] = tree
        elif tree.kind == "TABLE" and isinstance(tree.expression, exp.Query):
            query = tree.expression.unnest()
            self._tables[tree.this.name.lower()] = self._complete(query)
        elif tree.kind == "FUNCTION":
            name = tree.this.this.name
            raise QueryError(f"{place}: the function {name} is written in {language}, which is not run here")
        else:
            raise QueryError(f"{place}: CREATE TEMP {tree.kind} cannot be translated")

    def _with_tables(self, query: exp.Query) -> exp.Query:
        for table in query.find_all(exp.Table):
            if table.db.lower() == "_session":
                table.set("db", None)
        for name, definition in reversed(self._tables.items()):
            query = query.with_(name, definition.copy(), append=False, materialized=True, copy=False)
        if self._tables and (clause := query.args.get("with_")) is not None:
            order = list(self._tables)
            clause.expressions.sort(
                key=lambda cte: order.index(cte.alias.lower()) if cte.alias.lower() in order else len(order)
            )
        return query

    def _complete(self, tree: exp.Expr) -> Any:
        """Put in the values of parameters and variables, and the bodies of functions."""
        return tree.transform(self._replaced)

    def _replaced(self, node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.SessionParameter) or (isinstance(node, exp.Parameter) and not node.name):
            raise QueryError(f"{place_of(node.parent or node)}: system variables (@@) cannot be translated")
        if isinstance(node, exp.Parameter):
            return self._parameter(node)
        if isinstance(node, exp.Placeholder):
            raise QueryError(
                f"{place_of(node.parent or node)}: ? is a query parameter without a name; use @name"
            )
        if isinstance(node, exp.Column) and not node.table and node.name.lower() in self._variables:
            return exp.Paren(this=self._variables[node.name.lower()].copy())
        if isinstance(node, exp.Anonymous) and node.name.lower() in self._functions:
            return self._called(node, self._functions[node.name.lower()])
        return node

    def _parameter(self, node: exp.Parameter) -> exp.Expr:
        known = {name.lower(): value for name, value in self.parameters.items()}
        if node.name.lower() not in known:
            raise QueryError(
                f"{place_of(node.parent or node)}: @{node.name} is a query parameter that has no value; "
                f"give it with --param {node.name}=VALUE"
            )
        return exp.convert(known[node.name.lower()])

    def _called(self, call: exp.Anonymous, function: exp.Create) -> exp.Expr:
        names = function.this.expressions
        if len(names) != len(call.expressions):
            raise QueryError(
                f"{place_of(call)}: {call.name} takes {len(names)} arguments, not {len(call.expressions)}"
            )
        values = {
            name.name.lower(): _typed(self._complete(value), name.args.get("kind"))
            for name, value in zip(names, call.expressions, strict=True)
        }

        def argument(node: exp.Expr) -> exp.Expr:
            bare = isinstance(node, exp.Column) and not node.table and node.name.lower() in values
            return values[node.name.lower()].copy() if bare else node

        returns = next(
            (
                kind.this
                for kind in function.args["properties"].expressions
                if isinstance(kind, exp.ReturnsProperty)
            ),
            None,
        )
        return _typed(function.expression.transform(argument), returns)


def _typed(value: exp.Expr, kind: exp.Expr | None) -> exp.Expr:
    value = exp.Paren(this=value)
    if not isinstance(kind, exp.DataType) or kind.this == _ANY_TYPE:
        return value
    return exp.Cast(this=value, to=kind.copy())


def _parse(text: str) -> exp.Expr:
    try:
        return sqlglot.parse_one(text, read="bigquery")
    except (SqlglotError, RecursionError) as error:
        raise QueryError(syntax_error(error, text)) from error
