"""Decodes raw values, one decoder for each value representation (PS3.5 6.2).

A decoder takes raw bytes (numbers in little endian) and returns a list of values, None for an empty one. It
raises ValueError for bytes that the value representation does not allow. The whole value has to match the
standard's form, or one of ACR-NEMA's that cannot be mistaken for another; nothing is guessed.
"""

import datetime as dt
import math
import re
import struct
import sys
from array import array
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from harvester.dicom.budget import LONG_LIST
from harvester.dicom.charset import NAME_DELIMITERS, TEXT_DELIMITERS, CharacterSet
from harvester.dicom.context import HeaderContext
from harvester.dicom.dictionary import NUMBER_VRS

Values: TypeAlias = "list[Any] | array[Any]"  # an array for many numbers
Decoder = Callable[[bytes, CharacterSet], Values]

_PADDING: Final = " \0"
_ESCAPE: Final = "\x1b"
# ACR-NEMA wrote YYYY.MM.DD and HH:MM:SS.
_DATE: Final = re.compile(r"([0-9]{4})(\.?)([0-9]{2})\2([0-9]{2})").fullmatch
_TIME: Final = re.compile(
    r"([01][0-9]|2[0-3])(?:([0-5][0-9])(?:([0-5][0-9]|60)(?:\.([0-9]{1,6}))?)?)?"
).fullmatch
_COLON_TIME: Final = re.compile(
    r"([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9]|60)(?:\.([0-9]{1,6}))?"
).fullmatch
_DATETIME: Final = re.compile(
    r"([0-9]{4})(?:([0-9]{2})(?:([0-9]{2})(?:([0-9]{2})(?:([0-9]{2})(?:([0-9]{2})(?:\.([0-9]{1,6}))?)?)?)?)?)?"
    r"(?:([+-])([0-9]{2})([0-5][0-9]))?"
).fullmatch
_OFFSETS: Final = range(-12 * 60, 14 * 60 + 1)  # minutes, PS3.5 6.2
_INTEGER: Final = re.compile(r"\s*[+-]?[0-9]+\s*").fullmatch
_DECIMAL: Final = re.compile(r"\s*[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\s*").fullmatch
_NOT_DECIMAL: Final = re.compile(r"[^0-9.eE+\- \\]").search  # float() and int() accept 1_000 and nan
_INT64: Final = range(-(2**63), 2**63)
_INT64_DIGITS: Final = 19  # a number with fewer is in that range


def decode_counted(decode: Decoder, vr: str, raw: bytes, context: HeaderContext) -> Values:
    """Decode a raw value, counted if it takes far more time than its length suggests.

    Raises:
        ValueError: The value is not valid.
        HeaderLimitError: The header has too many such values.
    """
    if b"\x1b" in raw and vr not in NUMBER_VRS:
        context.budget.escapes(raw)
        values = decode(raw, context.character_set)
        if any(_has_escape(value) for value in values):
            raise ValueError("an escape sequence of no character set")
    else:
        values = decode(raw, context.character_set)
    if len(values) > 1:
        context.budget.values(vr, values)
    return values


def _has_escape(value: object) -> bool:
    texts = value.values() if isinstance(value, dict) else (value,)
    return any(isinstance(text, str) and _ESCAPE in text for text in texts)


def _texts(text: str) -> Values:
    """The values of a text, separated by backslashes (PS3.5 6.4), without trailing padding."""
    if "\\" not in text:
        text = text.rstrip(_PADDING)
        return [text] if text else []
    parts = text.rstrip(_PADDING).split("\\")
    return [part.rstrip(_PADDING) or None for part in parts] if parts != [""] else []


def decode_string(raw: bytes, _: CharacterSet) -> Values:
    """AS: text in the default repertoire, several values."""
    return _texts(raw.decode("latin-1"))


def decode_stripped_string(raw: bytes, _: CharacterSet) -> Values:
    """AE, CS, UI: the same, without leading spaces (PS3.5 6.2)."""
    return _stripped_texts(raw.decode("latin-1"))


def _stripped_texts(text: str) -> Values:
    text = text.strip(_PADDING)
    if "\\" not in text:
        return [text] if text else []
    return [part.strip(_PADDING) or None for part in text.split("\\")]


def decode_text(raw: bytes, character_set: CharacterSet) -> Values:
    """LO, SH: text in the Specific Character Set, several values, without leading spaces."""
    return _stripped_texts(character_set.decode(raw, TEXT_DELIMITERS))


def decode_unlimited_text(raw: bytes, character_set: CharacterSet) -> Values:
    """UC: text in the Specific Character Set, several values."""
    return _texts(character_set.decode(raw, TEXT_DELIMITERS))


def decode_long_text(raw: bytes, character_set: CharacterSet) -> Values:
    """LT, ST, UT: one value, in which a backslash separates nothing."""
    text = character_set.decode(raw).rstrip(_PADDING)
    return [text] if text else []


def decode_uri(raw: bytes, _: CharacterSet) -> Values:
    """UR: one value in the default repertoire."""
    text = raw.decode("latin-1").rstrip().rstrip(_PADDING)
    return [text] if text else []


def decode_person_name(raw: bytes, character_set: CharacterSet) -> Values:
    """PN: a dict of the alphabetic, ideographic and phonetic groups (PS3.5 6.2.1.1).

    Raises:
        ValueError: There are more than three groups.
    """
    text = character_set.decode(raw.rstrip(b"\0 "), NAME_DELIMITERS)
    names = [_person_name(value) for value in text.split("\\")]
    return names if names != [None] else []


def _person_name(text: str) -> dict[str, str | None] | None:
    if "=" not in text:
        return {"Alphabetic": text, "Ideographic": None, "Phonetic": None} if text else None
    groups = [group or None for group in text.rstrip("=").split("=")]
    if len(groups) > 3:
        raise ValueError("more than three groups in a person name")
    if groups == [None]:
        return None
    groups += [None] * (3 - len(groups))
    return {"Alphabetic": groups[0], "Ideographic": groups[1], "Phonetic": groups[2]}


def decode_decimal_string(raw: bytes, _: CharacterSet) -> Values:
    """DS: floats.

    Raises:
        ValueError: A value is not a number.
    """
    text = raw.decode("latin-1").strip().rstrip(_PADDING)
    if not text:
        return []
    values = text.split("\\")
    if _NOT_DECIMAL(text) is None:
        try:
            numbers: Values = (
                array("d", map(float, values)) if len(values) >= LONG_LIST else [float(one) for one in values]
            )
        except ValueError:
            pass  # perhaps one is empty
        else:
            if math.inf not in numbers and -math.inf not in numbers:
                return numbers
    return [_decimal(value) for value in values]


def _decimal(text: str) -> float | None:
    text = text.rstrip(_PADDING)
    if not text.strip():
        return None
    number = float(text) if _DECIMAL(text) else math.nan
    if not math.isfinite(number):
        raise ValueError(f"not a decimal string: {text!r}")
    return number


def decode_integer_string(raw: bytes, _: CharacterSet) -> Values:
    """IS: integers; `1.0` is one, as in pydicom.

    Raises:
        ValueError: A value is not an integer, or exceeds 64 bits.
    """
    if (digits := raw.strip()).isdigit() and len(digits) < _INT64_DIGITS:  # nearly always
        return [int(digits)]
    text = raw.decode("latin-1").rstrip(_PADDING)
    if not text:
        return []
    values = text.split("\\")
    if len(values) >= LONG_LIST and _NOT_DECIMAL(text) is None:
        try:
            return array("q", map(int, values))
        except (ValueError, OverflowError):
            pass  # perhaps one is empty, or has a decimal point
    return [_integer(value) for value in values]


def _integer(text: str) -> int | None:
    text = text.rstrip(_PADDING)
    if not text.strip():
        return None
    if _INTEGER(text):
        number = int(text)
    elif _DECIMAL(text):
        exact = float(text)
        number = int(exact) if math.isfinite(exact) else 0
        if number != exact:
            raise ValueError(f"not an integer: {text!r}")
    else:
        raise ValueError(f"not an integer string: {text!r}")
    if number not in _INT64:
        raise ValueError(f"exceeds 64 bits: {text!r}")
    return number


def _dates(raw: bytes) -> list[str]:
    text = raw.decode("latin-1").rstrip(_PADDING)
    return [part.rstrip(_PADDING).rstrip() for part in text.split("\\")] if text.strip() else []


def decode_date(raw: bytes, _: CharacterSet) -> Values:
    """DA: dates, also in ACR-NEMA's form `YYYY.MM.DD`.

    Raises:
        ValueError: A value is not a date.
    """
    return [_date(value) if value else None for value in _dates(raw)]


def _date(text: str) -> dt.date:
    match = _DATE(text)
    if match is None:
        raise ValueError(f"not a date: {text!r}")
    year, _, month, day = match.groups()
    return dt.date(int(year), int(month), int(day))


def decode_time(raw: bytes, _: CharacterSet) -> Values:
    """TM: times of day, also in ACR-NEMA's form `HH:MM:SS`.

    Raises:
        ValueError: A value is not a time.
    """
    return [_time(value) if value else None for value in _dates(raw)]


def _time(text: str) -> dt.time:
    match = _TIME(text) or _COLON_TIME(text)
    if match is None:
        raise ValueError(f"not a time: {text!r}")
    hour, minute, second, fraction = match.groups()
    return dt.time(int(hour), int(minute or 0), _second(second), _microsecond(fraction))


def _second(text: str | None) -> int:
    second = int(text) if text else 0
    return 59 if second == 60 else second  # PS3.5 6.2: a leap second, as in pydicom


def _microsecond(fraction: str | None) -> int:
    return int(fraction.ljust(6, "0")) if fraction else 0


def decode_datetime(raw: bytes, _: CharacterSet) -> Values:
    """DT: timestamps without a zone, converted to UTC if the value has an offset.

    Raises:
        ValueError: A value is not a timestamp.
    """
    return [_datetime(value) if value else None for value in _dates(raw)]


def _datetime(text: str) -> dt.datetime:
    match = _DATETIME(text)
    if match is None:
        raise ValueError(f"not a timestamp: {text!r}")
    year, month, day, hour, minute, second, fraction, sign, hours, minutes = match.groups()
    local = dt.datetime(  # noqa: DTZ001  the column has no zone
        int(year),
        int(month or 1),
        int(day or 1),
        int(hour or 0),
        int(minute or 0),
        _second(second),
        _microsecond(fraction),
    )
    if sign is None:
        return local
    offset = int(f"{sign}1") * (int(hours) * 60 + int(minutes))
    if offset not in _OFFSETS or (sign == "-" and not offset):
        raise ValueError(f"no offset from UTC that exists: {text!r}")
    try:
        return local - dt.timedelta(minutes=offset)
    except OverflowError:
        raise ValueError(f"outside the calendar in UTC: {text!r}") from None


def decode_attribute_tag(raw: bytes, _: CharacterSet) -> Values:
    """AT: tags as `GGGGEEEE`.

    Raises:
        ValueError: The length is not a multiple of four.
    """
    numbers = _unpack(raw, "H", 4)
    return [f"{group:04X}{element:04X}" for group, element in zip(numbers[::2], numbers[1::2], strict=True)]


def _unpack(raw: bytes, letter: str, width: int) -> tuple[Any, ...]:
    if len(raw) % width:
        raise ValueError(f"{len(raw)} bytes are not a multiple of {width}")
    return struct.unpack(f"<{len(raw) // struct.calcsize('<' + letter)}{letter}", raw)


def _numbers(letter: str) -> Decoder:
    one = struct.Struct("<" + letter)
    width, unpack_one = one.size, one.unpack

    def decode(raw: bytes, _: CharacterSet) -> Values:
        if len(raw) == width:
            return [*unpack_one(raw)]
        if len(raw) >= LONG_LIST * width and not len(raw) % width:
            values = array(letter, raw)
            if sys.byteorder == "big":
                values.byteswap()
            return values
        return [*_unpack(raw, letter, width)]

    return decode


# The format characters of `struct`.
NUMBER_FORMATS: Final = {
    "FD": "d",
    "FL": "f",
    "SL": "i",
    "SS": "h",
    "SV": "q",
    "UL": "I",
    "US": "H",
    "UV": "Q",
}
DECODERS: Final[dict[str, Decoder]] = {
    "AE": decode_stripped_string,
    "AS": decode_string,
    "AT": decode_attribute_tag,
    "CS": decode_stripped_string,
    "DA": decode_date,
    "DS": decode_decimal_string,
    "DT": decode_datetime,
    "IS": decode_integer_string,
    "LO": decode_text,
    "LT": decode_long_text,
    "PN": decode_person_name,
    "SH": decode_text,
    "ST": decode_long_text,
    "TM": decode_time,
    "UC": decode_unlimited_text,
    "UI": decode_stripped_string,
    "UR": decode_uri,
    "UT": decode_long_text,
    **{vr: _numbers(letter) for vr, letter in NUMBER_FORMATS.items()},
}
