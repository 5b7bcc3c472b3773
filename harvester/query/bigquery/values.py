"""Values as BigQuery's tables have them: arrays that are never NULL, and decimal strings that are text.

In IDC's tables an array that is absent is empty; here it is NULL. Some attributes of one value are arrays
there. DS and IS are text there and numbers here: where a query uses one as text, it is cast.
"""

from typing import Final

from sqlglot import exp

_TEXT: Final = exp.DataType(this=exp.DType.TEXT)
_NOT_SCALAR: Final = (exp.DType.ARRAY, exp.DType.JSON, exp.DType.NULL, exp.DType.STRUCT, exp.DType.UNKNOWN)
_ARRAY_READERS: Final = (exp.ArraySize, exp.ArrayToString)
_COMPARISONS: Final = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.In, exp.Nullif)
_CHOICES: Final = (exp.Coalesce, exp.If, exp.Case)
_DATE_FUNCTIONS: Final = (exp.DateTrunc, exp.DateAdd, exp.DateSub, exp.TimestampTrunc)
_TEXT_FUNCTIONS: Final = (
    exp.Concat,
    exp.DPipe,
    exp.EndsWith,
    exp.GroupConcat,
    exp.Left,
    exp.Length,
    exp.Like,
    exp.Lower,
    exp.RegexpExtract,
    exp.RegexpExtractAll,
    exp.RegexpLike,
    exp.RegexpReplace,
    exp.Replace,
    exp.Right,
    exp.Split,
    exp.StartsWith,
    exp.StrPosition,
    exp.Substring,
    exp.Trim,
    exp.Upper,
)


def read_values_as_bigquery(query: exp.Expr) -> None:
    """Change a query with annotated types to read arrays and numbers as BigQuery has them, in place."""
    for bracket in list(query.find_all(exp.Bracket)):
        _read_one_value_as_array(bracket)
    _read_arrays(query)
    for node in list(query.find_all(*_COMPARISONS, *_CHOICES)):
        _compare_as_text(node)
    for function in list(query.find_all(*_TEXT_FUNCTIONS)):
        for value in filter(_is_number, _text_arguments(function)):
            _cast_to_text(value)
    for node in list(query.find_all(*_DATE_FUNCTIONS, exp.Sum, exp.CountIf)):
        _keep_type(node)
    for cast in query.find_all(exp.Cast):
        if cast.to.is_type(*exp.DataType.INTEGER_TYPES) and cast.this.is_type(*exp.DataType.REAL_TYPES):
            cast.this.replace(exp.Round(this=cast.this.copy()))  # a half away from zero, not to even


def _keep_type(node: exp.Expr) -> None:
    """Cast what DuckDB makes a TIMESTAMP of a DATE, or a HUGEINT of an INT64."""
    if isinstance(node, exp.CountIf) or (
        isinstance(node, exp.Sum) and node.this.is_type(*exp.DataType.INTEGER_TYPES)
    ):
        kind = exp.DType.BIGINT
    elif isinstance(node, _DATE_FUNCTIONS) and node.this.is_type(exp.DType.DATE):
        kind = exp.DType.DATE
    else:
        return
    outer = node.parent if isinstance(node.parent, exp.Window | exp.Filter) else node
    outer.replace(exp.Cast(this=outer.copy(), to=exp.DataType(this=kind)))


def _read_arrays(query: exp.Expr) -> None:
    for unnest in list(query.find_all(exp.Unnest)):
        for value in filter(_is_scalar, list(unnest.expressions)):
            value.replace(_array(value.copy()))
    for reader in list(query.find_all(*_ARRAY_READERS)):
        if _is_scalar(reader.this) or isinstance(reader.this, exp.Dot):
            reader.this.replace(_array(reader.this.copy()))


def _read_one_value_as_array(bracket: exp.Bracket) -> None:
    """`PatientID[SAFE_OFFSET(0)]` is the value, where the attribute is an array in BigQuery alone."""
    (index,) = bracket.expressions if len(bracket.expressions) == 1 else (None,)
    if index is None or not index.is_int or not _is_scalar(bracket.this):
        return
    first = int(index.name) == (bracket.args.get("offset") or 0)
    kind = bracket.this.type
    value = bracket.this if first else exp.Cast(this=exp.Null(), to=kind.copy())
    value.type = kind
    bracket.replace(value)


def _is_scalar(value: exp.Expr | None) -> bool:
    """Whether it is a column or a field of one value."""
    if not isinstance(value, exp.Column | exp.Dot) or value.type is None:
        return False
    return not value.is_type(
        exp.DType.ARRAY, exp.DType.UNKNOWN, exp.DType.JSON, exp.DType.STRUCT, exp.DType.NULL
    )


def _array(value: exp.Expr) -> exp.Expr:
    """The array that BigQuery has: NULL only where the item that it stands in is."""
    empty = exp.Array(expressions=[])
    if _is_scalar(value):
        array: exp.Expr = exp.If(
            this=exp.Is(this=value, expression=exp.Null()),
            true=empty,
            false=exp.Array(expressions=[value.copy()]),
        )
    else:
        array = exp.Coalesce(this=value, expressions=[empty])
    if isinstance(value, exp.Dot):
        item_is_null = exp.Is(this=value.this.copy(), expression=exp.Null())
        return exp.If(this=item_is_null, true=exp.Null(), false=array)
    return array


def _compare_as_text(node: exp.Expr) -> None:
    """Compare a number with text that is none, such as '', as text: DuckDB would fail to convert it."""
    values = _compared(node)
    if any((value.is_string and not _reads_as_number(value.name)) or _is_text(value) for value in values):
        for value in values:
            if _is_number(value):
                _cast_to_text(value)


def _compared(node: exp.Expr) -> list[exp.Expr]:
    """The values that have to be of one type."""
    if isinstance(node, exp.Coalesce | exp.In):
        found = [node.this, *node.expressions]
    elif isinstance(node, exp.If):
        found = [node.args.get("true"), node.args.get("false")]
    elif isinstance(node, exp.Case):
        found = [*(branch.args.get("true") for branch in node.args["ifs"]), node.args.get("default")]
    else:
        found = [node.this, node.expression]
    return [value for value in found if value is not None]


def _text_arguments(function: exp.Expr) -> list[exp.Expr]:
    if isinstance(function, exp.Concat):
        return list(function.expressions)
    if isinstance(function, exp.DPipe | exp.Like):
        return [function.this, function.expression]
    value = function.this
    while isinstance(value, exp.Order | exp.Distinct | exp.Limit):
        value = value.this or value.expressions[0]
    return [value]


def _is_number(value: exp.Expr) -> bool:
    return not value.is_number and value.is_type(*exp.DataType.NUMERIC_TYPES)


def _is_text(value: exp.Expr) -> bool:
    return not value.is_string and value.is_type(*exp.DataType.TEXT_TYPES)


def _cast_to_text(value: exp.Expr) -> None:
    value.replace(exp.Cast(this=value.copy(), to=_TEXT.copy()))


def _reads_as_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
