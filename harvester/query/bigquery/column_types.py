"""The columns of the views as sqlglot's schema, limited to what one query names."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

import pyarrow as pa
from sqlglot import exp
from sqlglot.schema import MappingSchema

from harvester.dicom.dictionary import Attribute, attributes_by_keyword
from harvester.query.bigquery.inputs import ColumnsOf
from harvester.query.sql_types import absent_type

# A timestamp is a DATETIME: DuckDB has time zones only in an extension.
_SCALARS: Final = {
    pa.string(): exp.DType.TEXT,
    pa.int64(): exp.DType.BIGINT,
    pa.int32(): exp.DType.BIGINT,
    pa.uint64(): exp.DType.BIGINT,
    pa.float64(): exp.DType.DOUBLE,
    pa.bool_(): exp.DType.BOOLEAN,
    pa.date32(): exp.DType.DATE,
    pa.time64("us"): exp.DType.TIME,
    pa.timestamp("us"): exp.DType.TIMESTAMP,
}


def table_schema(
    tables: Iterable[str], columns_of: ColumnsOf, names: frozenset[str] | None
) -> tuple[MappingSchema, dict[str, frozenset[str]], dict[str, str]]:
    """The schema that sqlglot qualifies a query with.

    Args:
        tables: The views that the query reads.
        columns_of: Their columns.
        names: The names in the query, in lower case; columns of other names are left out. None: all columns.

    Returns:
        The schema, the columns of each view, and the one spelling of each name, by the name in lower case:
        names differ in more than their case, also where tables spell them in two ways.
    """
    known = {table: columns for table in tables if (columns := columns_of(table)) is not None}
    spelt = _spellings(known)
    mapping = {
        table: {
            spelt[field.name.lower()]: sqlglot_type(field.type, names, spelt)
            for field in columns
            if names is None or field.name.lower() in names
        }
        for table, columns in known.items()
    }
    schema = MappingSchema(dialect="bigquery", normalize=False)
    for table, columns in mapping.items():
        schema.add_table(table, columns or {"": exp.DataType(this=exp.DType.UNKNOWN)}, match_depth=False)
    return (
        schema,
        {table: frozenset(spelt[name.lower()] for name in columns.names) for table, columns in known.items()},
        spelt,
    )


def sqlglot_type(
    kind: pa.DataType,
    names: frozenset[str] | None = None,
    spelt: Mapping[str, str] = MappingProxyType({}),
) -> exp.DataType:
    """An Arrow type as sqlglot's; of a struct only the fields that a query names.

    Args:
        kind: The type.
        names: The names in the query, in lower case; None: all fields.
        spelt: How fields are spelt, by their name in lower case.
    """
    if pa.types.is_list(kind):
        inner = sqlglot_type(kind.value_type, names, spelt)
        return exp.DataType(this=exp.DType.ARRAY, expressions=[inner], nested=True)
    if pa.types.is_struct(kind):
        fields: list[exp.Expr] = [
            exp.ColumnDef(
                this=exp.to_identifier(spelt.get(field.name.lower(), field.name)),
                kind=sqlglot_type(field.type, names, spelt),
            )
            for field in kind
            if names is None or field.name.lower() in names
        ]
        return exp.DataType(this=exp.DType.STRUCT, expressions=fields, nested=True)
    if pa.types.is_decimal(kind):
        return exp.DataType(this=exp.DType.DECIMAL)
    return exp.DataType(this=_SCALARS.get(kind, exp.DType.UNKNOWN))


def absent_value(attribute: Attribute) -> exp.Expr:
    """BigQuery's value of an attribute that no object has: NULL of its type, or an empty array."""
    kind = absent_type(attribute) or pa.string()
    value = exp.Array(expressions=[]) if pa.types.is_list(kind) else exp.Null()
    return exp.Cast(this=value, to=sqlglot_type(kind))


def attribute_called(name: str) -> Attribute | None:
    """The attribute of DICOM's dictionary with a keyword, in any case of letters."""
    return attributes_by_keyword().get(name.lower())


def _spellings(columns: Mapping[str, pa.Schema]) -> dict[str, str]:
    """The spelling of columns and fields by their name in lower case; columns take precedence."""
    fields = [field for schema in columns.values() for field in schema]
    found = {field.name.lower(): field.name for field in reversed(fields)}
    for field in fields:
        _add_spellings(field, found)
    return found


def _add_spellings(field: pa.Field, found: dict[str, str]) -> None:
    found.setdefault(field.name.lower(), field.name)
    kind = field.type.value_type if pa.types.is_list(field.type) else field.type
    if pa.types.is_struct(kind):
        for inner in kind:
            _add_spellings(inner, found)
