"""Builds a LIST<STRUCT<...>> column entry by entry; entries that many headers share are converted once."""

from itertools import repeat
from typing import Any, Final

import pyarrow as pa

PACKED_AT_ONCE: Final = 1 << 18  # entries
_MIN_SHARED: Final = 4  # entries a distinct one, from which on each distinct one is converted once


class ListBuilder:
    """A LIST<STRUCT<...>> column that grows by one entry.

    Args:
        struct: The type of one entry.
    """

    __slots__ = ("_entries", "_offsets", "_packed", "_packed_length", "_struct", "add")

    def __init__(self, struct: pa.StructType) -> None:
        self._struct = struct
        self._offsets: list[int] = []
        self._packed: list[pa.StructArray] = []
        self._packed_length = 0  # entries that are Arrow arrays already
        self._entries: list[tuple[Any, ...]] = []
        # Adds an entry to the current row, its fields in the struct's order.
        self.add = self._entries.append

    def add_new(self, entry: tuple[Any, ...]) -> None:
        """Add an entry that is no object added before: many of them are packed, a third of the memory."""
        self.add(entry)
        if len(self._entries) >= PACKED_AT_ONCE:
            self._packed.append(self._structs())
            self._packed_length += len(self._entries)
            self._entries.clear()

    def start_row(self) -> None:
        """Begin the next row."""
        self._offsets.append(self._packed_length + len(self._entries))

    def truncate(self, rows: int) -> None:
        """Remove all rows from `rows` on."""
        if rows < len(self._offsets):
            length = self._offsets[rows]
            del self._entries[max(0, length - self._packed_length) :]
            while self._packed_length > length:
                last = self._packed.pop()
                self._packed_length -= len(last)
                if self._packed_length < length:
                    self._packed.append(last.slice(0, length - self._packed_length))
                    self._packed_length = length
            del self._offsets[rows:]

    def array(self) -> pa.ListArray:
        """The column so far."""
        offsets = pa.array([*self._offsets, self._packed_length + len(self._entries)], pa.int32())
        structs = self._structs()
        if self._packed:
            structs = pa.concat_arrays([*self._packed, structs])
        return pa.ListArray.from_arrays(offsets, structs)

    def _structs(self) -> pa.StructArray:
        # Entries that many headers share are one object: each is converted once.
        identities = pa.array(map(id, self._entries), pa.uint64()).dictionary_encode()
        if len(identities.dictionary) * _MIN_SHARED > len(self._entries):
            return self._converted(self._entries)
        entries = dict(zip(map(id, self._entries), self._entries, strict=True))
        distinct = [entries[identity.as_py()] for identity in identities.dictionary]
        return self._converted(distinct).take(identities.indices)

    def _converted(self, entries: list[tuple[Any, ...]]) -> pa.StructArray:
        fields = list(self._struct)
        columns = zip(*entries, strict=True) if entries else repeat((), len(fields))
        arrays = [pa.array(values, field.type) for values, field in zip(columns, fields, strict=True)]
        return pa.StructArray.from_arrays(arrays, fields=fields)
