"""Arrow types as DuckDB writes them, and the types of attributes that a dataset does not have."""

from collections.abc import Mapping
from typing import Final, TypeAlias

import pyarrow as pa
from duckdb.sqltypes import DuckDBPyType

from harvester.catalog.database import identifier
from harvester.dicom.dictionary import Attribute, attributes_by_keyword
from harvester.dicom.schema import column_type

Fields: TypeAlias = Mapping[str, "Fields"]
"""The attributes that a query touches in an item, by their keyword in lower case, and theirs in turn."""

# The item of an absent sequence in which a query touches nothing: DuckDB has no struct without fields.
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
    return _ARROW.get(str(kind), pa.string())


def absent_type(attribute: Attribute, fields: Fields) -> pa.DataType | None:
    """The type of an attribute that no object of the dataset has; None where its values are binary."""
    if attribute.vr != "SQ":
        return column_type(attribute)
    item = [
        pa.field(known.keyword, kind)
        for name, inner in fields.items()
        if (known := attributes_by_keyword().get(name)) is not None
        and (kind := absent_type(known, inner)) is not None
    ]
    return pa.list_(pa.struct(item) if item else _CODE)


def widened(kind: pa.DataType, fields: Fields) -> pa.DataType:
    """Add to a sequence's items, at any depth, the attributes that a query touches and they lack."""
    if not pa.types.is_list(kind) or not pa.types.is_struct(kind.value_type):
        return kind
    present = [
        field.with_type(widened(field.type, fields.get(field.name.lower(), {}))) for field in kind.value_type
    ]
    names = {field.name.lower() for field in present}
    absent = [
        pa.field(known.keyword, missing)
        for name, inner in fields.items()
        if name not in names
        and (known := attributes_by_keyword().get(name)) is not None
        and (missing := absent_type(known, inner)) is not None
    ]
    return pa.list_(pa.struct([*present, *absent]))
