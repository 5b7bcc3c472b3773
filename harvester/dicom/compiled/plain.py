"""Plain headers, which the compiled core reads as a whole; an odd one is left to the parser in Python."""

import ctypes
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, overload

import pyarrow as pa

from harvester.dicom import header_limits
from harvester.dicom.compiled.interface import (
    FACTS,
    NEED_MORE,
    PLAIN,
    SIZE,
    Core,
    core,
    limits,
)
from harvester.dicom.dictionary import (
    MODALITY,
    NUMBER_OF_FRAMES,
    SERIES_INSTANCE_UID,
    SOP_INSTANCE_UID,
    TRANSFER_SYNTAX_UID,
)
from harvester.dicom.element import RawElement
from harvester.dicom.element_cache import ElementCache
from harvester.dicom.header import Header, NeedMore
from harvester.dicom.part10 import PIXEL_DATA_KEYWORDS, HeaderParser

_ARROW_BYTES: Final = 128  # for a structure of Arrow's C data interface, which has at most 80
# The elements whose values the core tells, and their places in the facts' spans.
_KNOWN: Final = (TRANSFER_SYNTAX_UID, SOP_INSTANCE_UID, MODALITY, SERIES_INSTANCE_UID, NUMBER_OF_FRAMES)
_PLACES: Final = {tag: 2 * number for number, tag in enumerate(_KNOWN)}
_MAX_WALKED_AGAIN: Final = 4 << 20  # bytes
_PREAMBLES: Final = ("zero", "tiff", "other")


class PlainElements(Sequence[RawElement]):
    """The elements of a plain header, which are read when somebody asks for one.

    Attributes:
        data: The object's first bytes, with the whole header.
        size: The object's size.
    """

    __slots__ = ("_cache", "_header", "data", "size")

    def __init__(self, data: bytes, size: int, cache: ElementCache | None) -> None:
        self.data = data
        self.size = size
        self._cache = cache
        self._header: Header | None = None

    @property
    def header(self) -> Header:
        """The same header, read by the parser in Python."""
        if self._header is None:
            step = HeaderParser(self.size, cache=self._cache).feed(self.data)
            if isinstance(step, NeedMore):
                raise AssertionError("the compiled core took an incomplete header for a whole one")
            self._header = step
        return self._header

    def __len__(self) -> int:
        return len(self.header.elements)

    def __iter__(self) -> Iterator[RawElement]:
        return iter(self.header.elements)

    @overload
    def __getitem__(self, index: int) -> RawElement: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[RawElement]: ...
    def __getitem__(self, index: int | slice) -> RawElement | Sequence[RawElement]:
        return self.header.elements[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and [*self] == [*other]

    __hash__ = None  # type: ignore[assignment]  # as of a list


class PlainHeaders:
    """Reads plain headers.

    Args:
        max_header_bytes: How many bytes of a header are read at most.
    """

    __slots__ = ("_core", "_facts", "_limits", "max_header_bytes")

    def __init__(self, max_header_bytes: int) -> None:
        self.max_header_bytes = max_header_bytes
        self._core = core()
        self._limits = limits(max_header_bytes)
        self._facts = ctypes.create_string_buffer(FACTS.size)

    def read(self, data: bytes, size: int, cache: ElementCache | None = None) -> Header | NeedMore | None:
        """The header of an object of `size` bytes that begins with `data`, or which bytes are missing.

        None if there is no compiled core, or the header is not plain as far as it is there.
        """
        if self._core is None:
            return None
        limits, facts = ctypes.byref(self._limits), self._facts
        status = self._core.facts(self._core.dictionary, limits, data, len(data), size, facts)
        if status == PLAIN:
            return _header(FACTS.unpack(facts), PlainElements(data, size, cache))
        # A long header is not walked again and again from its start.
        if status == NEED_MORE and len(data) <= _MAX_WALKED_AGAIN:
            return NeedMore(len(data), FACTS.unpack(facts)[0])
        return None


class PlainFirstParser:
    """Parses one object's header as `HeaderParser` does, by the compiled core as long as it is plain.

    Args:
        headers: Reads plain headers.
        size: The object's size in bytes.
        cache: The elements of earlier headers of the series.
    """

    __slots__ = ("_cache", "_data", "_headers", "_parser", "_size")

    def __init__(self, headers: PlainHeaders, size: int, cache: ElementCache | None = None) -> None:
        self._headers = headers
        self._size = size
        self._cache = cache
        self._data = b""
        self._parser: HeaderParser | None = None

    @property
    def skipped(self) -> tuple[tuple[int, int], ...]:
        """The ranges of bytes that were not requested, because a long value lies there."""
        return () if self._parser is None else self._parser.skipped

    def feed(self, data: bytes) -> NeedMore | Header:
        """Take the object's next bytes; see `HeaderParser.feed`."""
        if self._parser is not None:
            return self._parser.feed(data)
        self._data += data
        step = self._headers.read(self._data, self._size, self._cache)
        if step is None:
            limit = self._headers.max_header_bytes
            self._parser = HeaderParser(self._size, max_header_bytes=limit, cache=self._cache)
            step = self._parser.feed(self._data)
        return step


class _KnownValues(Mapping[int, bytes | None]):
    """Values whose places the core tells."""

    __slots__ = ("_data", "_spans")

    def __init__(self, data: bytes, spans: Sequence[int]) -> None:
        self._data = data
        self._spans = spans

    def __getitem__(self, tag: int) -> bytes | None:
        place = _PLACES[tag]
        start, length = self._spans[place : place + 2]
        return self._data[start : start + length] if start else None

    def __iter__(self) -> Iterator[int]:
        return iter(_PLACES)

    def __len__(self) -> int:
        return len(_PLACES)


def _header(facts: tuple[int, ...], elements: PlainElements) -> Header:
    header_bytes, pixel_data_offset, pixel_data_length, pixel_data_tag = facts[:4]
    preamble, implicit, encapsulated, basic_offset_table, extended_offset_table = facts[14:]
    known = _KnownValues(elements.data, facts[4:14])
    header = Header(
        elements,
        _PREAMBLES[preamble],
        (known[TRANSFER_SYNTAX_UID] or b"").decode("latin-1").rstrip(" \0"),
        bool(implicit),
        False,
        False,
        header_bytes,
        known_values=known,
    )
    if pixel_data_tag:
        header.pixel_data_keyword = PIXEL_DATA_KEYWORDS[pixel_data_tag]
        header.pixel_data_offset = pixel_data_offset
        header.encapsulated = bool(encapsulated)
        if encapsulated:
            header.basic_offset_table = bool(basic_offset_table)
            header.extended_offset_table = bool(extended_offset_table)
        else:
            header.pixel_data_length = pixel_data_length
    return header


class PlainRows:
    """The `instances` columns that follow from plain headers: `append` each, then `finish`.

    Attributes:
        rows: The number of rows since the last `finish`.
        width: The number of columns at all levels.
        path_characters: The length of all nested paths since the last `finish`.
        cells: The number of cells when they were last counted.
    """

    __slots__ = ("_core", "_size", "_table", "cells", "path_characters", "rows", "width")

    def __init__(self, loaded: Core) -> None:
        self._core = loaded
        self._table = loaded.new_table(ctypes.byref(limits(header_limits.MAX_HEADER_BYTES)))
        self._size = ctypes.create_string_buffer(SIZE.size)
        self.rows = self.width = self.path_characters = self.cells = 0

    def __del__(self) -> None:
        self._core.free_table(self._table)

    def append(self, elements: PlainElements) -> bool:
        """Add one header's row; false, and nothing is added, if its values are odd."""
        loaded, size, data = self._core, self._size, elements.data
        status = loaded.append(self._table, loaded.dictionary, data, len(data), elements.size, size)
        self.rows, self.width, self.path_characters, self.cells = SIZE.unpack(size)
        return bool(status == PLAIN)

    def finish(self) -> dict[str, pa.Array]:
        """All columns by name; the next header begins new ones.

        Raises:
            AssertionError: A bug in the core; the rows are lost.
        """
        array, schema = ctypes.create_string_buffer(_ARROW_BYTES), ctypes.create_string_buffer(_ARROW_BYTES)
        if self._core.finish(self._table, header_limits.MAX_COLUMNS, array, schema) != PLAIN:
            raise AssertionError("the compiled core cannot hand over its columns")
        # What Arrow's documentation has for libraries with a C interface.
        batch = pa.RecordBatch._import_from_c(ctypes.addressof(array), ctypes.addressof(schema))  # noqa: SLF001
        self.rows = self.path_characters = self.cells = 0
        return dict(zip(batch.schema.names, batch.columns, strict=True))
