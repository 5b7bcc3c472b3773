"""Columns for what has no column of its own: lists of structs that grow field by field."""

from typing import Any

import pyarrow as pa


class ListOfStructs:
    """A LIST<STRUCT<...>> column, one list a row, kept as one Python list a field.

    Args:
        struct: The type of one entry.
    """

    __slots__ = ("_fields", "_offsets", "_struct")

    def __init__(self, struct: pa.StructType) -> None:
        self._struct = struct
        self._offsets: list[int] = []
        self._fields: tuple[list[Any], ...] = tuple([] for _ in range(struct.num_fields))

    def __len__(self) -> int:
        return len(self._offsets)

    def start_row(self) -> None:
        """What is added from here on belongs to the next row."""
        self._offsets.append(len(self._fields[0]))

    def add(self, *values: Any) -> None:
        """Add one entry to the current row, its fields in the struct's order."""
        for field, value in zip(self._fields, values, strict=True):
            field.append(value)

    def truncate(self, rows: int) -> None:
        """Forget all rows from `rows` on."""
        if rows < len(self._offsets):
            for field in self._fields:
                del field[self._offsets[rows] :]
            del self._offsets[rows:]

    def array(self) -> pa.ListArray:
        """The column so far; empty lists where nothing was added."""
        arrays = [
            pa.array(values, field.type) for values, field in zip(self._fields, self._struct, strict=True)
        ]
        offsets = pa.array([*self._offsets, len(self._fields[0])], pa.int32())
        return pa.ListArray.from_arrays(
            offsets, pa.StructArray.from_arrays(arrays, fields=list(self._struct))
        )
