"""The compiled core's functions and structures, as `src/lib.rs` has them, for ctypes."""

import ctypes
import struct
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Final

from pydicom.datadict import DicomDictionary, RepeatersDictionary  # type: ignore[attr-defined]

from harvester.dicom import header_limits
from harvester.dicom.compiled import library
from harvester.dicom.dictionary import attribute, private_vr
from harvester.dicom.vr_conversion import invalid_reason

PLAIN: Final = 0
NEED_MORE: Final = 2

# In the order of `src/vr.rs`.
_VRS: Final = (
    *("AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "LT", "OB", "OD", "OF", "OL", "OV"),
    *("OW", "PN", "SH", "SL", "SQ", "SS", "ST", "SV", "TM", "UC", "UI", "UL", "UN", "UR", "US", "UT", "UV"),
    *("US or SS", "US or OW", "US or SS or OW", "OB or OW"),
)
VR_CODES: Final = {vr: code for code, vr in enumerate(_VRS)}
_EXACT: Final = 0xFFFFFFFF  # the mask of a tag that is no repeating one
_MANY: Final = 1
_PRIVATE_VR: Final = ctypes.PYFUNCTYPE(ctypes.c_uint8, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_size_t)
_INVALID_REASON: Final = ctypes.PYFUNCTYPE(
    ctypes.c_size_t,
    *(ctypes.c_uint32, ctypes.c_uint8, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t),
)


class Limits(ctypes.Structure):
    """Bounds of one header, beyond which the parser in Python decides."""

    _fields_ = [
        (name, ctypes.c_uint64)
        for name in (
            *("max_header_bytes", "max_elements", "max_depth", "max_kept_value", "max_kept_binary"),
            *("max_attributes", "max_cells", "count_cells_after", "max_empty_elements", "max_character_sets"),
            *("max_path_characters", "max_work", "entry_work", "invalid_work", "value_work"),
        )
    ]


class Lookups(ctypes.Structure):
    """Functions that the core calls for what only Python knows; see `Lookups` in `src/vr.rs`."""

    _fields_ = [("private_vr", _PRIVATE_VR), ("invalid_reason", _INVALID_REASON)]


# What a header says besides its elements: `Facts` in `src/walk.rs`.
FACTS: Final = struct.Struct("<QqqI10I5B7x")
# The rows, columns, characters of paths and cells of a table.
SIZE: Final = struct.Struct("<4Q")


def limits(max_header_bytes: int) -> Limits:
    """The bounds as they are now."""
    return Limits(
        max_header_bytes=max_header_bytes,
        max_elements=header_limits.MAX_ELEMENTS,
        max_depth=header_limits.MAX_COLUMN_DEPTH,
        max_kept_value=max(header_limits.MAX_KEPT_VALUE, header_limits.MAX_KEPT_BINARY, 0xFFFF),
        max_kept_binary=header_limits.MAX_KEPT_BINARY,
        max_attributes=header_limits.MAX_ATTRIBUTES,
        max_cells=header_limits.MAX_CELLS,
        count_cells_after=header_limits.COUNT_CELLS_AFTER,
        max_empty_elements=header_limits.MAX_EMPTY_ELEMENTS,
        max_character_sets=header_limits.MAX_CHARACTER_SETS,
        max_path_characters=header_limits.MAX_PATH_CHARACTERS,
        max_work=header_limits.MAX_WORK,
        entry_work=header_limits.ENTRY_WORK,
        invalid_work=header_limits.INVALID_WORK,
        value_work=header_limits.VALUE_WORK,
    )


class Core:
    """The functions of the core, with the data dictionary that it reads headers by."""

    def __init__(self, loaded: ctypes.CDLL) -> None:
        pointer, size, data = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p
        number, status = ctypes.c_uint64, ctypes.c_int
        # A call takes microseconds: to let other threads run meanwhile costs more than it gains.
        library_of_short_calls = ctypes.PyDLL(loaded._name, handle=loaded._handle)  # noqa: SLF001

        def function(name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
            found = getattr(library_of_short_calls, f"harvester_{name}")
            found.restype, found.argtypes = result, arguments
            return found  # type: ignore[no-any-return]

        self.facts = function("facts", status, *(pointer, pointer, data, size, number, pointer))
        self.new_table = function("table_new", pointer, pointer)
        self.free_table = function("table_free", None, pointer)
        self.append = function("table_append", status, *(pointer, pointer, data, size, number, pointer))
        self.finish = function("table_finish", status, pointer, number, pointer, pointer)
        self._lookups = Lookups(_PRIVATE_VR(_private_vr), _INVALID_REASON(_invalid_reason))
        packed = b"".join(_dictionary())
        new_dictionary = function("dictionary_new", pointer, data, size, pointer)
        self.dictionary = new_dictionary(packed, len(packed), ctypes.byref(self._lookups))
        if not self.dictionary:
            raise AssertionError("the compiled core does not know the dictionary's form")


def _private_vr(tag: int, creator: int, length: int) -> int:
    # What raises returns 0.
    return 1 + VR_CODES[private_vr(tag, ctypes.string_at(creator, length).decode("ascii"))]


def _invalid_reason(tag: int, vr: int, raw: int, length: int, reason: int, capacity: int) -> int:
    entry = attribute(tag)
    text = None if entry is None else invalid_reason(entry, _VRS[vr], ctypes.string_at(raw, length))
    encoded = (text or "").encode()
    if len(encoded) > capacity:
        return 0
    ctypes.memmove(reason, encoded, len(encoded))
    return len(encoded)


@cache
def core() -> Core | None:
    """The core of this process; None if it is not there."""
    loaded = library()
    return None if loaded is None else Core(loaded)


def _dictionary() -> Iterator[bytes]:
    """The data dictionary, an entry at a time, as `Dictionary::read` takes it."""
    for tag, (vr, vm, _name, _retired, keyword) in DicomDictionary.items():
        if vr != "NONE":
            yield _entry(tag, _EXACT, vr, vm, keyword)
    for text, (vr, vm, _name, _retired, keyword) in RepeatersDictionary.items():
        mask = int("".join("0" if digit == "x" else "F" for digit in text), 16)
        yield _entry(int(text.replace("x", "0"), 16), mask, vr, vm, keyword)


def _entry(tag: int, mask: int, vr: str, vm: str, keyword: str) -> bytes:
    name = keyword.encode()
    return struct.pack("<IIBBB", tag, mask, VR_CODES[vr], _MANY * (vm != "1"), len(name)) + name
