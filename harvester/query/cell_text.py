"""The values of a column as texts for CSV and JSON, computed by Arrow; no digit is lost."""

import struct
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from harvester.errors import QueryError
from harvester.messages import printable
from harvester.query.json_value import json_scalar, json_value

_TEXT: Final = pa.large_string()  # a batch of nested values can have more than 2 GB
_PLAIN: Final = bytes(code for code in range(0x20, 0x7F) if code not in b'"\\')  # JSON writes it as it is
_NOT_PRINTABLE_ASCII: Final = r"[^ -~]"
_FORMULA_START: Final = r"^[=+\-@\t\r]"
# From here on Arrow writes whole numbers with an exponent.
_LARGE: Final = pa.Array.from_buffers(pa.float64(), 1, [None, pa.py_buffer(struct.pack("d", 1e10))])[0]
_ZERO: Final = pa.Array.from_buffers(pa.int64(), 1, [None, pa.py_buffer(struct.pack("q", 0))])


def json_texts(column: pa.Array) -> pa.Array:
    """Each value as JSON, NULL as `null`; NaN and the infinities, which JSON lacks, are `null`, too.

    Raises:
        QueryError: A date or time has no text.
    """
    return _json(column).fill_null(scalar("null"))


def csv_texts(column: pa.Array, *, safe: bool, on_terminal: bool) -> pa.Array:
    """Each value as a field of CSV; NULL stays NULL.

    Args:
        column: The values.
        safe: Whether texts that a spreadsheet takes for a formula get an apostrophe.
        on_terminal: Whether characters are escaped on which a terminal acts.

    Raises:
        QueryError: A date or time has no text.
    """
    kind = column.type
    if _is_text(kind):
        texts = _decoded(column)
        if safe:
            texts = _changed(texts, _FORMULA_START, lambda found: _joined("'", found))
        if on_terminal:
            texts = _changed(texts, _NOT_PRINTABLE_ASCII, lambda found: _each(printable, found))
        elif b"\0" in _bytes(texts):  # readers of CSV refuse it, or take it for the end
            texts = pc.replace_substring(texts, "\0", printable("\0"))
    elif pa.types.is_floating(kind):
        texts = _floats(column)
    elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        texts = _each(json_scalar, column)
    else:
        texts = _json(column, quoted=False)
    held = _bytes(texts)
    if not any(mark in held for mark in (b",", b'"', b"\n", b"\r")):
        return texts
    return _changed(texts, '[",\r\n]', lambda found: _joined('"', _doubled_quotes(found), '"'))


@cache
def scalar(text: str) -> pa.Scalar:
    """A text as Arrow's. Arrow itself would load pandas for it, which takes longer than most queries."""
    data = text.encode()
    buffers = [None, pa.py_buffer(struct.pack("qq", 0, len(data))), pa.py_buffer(data)]
    return pa.Array.from_buffers(_TEXT, 1, buffers)[0]


def lines(parts: list[pa.Array | str]) -> str:
    """Rows as one text: the parts of each, one after the other, and a line end."""
    return "".join(_joined(*parts, "\n").to_pylist())


def _json(column: pa.Array, *, quoted: bool = True) -> pa.Array:
    """Each value as JSON; NULL stays NULL; without `quoted`, dates and times have no quotation marks."""
    for is_kind, write in _WRITERS:
        if is_kind(column.type):
            return write(column)
    if pa.types.is_temporal(column.type):
        return _joined('"', _times(column), '"') if quoted else _times(column)
    return _each(json_value, column)


def _structs(column: pa.Array) -> pa.Array:
    parts: list[pa.Array | str] = []
    for field, values in zip(column.type, column.flatten(), strict=True):
        parts += [f"{', ' if parts else ''}{json_value(field.name)}: ", json_texts(values)]
    return _nulls_of(column, _joined("{", *parts, "}"))


def _lists(column: pa.Array) -> pa.Array:
    texts = json_texts(column.flatten())
    lengths = pc.list_value_length(column).cast(pa.int64()).fill_null(_ZERO[0])
    offsets = pa.concat_arrays([_ZERO, pc.cumulative_sum(lengths)])
    joined = pc.binary_join(pa.LargeListArray.from_arrays(offsets, texts), scalar(", "))
    return _nulls_of(column, _joined("[", joined, "]"))


def _strings(texts: pa.Array) -> pa.Array:
    quoted = _joined('"', texts, '"')
    if not _bytes(texts).translate(None, _PLAIN):
        return quoted
    found = pc.match_substring_regex(texts, r"[^ -!#-\[\]-~]")
    return pc.replace_with_mask(quoted, found.fill_null(False), _each(json_value, texts.filter(found)))


def _bytes(texts: pa.Array) -> bytes:
    """The bytes of all texts, and perhaps of more: faster to search than text by text."""
    buffer = texts.buffers()[2]
    return b"" if buffer is None else buffer.to_pybytes()


def _decimals(column: pa.Array) -> pa.Array:
    return _changed(column.cast(_TEXT), "E", lambda found: _each(lambda one: f"{Decimal(one):f}", found))


def _floats(column: pa.Array) -> pa.Array:
    """The shortest texts that give the same numbers; small whole numbers end with `.0`."""
    texts = column.cast(_TEXT)
    whole = pc.and_(pc.equal(pc.floor(column), column), pc.less(pc.abs(column), _LARGE))
    if pc.any(whole).as_py():
        texts = _joined(texts, pc.if_else(whole, scalar(".0"), scalar("")))
    if pc.all(pc.is_finite(column)).as_py() is False:
        for number, text in (("nan", "NaN"), ("-nan", "NaN"), ("inf", "Infinity"), ("-inf", "-Infinity")):
            texts = pc.if_else(pc.equal(texts, scalar(number)), scalar(text), texts)
    return texts


def _times(column: pa.Array) -> pa.Array:
    """Dates and times in ISO 8601, as Python writes them."""
    try:
        texts = column.cast(pa.string())
    except pa.ArrowInvalid:  # a zone that this system's data base lacks
        texts = _each(json_scalar, column)
    texts = pc.replace_substring(texts, " ", "T", max_replacements=1)
    texts = pc.replace_substring_regex(texts, r"\.0+(Z|[+-]\d+)?$", r"\1")
    if getattr(column.type, "tz", None) is not None:
        texts = pc.replace_substring_regex(texts, "Z$", "+0000")
        texts = pc.replace_substring_regex(texts, r"([+-]\d\d)(\d\d)$", r"\1:\2")
    whole = pc.match_substring_regex(texts, r"^\d{4}-|^\d\d:")
    if pc.all(whole).as_py() is False:
        raise QueryError("holds a value that cannot be shown (a date or time out of range)")
    return texts.cast(_TEXT)


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return kind in (pa.string(), pa.large_string(), pa.string_view())


def _decoded(column: pa.Array) -> pa.Array:
    plain = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    return plain.cast(_TEXT)


def _joined(*parts: pa.Array | str) -> pa.Array:
    """Texts one after the other; NULL where one of them is."""
    return pc.binary_join_element_wise(
        *(scalar(part) if isinstance(part, str) else part for part in parts), scalar("")
    )


def _doubled_quotes(texts: pa.Array) -> pa.Array:
    return pc.replace_substring(texts, '"', '""')


def _changed(texts: pa.Array, pattern: str, change: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """The texts with those changed that match a pattern."""
    found = pc.match_substring_regex(texts, pattern)
    if not pc.any(found).as_py():
        return texts
    return pc.replace_with_mask(texts, found.fill_null(False), change(texts.filter(found)))


def _each(write: Callable[[Any], str], column: pa.Array) -> pa.Array:
    return pa.array([None if one is None else write(one) for one in column.to_pylist()], _TEXT)


def _nulls_of(column: pa.Array, texts: pa.Array) -> pa.Array:
    return texts if column.null_count == 0 else pc.if_else(column.is_valid(), texts, pa.nulls(1, _TEXT)[0])


_WRITERS: Final[tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.Array], pa.Array]], ...]] = (
    (_is_text, lambda column: _strings(_decoded(column))),
    (pa.types.is_integer, lambda column: column.cast(_TEXT)),
    (pa.types.is_boolean, lambda column: column.cast(_TEXT)),
    (pa.types.is_null, lambda column: column.cast(_TEXT)),
    (
        pa.types.is_floating,
        lambda column: _floats(pc.if_else(pc.is_finite(column), column, pa.nulls(1, column.type)[0])),
    ),
    (pa.types.is_decimal, _decimals),
    (pa.types.is_struct, _structs),
    (pa.types.is_list, _lists),
    (pa.types.is_large_list, _lists),
    (pa.types.is_fixed_size_list, _lists),
)
