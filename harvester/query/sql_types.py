"""Arrow types as DuckDB writes them, and the types of attributes that a dataset lacks."""

from collections.abc import Container, Iterator
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Final

import pyarrow as pa

try:
    from duckdb.sqltypes import DuckDBPyType as DuckDBPyType  # noqa: PLC0414  exported
except ImportError:  # DuckDB 1.4.0
    from duckdb.typing import DuckDBPyType as DuckDBPyType  # type: ignore[no-redef]  # noqa: PLC0414

from harvester.catalog.database import identifier

if TYPE_CHECKING:
    from harvester.dicom.dictionary import Attribute

# The item of a sequence that no object has: DuckDB has no struct without fields.
_CODE: Final = pa.struct(
    [("CodeValue", pa.string()), ("CodingSchemeDesignator", pa.string()), ("CodeMeaning", pa.string())]
)
_SCALARS: Final = {
    pa.string(): "VARCHAR",
    pa.int64(): "BIGINT",
    pa.int32(): "INTEGER",
    pa.uint64(): "UBIGINT",
    pa.float64(): "DOUBLE",
    pa.bool_(): "BOOLEAN",
    pa.date32(): "DATE",
    pa.time64("us"): "TIME",
    pa.timestamp("us"): "TIMESTAMP",
}
_ARROW: Final = {name: kind for kind, name in _SCALARS.items()}


def sql_type(kind: pa.DataType) -> str:
    """Write an Arrow type of a dataset's columns as DuckDB does."""
    if pa.types.is_list(kind):
        return f"{sql_type(kind.value_type)}[]"
    if pa.types.is_struct(kind):
        fields = ", ".join(f"{identifier(field.name)} {sql_type(field.type)}" for field in kind)
        return f"STRUCT({fields})"
    return _SCALARS[kind]


def arrow_type(kind: DuckDBPyType) -> pa.DataType:
    """The Arrow type of a DuckDB type; through Arrow's own interface it would end at 64 levels."""
    inner = kind.children if kind.id in ("list", "struct") else []
    types = [(name, arrow_type(one)) for name, one in inner if isinstance(one, DuckDBPyType)]
    if kind.id == "list":
        return pa.list_(types[0][1])
    if kind.id == "struct":
        return pa.struct(types)
    if kind.id == "decimal":
        return pa.decimal128(*(number for _, number in kind.children if isinstance(number, int)))
    return _ARROW.get(str(kind), pa.string())


_WITHOUT_ARROW: Final = (
    "bignum",
    "bit",
    "geometry",
    "interval",  # Parquet has none
    "time with time zone",
    "time_ns",
    "uhugeint",
    "union",
    "varint",
    "variant",
)


def readable_type(kind: DuckDBPyType) -> str:
    """A type of DuckDB with VARCHAR for each part whose values Arrow or Parquet cannot hold as they are."""
    if kind.id in _WITHOUT_ARROW:
        return "VARCHAR"
    if kind.id not in {"list", "array", "struct", "map"}:
        return str(kind)
    inner = {name: readable_type(one) for name, one in kind.children if isinstance(one, DuckDBPyType)}
    if kind.id == "struct":
        return f"STRUCT({', '.join(f'{identifier(name)} {one}' for name, one in inner.items())})"
    if kind.id == "map":
        return f"MAP({', '.join(inner.values())})"
    return f"{next(iter(inner.values()))}[{dict(kind.children).get('size', '')}]"


def absent_type(attribute: "Attribute") -> pa.DataType | None:
    """The type of an attribute that no object of the dataset has; None where its values are binary."""
    from harvester.dicom.schema import column_type  # noqa: PLC0415  loads pydicom

    return pa.list_(_CODE) if attribute.vr == "SQ" else column_type(attribute)


def with_field(
    name: str,
    kind: pa.DataType,
    attribute: "Attribute",
    sequences: Container[str],
    beside: AbstractSet[str] = frozenset(),
) -> pa.DataType:
    """Add an attribute to the items of sequences that lack it, at any depth.

    Args:
        name: The column or field whose type it is.
        kind: The type.
        attribute: Not of binary values.
        sequences: The sequences that get the attribute, in lower case.
        beside: Only items get it that have all of these fields, in lower case.
    """
    absent = absent_type(attribute)
    if not pa.types.is_list(kind) or not pa.types.is_struct(kind.value_type) or absent is None:
        return kind
    fields = [
        field.with_type(with_field(field.name, field.type, attribute, sequences, beside))
        for field in kind.value_type
    ]
    there = {field.name.lower() for field in fields}
    if name.lower() in sequences and attribute.keyword.lower() not in there and beside <= there:
        fields.append(pa.field(attribute.keyword, absent))
    return pa.list_(pa.struct(fields))


def paths_of(name: str, path: tuple[str, ...], kind: pa.DataType) -> Iterator[tuple[str, ...]]:
    """The paths of a field in the items of sequences, at any depth.

    Args:
        name: The field's name in lower case.
        path: The names from the column down to what has this type.
        kind: The type.
    """
    if not pa.types.is_list(kind) or not pa.types.is_struct(kind.value_type):
        return
    for field in kind.value_type:
        if field.name.lower() == name:
            yield (*path, field.name)
        yield from paths_of(name, (*path, field.name), field.type)
