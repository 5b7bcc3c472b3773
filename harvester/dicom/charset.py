"""Decodes text by Specific Character Set (PS3.3 C.12.1.1.2, PS3.5 6.1), with pydicom's tables.

Nearly all text is ASCII without an escape sequence: it is the same in every character set, and is decoded
without a look at it.
"""

import re
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from pydicom.charset import CODES_TO_ENCODINGS, convert_encodings

# PS3.5 6.1.2.5.3: in all text, in text of several values, in person names.
CONTROL_DELIMITERS: Final = b"\t\n\f\r"
TEXT_DELIMITERS: Final = CONTROL_DELIMITERS + b"\\"
NAME_DELIMITERS: Final = TEXT_DELIMITERS + b"^="
_ESCAPE: Final = b"\x1b"
# PS3.3 C.12.1.1.2 has Latin alphabet No. 9, which pydicom 3.0 does not know.
_LATIN_9: Final = "iso8859_15"
_LATIN_9_TERMS: Final = frozenset({"ISO_IR 203", "ISO 2022 IR 203"})
_ENCODINGS: Final = {**CODES_TO_ENCODINGS, b"\x1b-b": _LATIN_9}  # by escape sequence
# An escape sequence, if any, and what follows it.
_SEGMENT: Final = re.compile(rb"(?s)((?:\x1b(?:\$[()]?[A-D]|[()-][A-Zb])?)?)([^\x1b]*)").finditer
_TO_ASCII: Final = b"\x1b(B"
_TO_ROMAJI: Final = b"\x1b(J"
_TWO_BYTE_LEFT: Final = frozenset({"iso2022_jp", "iso2022_jp_2"})
_PAIRS: Final = re.compile(rb"(?:[\x21-\x7e]{2}|\x20)*").match
_WITHOUT_EXTENSIONS: Final = frozenset({"UTF8", "GB18030", "GBK", "GB2312"})  # PS3.3 C.12.1.1.2
# With a backslash, which Python's own escape codecs interpret.
_PLAIN = bytes(range(0x20, 0x7F)) + b"\t\n\f\r" + rb"\n\u0041"
MAX_CHARACTER_SET_BYTES = 1024  # of the value of Specific Character Set; all defined terms take fewer


def is_plain(raw: bytes) -> bool:
    """Whether these bytes are the same text in every character set of DICOM."""
    return raw.isascii() and _ESCAPE not in raw


@dataclass(frozen=True, slots=True)
class CharacterSet:
    """A Specific Character Set, as Python's names of its encodings in order."""

    encodings: tuple[str, ...]

    def decode(self, raw: bytes, delimiters: bytes = CONTROL_DELIMITERS) -> str:
        """The text; undecodable bytes become replacement characters, as in pydicom.

        Args:
            raw: The encoded text.
            delimiters: The bytes behind which the first encoding is used again (PS3.5 6.1.2.5.3).
        """
        if is_plain(raw):
            return raw.decode("ascii")
        if _ESCAPE in raw and self.encodings[0] not in _WITHOUT_EXTENSIONS:
            return self._decode_extended(raw, delimiters)
        return self._decode(raw, self.encodings[0])

    def _decode_extended(self, raw: bytes, delimiters: bytes) -> str:
        """Text with code extensions (PS3.5 6.1.2.5): an escape sequence of no character set stays."""
        texts = []
        right = self.encodings[0]  # the encoding of bytes from 0x80 on, and of ASCII
        both = ""  # the encoding of all bytes, two a character, with the escape sequence before it
        sequence = b""
        for match in _SEGMENT(raw):
            escape, segment = match.groups()
            encoding = _ENCODINGS.get(escape)
            if encoding is None or not self._declares(escape, encoding):
                both, segment = "", escape + segment
            elif encoding in _TWO_BYTE_LEFT:
                both, sequence = encoding, escape
            elif escape[1:2] == b"(":
                both = ""
            else:
                right = encoding
            if both:
                found = _PAIRS(segment)
                pairs = found.end() if found else 0  # a byte behind them may be a delimiter
                texts.append(self._decode(sequence + segment[:pairs], both))
                segment = segment[pairs:]
            end = next((index for index, byte in enumerate(segment) if byte in delimiters), len(segment))
            texts.append(self._decode(segment[:end], right))
            if end < len(segment):
                right = self.encodings[0]
                texts.append(self._decode(segment[end:], right))
        return "".join(texts)

    def _declares(self, escape: bytes, encoding: str) -> bool:
        if escape == _TO_ROMAJI and not _TWO_BYTE_LEFT.isdisjoint(self.encodings):
            return True  # many Japanese texts return to it from kanji without declaring it
        return escape == _TO_ASCII or encoding in self.encodings

    def _decode(self, raw: bytes, encoding: str) -> str:
        try:
            text = raw.decode(encoding)
            text.encode()  # lone surrogates would fail later, with the whole column
        except (UnicodeError, LookupError, ValueError):
            try:
                text = raw.decode(encoding, "replace")
                text.encode()
            except (UnicodeError, LookupError, ValueError):
                return raw.decode("latin-1")  # the codec cannot make replacement characters
        return text


def _is_ascii_compatible(encoding: str) -> bool:
    try:
        return _PLAIN.decode(encoding) == _PLAIN.decode("ascii")
    except (UnicodeError, LookupError, ValueError):
        return False


def character_set(raw: bytes) -> CharacterSet:
    """The meaning of a raw value of Specific Character Set (0008,0005); ISO_IR 6 if it is empty."""
    return _character_set(raw[:MAX_CHARACTER_SET_BYTES])


@lru_cache(maxsize=256)
def _character_set(raw: bytes) -> CharacterSet:
    values = [value.strip() for value in raw.decode("latin-1").rstrip(" \0").split("\\")]
    values = [_LATIN_9 if value in _LATIN_9_TERMS else value for value in values]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            encodings = tuple(convert_encodings(values if len(values) > 1 else values[0]))
        except (UnicodeError, LookupError, ValueError):
            encodings = ("iso8859",)
        if not _is_ascii_compatible(encodings[0]):
            # pydicom accepts any codec of Python; those of PS3.3 C.12.1.1.2 contain ASCII.
            encodings = ("iso8859",)
    return CharacterSet(encodings)


DEFAULT = character_set(b"")
