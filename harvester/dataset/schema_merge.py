"""One schema for parts whose columns or nested fields differ, and the conversion of tables to it."""

from collections.abc import Iterable

import pyarrow as pa

from harvester.errors import DatasetError

_KINDS = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_boolean,
    pa.types.is_date,
    pa.types.is_time,
    pa.types.is_timestamp,
    pa.types.is_null,
)


def unite(schemas: Iterable[pa.Schema]) -> pa.Schema:
    """Unite columns by name, and the fields of nested structs, in the order of their first appearance.

    Types follow from the data dictionary, so parts seldom differ. Where dictionaries of different years do,
    the result is the wider number type, or text.

    Raises:
        DatasetError: A column is nested in one part and not in another.
    """
    types: dict[str, pa.DataType] = {}
    for schema in schemas:
        for field in schema:
            seen = types.get(field.name)
            if seen is None:
                types[field.name] = field.type
            elif seen != field.type:
                types[field.name] = _wider(field.name, seen, field.type)
    # A column of NULLs only has no type: text, as in DuckDB.
    return pa.schema(
        [(name, pa.string() if pa.types.is_null(kind) else kind) for name, kind in types.items()]
    )


def foreign_column(schema: pa.Schema) -> str:
    """Why harvester cannot have written a part: a repeated column, a type such as a map; empty: it can."""
    names = [name.lower() for name in schema.names]
    if len(set(names)) != len(names):
        twice = next(name for name in schema.names if names.count(name.lower()) > 1)
        return f"it has two columns called {twice!r}"
    return next((f"column {field.name!r} is {field.type}" for field in schema if _is_foreign(field.type)), "")


def _is_foreign(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(_is_foreign(field.type) for field in kind)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _is_foreign(kind.value_type)
    return not any(is_kind(kind) for is_kind in _KINDS)


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Convert a table to a united schema: missing columns and fields are NULL, at any depth.

    Raises:
        DatasetError: A value does not fit its column's type.
    """
    present = set(table.column_names)
    columns = []
    for field in schema:
        if field.name not in present:
            columns.append(pa.chunked_array([pa.nulls(table.num_rows, field.type)]))
            continue
        column = table.column(field.name)
        try:
            columns.append(column if column.type == field.type else column.cast(field.type))
        except pa.ArrowException as error:
            raise DatasetError(f"column {field.name}: {column.type} cannot become {field.type}") from error
    return pa.Table.from_arrays(columns, schema=schema)


def _wider(path: str, one: pa.DataType, other: pa.DataType) -> pa.DataType:
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    if pa.types.is_nested(one) or pa.types.is_nested(other):
        return _wider_nested(path, one, other)
    numbers = sum(pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in (one, other))
    return pa.float64() if numbers == 2 else pa.string()


def _wider_nested(path: str, one: pa.DataType, other: pa.DataType) -> pa.DataType:
    if pa.types.is_list(one) and pa.types.is_list(other):
        return pa.list_(_wider(path, one.value_type, other.value_type))
    if not (pa.types.is_struct(one) and pa.types.is_struct(other)):
        raise DatasetError(f"column {path}: {one} in one part and {other} in another, which do not unite")
    fields = {field.name: field.type for field in one}
    for field in other:
        seen = fields.get(field.name)
        fields[field.name] = field.type if seen is None else _wider(f"{path}.{field.name}", seen, field.type)
    return pa.struct(list(fields.items()))
