"""Columns for what has no column of its own: lists of structs."""

from itertools import repeat
from typing import Any, Final, TypeAlias

import pyarrow as pa

# An entry of `OtherElements`, and whether the element is binary. Kept whole, because a tuple made anew for
# each private element of each header would keep the garbage collector busy.
OtherEntry: TypeAlias = tuple[tuple[str, str, str, str | None, list[str]], bool]
# Tag, value representation, raw value and owner.
_Element: TypeAlias = tuple[int, str, Any, str | None]
_MOST_ENTRIES: Final = 16_384
_LONGEST_PATH: Final = 256  # characters
_NOTHING: Final[dict[_Element, OtherEntry]] = {}
_PACKED_AT_ONCE: Final = 1 << 18  # entries
_SHARED: Final = 4  # entries for each distinct one, from which on sharing is made use of


class ListOfStructs:
    """A LIST<STRUCT<...>> column that grows entry by entry.

    Args:
        struct: The type of one entry.
    """

    __slots__ = ("_entries", "_offsets", "_packed", "_packed_length", "_struct", "add")

    def __init__(self, struct: pa.StructType) -> None:
        self._struct = struct
        self._offsets: list[int] = []
        self._packed: list[pa.StructArray] = []
        self._packed_length = 0
        self._entries: list[tuple[Any, ...]] = []
        # Add one entry to the current row, its fields in the struct's order. No method around it: it is
        # called for each private element of each header.
        self.add = self._entries.append

    def add_new(self, entry: tuple[Any, ...]) -> None:
        """Add an entry that was not added before: many of them are packed, a third of the memory."""
        self.add(entry)
        if len(self._entries) >= _PACKED_AT_ONCE:
            self._packed.append(self._structs())
            self._packed_length += len(self._entries)
            self._entries.clear()

    def start_row(self) -> None:
        """What is added from here on belongs to the next row."""
        self._offsets.append(self._packed_length + len(self._entries))

    def truncate(self, rows: int) -> None:
        """Forget all rows from `rows` on."""
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
        """The column so far; empty lists where nothing was added."""
        offsets = pa.array([*self._offsets, self._packed_length + len(self._entries)], pa.int32())
        structs = self._structs()
        if self._packed:
            structs = pa.concat_arrays([*self._packed, structs])
        return pa.ListArray.from_arrays(offsets, structs)

    def _structs(self) -> pa.StructArray:
        # The same entry object stands for the same element of many headers: each is converted once.
        identities = pa.array(map(id, self._entries), pa.uint64()).dictionary_encode()
        if len(identities.dictionary) * _SHARED > len(self._entries):
            return self._converted(self._entries)
        entries = dict(zip(map(id, self._entries), self._entries, strict=True))
        distinct = [entries[identity.as_py()] for identity in identities.dictionary]
        return self._converted(distinct).take(identities.indices)

    def _converted(self, entries: list[tuple[Any, ...]]) -> pa.StructArray:
        fields = list(self._struct)
        columns = zip(*entries, strict=True) if entries else repeat((), len(fields))
        arrays = [pa.array(values, field.type) for values, field in zip(columns, fields, strict=True)]
        return pa.StructArray.from_arrays(arrays, fields=fields)


class OtherEntries:
    """What `OtherElements` said of elements, by where they stood; the siblings of a header say it again."""

    __slots__ = ("_by_prefix", "_count")

    def __init__(self) -> None:
        self._by_prefix: dict[str, dict[_Element, OtherEntry]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def below(self, prefix: str) -> dict[_Element, OtherEntry]:
        """The entries of a data set's elements, by what their paths begin with; to be read only."""
        return self._by_prefix.get(prefix, _NOTHING)

    def keep(self, prefix: str, element: _Element, entry: OtherEntry) -> None:
        """Remember an entry, if its path is not too long for that."""
        if len(prefix) > _LONGEST_PATH:
            return
        if self._count >= _MOST_ENTRIES:
            self._by_prefix.clear()
            self._count = 0
        self._by_prefix.setdefault(prefix, {})[element] = entry
        self._count += 1
