"""Columns for what has no column of its own: lists of structs."""

from itertools import repeat
from typing import Any

import pyarrow as pa


class ListOfStructs:
    """A LIST<STRUCT<...>> column that grows entry by entry.

    Args:
        struct: The type of one entry.
    """

    __slots__ = ("_entries", "_offsets", "_struct", "add")

    def __init__(self, struct: pa.StructType) -> None:
        self._struct = struct
        self._offsets: list[int] = []
        self._entries: list[tuple[Any, ...]] = []
        # Add one entry to the current row, its fields in the struct's order. No method around it: it is
        # called for each private element of each header.
        self.add = self._entries.append

    def start_row(self) -> None:
        """What is added from here on belongs to the next row."""
        self._offsets.append(len(self._entries))

    def truncate(self, rows: int) -> None:
        """Forget all rows from `rows` on."""
        if rows < len(self._offsets):
            del self._entries[self._offsets[rows] :]
            del self._offsets[rows:]

    def array(self) -> pa.ListArray:
        """The column so far; empty lists where nothing was added."""
        fields = list(self._struct)
        columns = zip(*self._entries, strict=True) if self._entries else repeat((), len(fields))
        arrays = [pa.array(values, field.type) for values, field in zip(columns, fields, strict=True)]
        offsets = pa.array([*self._offsets, len(self._entries)], pa.int32())
        return pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays(arrays, fields=fields))
