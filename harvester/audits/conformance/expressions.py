"""Conditions on attributes, written as small Python expressions, translated to SQL.

`SamplesPerPixel > 1`, `Modality in ("CT", "MR")`, `present(ROINumber)`, `ImageType[3] == "AXIAL"` (the third
value), joined by `and`, `or`, `not`. A keyword is an attribute of the same item; `root.Modality` is at the
top level; `ViewCodeSequence.CodeValue` has the values of all items, as in
`"399265004" in ViewCodeSequence.CodeValue` and `present(ViewCodeSequence.CodeValue)`. A comparison with
an absent attribute is false.
"""

import ast
from collections.abc import Callable, Mapping
from typing import Final

from harvester.catalog.database import literal

Access = Callable[[str], "str | None"]
"""The SQL of an attribute's value by its keyword; None if the dataset has no such column."""

_OPERATORS: Final[Mapping[type[ast.cmpop], str]] = {
    ast.Eq: "=",
    ast.NotEq: "<>",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Lt: "<",
    ast.LtE: "<=",
}


class Translator:
    """Translates conditions of one level of a data set.

    Args:
        value: Access to the attributes of the level.
        present: The SQL condition that an attribute of the level has a value; it is never NULL.
        outer: Translators of enclosing levels by name: `root`; None: this is the top level.
    """

    def __init__(
        self, value: Access, present: Callable[[str], str], outer: "Mapping[str, Translator] | None" = None
    ) -> None:
        self.value = value
        self.present = present
        self._outer = outer or {"root": self}

    def sql(self, expression: str) -> str:
        """The SQL condition; it is never NULL."""
        return self._boolean(ast.parse(expression, mode="eval").body)

    def _boolean(self, node: ast.expr) -> str:
        match node:
            case ast.BoolOp(op=operator, values=values):
                word, decisive = ("AND", "false") if isinstance(operator, ast.And) else ("OR", "true")
                parts = [self._boolean(one) for one in values]
                if decisive in parts:
                    return decisive
                undecided = [part for part in parts if part not in ("true", "false")]
                return f"({f' {word} '.join(undecided)})" if undecided else parts[0]
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                part = self._boolean(operand)
                return {"true": "false", "false": "true"}.get(part, f"(NOT {part})")
            case ast.Compare(left=left, ops=[operator], comparators=[right]):
                condition = self._comparison(left, operator, right)
                return condition if condition == "false" else f"COALESCE({condition}, false)"
            case ast.Call(func=ast.Name(id="present"), args=[argument]):
                scope, keyword = self._scope(argument)
                return scope.present(keyword)
            case ast.Constant(value=bool(value)):
                return "true" if value else "false"
        raise ValueError(f"not a condition: {ast.unparse(node)}")

    def _comparison(self, left: ast.expr, operator: ast.cmpop, right: ast.expr) -> str:
        value = self._value(left)
        if value is None:
            return "false"
        if isinstance(operator, ast.In | ast.NotIn) and isinstance(right, ast.Tuple):
            word = "IN" if isinstance(operator, ast.In) else "NOT IN"
            return f"({value} {word} ({', '.join(map(_constant, right.elts))}))"
        if isinstance(operator, ast.In):  # a text among the values of an attribute
            many = self._value(right)
            return "false" if many is None else f"list_contains({many}, {value})"
        other = _constant(right) if isinstance(right, ast.Constant) else self._value(right)
        return "false" if other is None else f"({value} {_OPERATORS[type(operator)]} {other})"

    def _value(self, node: ast.expr) -> str | None:
        if isinstance(node, ast.Constant):
            return _constant(node)
        if isinstance(node, ast.Subscript):
            value = self._value(node.value)
            return None if value is None else f"{value}[{_constant(node.slice)}]"
        scope, keyword = self._scope(node)
        return scope.value(keyword)

    def _scope(self, node: ast.expr) -> "tuple[Translator, str]":
        match node:
            case ast.Name(id=keyword):
                return self, keyword
            case ast.Attribute(value=ast.Name(id=level), attr=keyword):
                outer = self._outer.get(level)
                return (self, f"{level}.{keyword}") if outer is None else (outer, keyword)
        raise ValueError(f"not an attribute: {ast.unparse(node)}")


def all_of(*conditions: str) -> str:
    """The SQL condition that all of some conditions hold."""
    if "false" in conditions:
        return "false"
    undecided = [one for one in conditions if one != "true"]
    return f"({' AND '.join(undecided)})" if len(undecided) > 1 else (undecided or ["true"])[0]


def attributes_of(expression: str) -> list[tuple[bool, str]]:
    """The attributes that a condition reads: whether each is at the top level, and its keyword."""
    found: dict[tuple[bool, str], None] = {}
    for node in ast.walk(ast.parse(expression, mode="eval")):
        match node:
            case ast.Attribute(value=ast.Name(id="root"), attr=keyword):
                found[True, keyword] = None
            case ast.Name(id=keyword) if keyword not in ("present", "root"):
                found[False, keyword] = None
    return list(found)


def _constant(node: ast.expr) -> str:
    if not isinstance(node, ast.Constant):
        raise TypeError(f"not a constant: {ast.unparse(node)}")
    return literal(node.value) if isinstance(node.value, str) else repr(node.value)
