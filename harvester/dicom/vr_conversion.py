"""Chooses the decoder for an attribute whose value representation in the file is not the dictionary's.

The value is converted if the column's type can hold it without loss, and refused otherwise.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import Any, Final

from harvester.dicom.charset import DEFAULT, CharacterSet
from harvester.dicom.dictionary import FLOAT_VRS, INTEGER_VRS, LUT_DESCRIPTORS, Attribute
from harvester.dicom.values import DECODERS, Decoder, Values

_INTEGER_COLUMNS: Final = INTEGER_VRS | {"IS", "US or SS", "US or OW", "US or SS or OW"}
_FLOAT_COLUMNS: Final = FLOAT_VRS | {"DS"}
_STRING_COLUMNS: Final = frozenset({"AE", "AS", "CS", "LO", "LT", "SH", "ST", "UC", "UI", "UR", "UT"})
_PARSED_COLUMNS: Final = frozenset({"AT", "DA", "DT", "TM", "PN", "DS", "IS"})
_TEXT_VRS: Final = _STRING_COLUMNS | {"DA", "DS", "DT", "IS", "PN", "TM"}


@cache
def decoder_for(attribute: Attribute, vr: str) -> Decoder:
    """The decoder from raw bytes of `vr` to the values of the attribute's column.

    It raises ValueError for a value that the column cannot hold.
    """
    decoder = _decoder_for(attribute, vr)
    return _with_unsigned_count(decoder) if attribute.tag in LUT_DESCRIPTORS else decoder


def invalid_reason(attribute: Attribute, vr: str, raw: bytes) -> str | None:
    """Why the attribute's column cannot hold an ASCII value of `vr`; None if it can."""
    try:
        values = decoder_for(attribute, vr)(raw, DEFAULT)
    except (ValueError, OverflowError) as error:
        return str(error)
    return too_many(attribute, len(values)) if len(values) > 1 and not attribute.many else None


def too_many(attribute: Attribute, count: int) -> str:
    """The reason why a value that is a list is invalid."""
    return f"{count} values where {attribute.keyword} has one"


def _decoder_for(attribute: Attribute, vr: str) -> Decoder:  # noqa: PLR0911  one case a line
    if vr == attribute.vr or (attribute.vr in _STRING_COLUMNS and vr in _STRING_COLUMNS):
        return DECODERS[vr]
    if attribute.vr in _STRING_COLUMNS:
        return DECODERS["LO"] if vr in _TEXT_VRS else as_texts(vr)
    if attribute.vr in _INTEGER_COLUMNS and vr in INTEGER_VRS | FLOAT_VRS:
        return _as_integers(DECODERS[vr], unsigned=attribute.vr == "UV")
    if attribute.vr in _FLOAT_COLUMNS and vr in INTEGER_VRS | FLOAT_VRS:
        return _as_floats(DECODERS[vr])
    if vr in _TEXT_VRS and attribute.vr in _INTEGER_COLUMNS:
        return _unsigned(DECODERS["IS"]) if attribute.vr == "UV" else DECODERS["IS"]
    if vr in _TEXT_VRS and attribute.vr in _FLOAT_COLUMNS:
        return DECODERS["DS"]
    if vr in _TEXT_VRS and attribute.vr in _PARSED_COLUMNS - {"AT"}:
        return DECODERS[attribute.vr]
    return _refuse(attribute, vr)


def _with_unsigned_count(decode: Decoder) -> Decoder:
    def decode_descriptor(raw: bytes, character_set: CharacterSet) -> Values:
        values = decode(raw, character_set)
        if len(values) > 1 and values[0] is not None and values[0] < 0:
            return [values[0] + (1 << 16), *values[1:]]
        return values

    return decode_descriptor


def as_texts(vr: str) -> Callable[[bytes, CharacterSet], list[str]]:
    """A decoder of `vr` whose values are texts, for `OtherElements`."""
    decode = DECODERS[vr]

    def decode_to_text(raw: bytes, character_set: CharacterSet) -> list[str]:
        return [str(value) for value in decode(raw, character_set)]

    return decode_to_text


def _as_integers(decode: Decoder, *, unsigned: bool) -> Decoder:
    bounds = range(1 << 64) if unsigned else range(-(1 << 63), 1 << 63)

    def exact(value: Any) -> int:
        number = int(value)  # OverflowError and ValueError for infinity and NaN
        if number != value or number not in bounds:
            raise ValueError(f"not an integer that the column can hold: {value}")
        return number

    def decode_integers(raw: bytes, character_set: CharacterSet) -> Values:
        return [exact(value) for value in decode(raw, character_set)]

    return decode_integers


def _unsigned(decode: Decoder) -> Decoder:
    def decode_unsigned(raw: bytes, character_set: CharacterSet) -> Values:
        values = decode(raw, character_set)
        for value in values:
            if value is not None and value < 0:
                raise ValueError(f"not an integer that the column can hold: {value}")
        return values

    return decode_unsigned


def _as_floats(decode: Decoder) -> Decoder:
    def exact(value: Any) -> float:
        number = float(value)
        if number != value and not math.isnan(number):
            raise ValueError(f"not exact as a float: {value}")
        return number

    def decode_floats(raw: bytes, character_set: CharacterSet) -> Values:
        return [exact(value) for value in decode(raw, character_set)]

    return decode_floats


def _refuse(attribute: Attribute, vr: str) -> Decoder:
    def refuse(_raw: bytes, _character_set: CharacterSet) -> Values:
        raise ValueError(f"{vr} where {attribute.keyword} is {attribute.vr}")

    return refuse
