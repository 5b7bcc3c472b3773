"""What BigQuery's tables hold otherwise than a harvest: arrays that are never NULL, numbers as text.

In `dicom_all` an attribute of many values that is absent is an empty array; here it is NULL. Some
attributes of one value are arrays there; decimal and integer strings are strings. So far as a name
can be followed to one attribute, the query is changed to mean the same.
"""

from typing import Final

from sqlglot import exp

from harvester.dicom.dictionary import Attribute
from harvester.query.bigquery.name_resolution import attribute_of

_TEXT: Final = exp.DataType.build("VARCHAR", dialect="duckdb")
_NUMBERS_AS_TEXT: Final = frozenset({"DS", "IS"})
_READERS: Final = (exp.ArraySize, exp.ArrayToString, exp.Unnest)
_COMPARISONS: Final = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.In, exp.Like, exp.ILike)


def read_repeated_attributes(query: exp.Expr) -> exp.Expr:
    """Change a query in DuckDB's dialect to read arrays and numbers as BigQuery's tables have them."""
    for comparison in list(query.find_all(*_COMPARISONS)):
        _compare_as_text(comparison)
    brackets = [(node, attribute_of(node.this)) for node in query.find_all(exp.Bracket)]
    arrays = [(node, attribute_of(_read(node))) for node in query.find_all(*_READERS)]
    for reader, attribute in arrays:
        if attribute is not None and not (isinstance(reader, exp.Unnest) and _is_list(attribute)):
            array = _read(reader)
            array.replace(_array(array.copy(), attribute))
    for bracket, attribute in brackets:
        if attribute is None or _is_list(attribute) or len(bracket.expressions) != 1:
            continue
        if bracket.expressions[0].is_int:  # counted from 0, whatever the dialect
            bracket.replace(bracket.this if bracket.expressions[0].name == "0" else exp.null())
    return query


def _read(node: exp.Expr) -> exp.Expr:
    """The array that a function reads."""
    found: exp.Expr = node.expressions[0] if isinstance(node, exp.Unnest) else node.this
    return found


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


def _compare_as_text(node: exp.Expr) -> None:
    """Compare a number with text that is none, such as '', as text: DuckDB would fail to convert it."""
    sides = [node.this, *(node.expressions if isinstance(node, exp.In) else [node.expression])]
    pattern = isinstance(node, exp.Like | exp.ILike)
    if not any(side is not None and side.is_string and (pattern or not _number(side.name)) for side in sides):
        return
    for side in sides:
        attribute = None if side is None else attribute_of(_without_index(side))
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
