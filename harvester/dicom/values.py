"""Decodes raw values, one decoder for each value representation (PS3.5 6.2).

A decoder takes raw bytes (numbers in little endian) and returns a list of values, None for an empty one. It
raises ValueError for bytes that the value representation does not allow. The rules are pydicom's; its own
classes decode what is not in the usual form.
"""

import datetime as dt
import re
import struct
import sys
import warnings
from array import array
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from pydicom.valuerep import DA, DT, TM

from harvester.dicom.budget import LONG_LIST
from harvester.dicom.charset import CharacterSet
from harvester.dicom.context import HeaderContext
from harvester.dicom.dictionary import NUMBER_VRS

Values: TypeAlias = "list[Any] | array[Any]"  # an array for many numbers
Decoder = Callable[[bytes, CharacterSet], Values]

_PADDING: Final = " \0"
_DATE: Final = re.compile(rb"\d{8}").fullmatch
_TIME: Final = re.compile(
    r"([01][0-9]|2[0-3])(?:([0-5][0-9])(?:([0-5][0-9]|60)(?:\.([0-9]{1,6}))?)?)? *"
).fullmatch
_DATETIME: Final = re.compile(
    r"([0-9]{4})(?:([0-9]{2})(?:([0-9]{2})(?:([0-9]{2})(?:([0-9]{2})(?:([0-9]{2})(?:\.([0-9]{1,6}))?)?)?)?)?)?"
    r"(?:([+-])([0-9]{2})([0-9]{2}))? *"
).fullmatch
_INTEGER: Final = re.compile(r"\s*[+-]?[0-9]+\s*").fullmatch
_DECIMAL: Final = re.compile(r"\s*[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\s*").fullmatch
_DAY: Final = dt.timedelta(days=1)
_INT64: Final = range(-(2**63), 2**63)


def decode_counted(decode: Decoder, vr: str, raw: bytes, context: HeaderContext) -> Values:
    """Decode a raw value, counted if it takes far more time than its length suggests.

    Raises:
        ValueError: The value is not valid.
        HeaderLimitError: The header has too many such values.
    """
    if b"\x1b" in raw and vr not in NUMBER_VRS:
        context.budget.escapes(raw)
    values = decode(raw, context.character_set)
    if len(values) > 1:
        context.budget.values(vr, values)
    return values


def _texts(text: str) -> Values:
    """The values of a text, separated by backslashes (PS3.5 6.4), without trailing padding."""
    if "\\" not in text:
        text = text.rstrip(_PADDING)
        return [text] if text else []
    parts = text.rstrip(_PADDING).split("\\")
    return [part.rstrip(_PADDING) or None for part in parts] if parts != [""] else []


def decode_string(raw: bytes, _: CharacterSet) -> Values:
    """AS, CS: text in the default repertoire, several values."""
    return _texts(raw.decode("latin-1"))


def decode_stripped_string(raw: bytes, _: CharacterSet) -> Values:
    """AE, UI: the same, without leading spaces."""
    text = raw.decode("latin-1").strip(_PADDING)
    if "\\" not in text:
        return [text] if text else []
    return [part.strip(_PADDING) or None for part in text.split("\\")]


def decode_text(raw: bytes, character_set: CharacterSet) -> Values:
    """LO, SH, UC: text in the Specific Character Set, several values."""
    return _texts(character_set.decode(raw))


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
    text = character_set.decode(raw.rstrip(b"\0 "))
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
    if len(values) >= LONG_LIST and "_" not in text:
        try:
            return array("d", map(float, values))
        except ValueError:
            pass  # perhaps one is empty
    return [_decimal(value) for value in values]


def _decimal(text: str) -> float | None:
    if not text.strip(_PADDING):
        return None
    if "_" in text and _DECIMAL(text) is None:  # float() accepts 1_000, DS does not
        raise ValueError(f"not a decimal string: {text!r}")
    return float(text.rstrip(_PADDING))


def decode_integer_string(raw: bytes, _: CharacterSet) -> Values:
    """IS: integers; `1.0` is one, as in pydicom.

    Raises:
        ValueError: A value is not an integer, or exceeds 64 bits.
    """
    text = raw.decode("latin-1").rstrip(_PADDING)
    if not text:
        return []
    values = text.split("\\")
    if len(values) >= LONG_LIST and "_" not in text:
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
        number = int(exact)
        if number != exact:
            raise ValueError(f"not an integer: {text!r}")
    else:
        raise ValueError(f"not an integer string: {text!r}")
    if number not in _INT64:
        raise ValueError(f"exceeds 64 bits: {text!r}")
    return number


def decode_date(raw: bytes, _: CharacterSet) -> Values:
    """DA: dates, also in ACR-NEMA's form `YYYY.MM.DD`, as in pydicom.

    Raises:
        ValueError: A value is not a date.
    """
    if _DATE(raw):
        return [dt.date(int(raw[:4]), int(raw[4:6]), int(raw[6:]))]
    return [_date(value) for value in _texts(raw.decode("latin-1"))]


def _date(text: str | None) -> dt.date | None:
    date = DA(text.rstrip()) if text else None
    return dt.date(date.year, date.month, date.day) if date else None


def decode_time(raw: bytes, _: CharacterSet) -> Values:
    """TM: times of day.

    Raises:
        ValueError: A value is not a time.
    """
    text = raw.decode("latin-1")
    match = _TIME(text)
    if match:
        return [_time_of(match)]
    return [_time(value) for value in _texts(text)]


def _time(text: str | None) -> dt.time | None:
    if not text:
        return None
    match = _TIME(text)
    return _time_of(match) if match else _unusual_time(text)


def _time_of(match: re.Match[str]) -> dt.time:
    hour, minute, second, fraction = match.groups()
    return dt.time(int(hour), int(minute or 0), _second(second), _microsecond(fraction))


def _second(text: str | None) -> int:
    second = int(text) if text else 0
    return 59 if second == 60 else second  # PS3.5 6.2: a leap second, as in pydicom


def _microsecond(fraction: str | None) -> int:
    return int(fraction.ljust(6, "0")) if fraction else 0


def _unusual_time(text: str) -> dt.time | None:
    if text.isspace():
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        time = TM(text.rstrip())
    return dt.time(time.hour, time.minute, time.second, time.microsecond)


def decode_datetime(raw: bytes, _: CharacterSet) -> Values:
    """DT: timestamps without a zone, converted to UTC if the value has an offset.

    Raises:
        ValueError: A value is not a timestamp.
    """
    return [_datetime(value) for value in _texts(raw.decode("latin-1"))]


def _datetime(text: str | None) -> dt.datetime | None:
    if not text or text.isspace():
        return None
    match = _DATETIME(text)
    if match is None:
        naive, offset = _unusual_datetime(text)
    else:
        year, month, day, hour, minute, second, fraction, sign, hours, minutes = match.groups()
        naive = dt.datetime(  # noqa: DTZ001  the contract's column has no zone
            int(year),
            int(month or 1),
            int(day or 1),
            int(hour or 0),
            int(minute or 0),
            _second(second),
            _microsecond(fraction),
        )
        if sign is None:
            return naive
        offset = dt.timedelta(hours=int(hours), minutes=int(minutes))
        if offset >= _DAY:
            raise ValueError(f"an offset of a day or more: {text!r}")
        offset = -offset if sign == "-" else offset
    try:
        return naive - offset
    except OverflowError:
        raise ValueError(f"outside the calendar in UTC: {text!r}") from None


def _unusual_datetime(text: str) -> tuple[dt.datetime, dt.timedelta]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = DT(text.rstrip())
    naive = dt.datetime(  # noqa: DTZ001  the contract's column has no zone
        value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond
    )
    return naive, value.utcoffset() or dt.timedelta()


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
    "CS": decode_string,
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
    "UC": decode_text,
    "UI": decode_stripped_string,
    "UR": decode_uri,
    "UT": decode_long_text,
    **{vr: _numbers(letter) for vr, letter in NUMBER_FORMATS.items()},
}
