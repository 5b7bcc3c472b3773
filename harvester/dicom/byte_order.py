"""Turns the numbers of big endian data sets around, so that nobody above the walker needs to know."""

from array import array
from typing import Final

_WIDTHS: Final = {
    **dict.fromkeys(("US", "SS", "US or SS", "US or SS or OW", "US or OW", "AT"), "H"),
    **dict.fromkeys(("UL", "SL", "FL"), "I"),
    **dict.fromkeys(("UV", "SV", "FD"), "Q"),
}


def little_endian(raw: bytes, vr: str) -> bytes:
    """The raw numbers of a big endian element in little endian; what is no number stays as it is.

    Args:
        raw: The value.
        vr: Its value representation, which says how wide a number is.
    """
    width = _WIDTHS.get(vr)
    if width is None or len(raw) % array(width).itemsize:
        return raw
    numbers = array(width, raw)
    numbers.byteswap()
    return numbers.tobytes()
