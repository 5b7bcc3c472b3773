"""Decodes the long lists of number strings of one header together by Arrow's parser, which is exact."""

import math
from array import array
from typing import Any, Final

import pyarrow as pa

from harvester.dicom.column_tree import Column
from harvester.dicom.values import Decoder, decode_decimal_string, decode_integer_string

MIN_BYTES: Final = 512  # of a long list; a shorter one is decoded at once
_LETTERS: Final[dict[Decoder, str]] = {decode_decimal_string: "d", decode_integer_string: "q"}
_ARROW_TYPES: Final = {"d": pa.float64(), "q": pa.int64()}
_PLAIN: Final = b"0123456789+-.eE \\"  # Arrow also reads nan, and 0x1F as an integer


class LongLists:
    """The long lists of the current header: each has its array at once, the numbers follow with `decode`.

    Attributes:
        enabled: Whether lists are taken at all.
    """

    __slots__ = ("_taken", "enabled")

    def __init__(self) -> None:
        self._taken: dict[str, list[tuple[bytes, array[Any]]]] = {}
        self.enabled = True

    def clear(self) -> None:
        """Begin the next header."""
        self._taken.clear()

    def take(self, column: Column, raw: bytes) -> "array[Any] | None":
        """The array that the numbers of a DS or an IS will be in; None if it has to be decoded at once."""
        letter = _LETTERS.get(column.decode)
        if letter is None or not column.attribute.many or not self.enabled:
            return None
        numbers = array(letter)
        self._taken.setdefault(letter, []).append((raw, numbers))
        return numbers

    def decode(self) -> bool:
        """Decode what was taken; False if a number is missing, odd or infinite: the arrays are of no use."""
        return all(_decode(letter, taken) for letter, taken in self._taken.items())


def _decode(letter: str, taken: "list[tuple[bytes, array[Any]]]") -> bool:
    from pyarrow import compute  # noqa: PLC0415  a tenth of a command's start, which most headers do not need

    joined = b"\\".join([raw.rstrip(b" ") for raw, _ in taken])
    if joined.translate(None, _PLAIN):
        return False
    text = pa.array([joined.decode("latin-1")])
    try:
        split = compute.call_function("split_pattern", [text], compute.SplitPatternOptions("\\"))
        numbers = split.values.cast(_ARROW_TYPES[letter])
    except pa.ArrowInvalid:
        return False
    # The sum of numbers of which one is infinite is infinite or NaN.
    if letter == "d" and not math.isfinite(compute.call_function("sum", [numbers]).as_py()):
        return False
    content, start = memoryview(numbers.buffers()[1]), 0
    for raw, values in taken:
        stop = start + (raw.count(b"\\") + 1) * values.itemsize
        values.frombytes(content[start:stop])
        start = stop
    return True
