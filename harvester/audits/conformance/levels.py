"""One level of a data set in SQL: its top, or the items of a sequence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from harvester.audits.conformance.expressions import Translator, attributes_of
from harvester.audits.conformance.standard import Level
from harvester.catalog.database import identifier, literal
from harvester.dicom.dictionary import BINARY_VRS, attributes_by_keyword
from harvester.query.sql_types import DuckDBPyType

Fields = Mapping[str, DuckDBPyType]
"""Types of columns, or of the fields of an item, by keyword."""

PIXEL_DATA: Final = frozenset({"PixelData", "FloatPixelData", "DoubleFloatPixelData"})


@dataclass(slots=True)
class DataSetLevel:
    """One level of a data set.

    Attributes:
        level: Its attributes in the IOD.
        fields: The columns or fields that the dataset has.
        columns: The columns of `instances`.
        prefix: The SQL before a field's name: empty, or `x.`.
        path: Keywords of the sequences above, joined by dots.
        sql_path: The SQL of the path of an item; empty at the top.
        root: The translator of the top level; None: this is the top.
    """

    level: Level
    fields: Fields
    columns: Fields
    prefix: str = ""
    path: str = ""
    sql_path: str = ""
    root: Translator | None = None
    translator: Translator = field(init=False)

    def __post_init__(self) -> None:
        outer = None if self.root is None else {"root": self.root}
        self.translator = Translator(self.column, self.present, outer)

    @property
    def depth(self) -> int:
        """How many sequences are above."""
        return self.path.count(".") + 1 if self.path else 0

    @property
    def parent(self) -> str:
        """The sequence that holds the items; empty at the top."""
        return self.path.rpartition(".")[2]

    def column(self, keyword: str) -> str | None:
        """The SQL of a value; None if the dataset has no such column.

        Args:
            keyword: The attribute; `SEQUENCE.KEYWORD`: the list of its values in the items of a sequence.
        """
        sequence, _, inner = keyword.rpartition(".")
        if sequence:
            column = self.column(sequence)
            known = column is not None and inner in item_fields(self.fields[sequence])
            return f"list_transform({column}, y -> y.{identifier(inner)})" if known else None
        return f"{self.prefix}{identifier(keyword)}" if keyword in self.fields else None

    def has_value(self, keyword: str) -> str:
        """The SQL condition that a column has a value; it is never NULL."""
        column = self.column(keyword)
        if column is None:
            return "false"
        if self.fields[keyword].id == "list":
            return f"COALESCE(len({column}) > 0, false)"
        return f"{column} IS NOT NULL"

    def has_none(self, keyword: str) -> str:
        """The SQL condition that a column has no value; it is never NULL."""
        column = self.column(keyword)
        if column is None:
            return "true"
        if self.fields[keyword].id == "list":
            return f"COALESCE(len({column}), 0) = 0"
        return f"{column} IS NULL"

    def present(self, keyword: str) -> str:
        """The SQL condition that an attribute is there with a value, for conditions; it is never NULL.

        Args:
            keyword: The attribute; `SEQUENCE.KEYWORD`: one of any item of a sequence.
        """
        if "." in keyword:
            values = self.column(keyword)
            has_value = "len(y) > 0" if keyword.endswith("Sequence") else "y IS NOT NULL"
            return (
                "false"
                if values is None
                else f"COALESCE(len(list_filter({values}, y -> {has_value})) > 0, false)"
            )
        if self.column(keyword) is not None or self.path or not is_binary(keyword):
            return self.has_value(keyword)
        if keyword in PIXEL_DATA:
            return f"COALESCE(pixel_data_keyword = {literal(keyword)}, false)"
        return f"COALESCE(list_contains(bulk_paths, {literal(keyword)}), false)"

    def name(self, keyword: str) -> str:
        """The path of an attribute without the numbers of items."""
        return f"{self.path}.{keyword}" if self.path else keyword

    def sql_name(self, keyword: str) -> str:
        """The SQL of the path of an attribute."""
        return f"{self.sql_path} || {literal('.' + keyword)}" if self.sql_path else literal(keyword)

    def decided(self, expression: str) -> str:
        """The SQL condition that no attribute that a condition reads has its value outside of its column.

        Args:
            expression: The condition; empty: none.
        """
        names = [
            literal(keyword) if of_root else self.sql_name(keyword)
            for of_root, keyword in attributes_of(expression or "True")
            # `present` knows where these are.
            if not ((of_root or not self.path) and is_binary(keyword))
        ]
        if not names:
            return "true"
        return f"NOT list_has_any(list_concat(bulk_paths, invalid_paths), [{', '.join(names)}])"

    def items(self, keyword: str, level: Level) -> "DataSetLevel | None":
        """The items of a sequence; None if the dataset has none."""
        fields = item_fields(self.fields[keyword]) if keyword in self.fields else {}
        if not fields or not level:
            return None
        root = self.root or self.translator
        return DataSetLevel(level, fields, self.columns, "x.", self.name(keyword), "path", root)


def is_binary(keyword: str) -> bool:
    """Whether the value of an attribute is not in a column, but in `bulk_data`."""
    known = attributes_by_keyword().get(keyword.lower())
    return known is not None and any(vr in known.vr for vr in BINARY_VRS)


def item_fields(kind: DuckDBPyType) -> Fields:
    """The fields of the items of a sequence, by keyword; empty if the column is not one."""
    if kind.id != "list":
        return {}
    (_, item), *_ = kind.children
    if not isinstance(item, DuckDBPyType) or item.id != "struct":
        return {}
    return {name: one for name, one in item.children if isinstance(one, DuckDBPyType)}


def all_items(sequences: Sequence[str]) -> str:
    """The SQL list of all items of a sequence, whatever items hold it."""
    first, *rest = map(identifier, sequences)
    for column in rest:
        first = f"flatten(list_transform({first}, y -> y.{column}))"
    return first
