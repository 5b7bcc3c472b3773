"""Decodes text by Specific Character Set (PS3.3 C.12.1.1.2, PS3.5 6.1), with pydicom's tables.

Nearly all text is ASCII without an escape sequence: it is the same in every character set, and is decoded
without a look at it.
"""

import warnings
from dataclasses import dataclass
from functools import lru_cache

from pydicom.charset import convert_encodings, decode_bytes
from pydicom.valuerep import TEXT_VR_DELIMS

_ESCAPE = b"\x1b"
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

    def decode(self, raw: bytes) -> str:
        """The text; undecodable bytes become replacement characters, as in pydicom."""
        if is_plain(raw):
            return raw.decode("ascii")
        if _ESCAPE not in raw:
            try:
                text = raw.decode(self.encodings[0])
                text.encode()  # lone surrogates would fail later, with the whole column
            except (UnicodeError, LookupError, ValueError):
                pass
            else:
                return text
        return self.decode_iso_2022(raw)

    def decode_iso_2022(self, raw: bytes) -> str:
        """The text by pydicom's reader, which knows escape sequences."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                text = str(decode_bytes(raw, list(self.encodings), TEXT_VR_DELIMS))
            text.encode()
        except (UnicodeError, LookupError, ValueError):
            # The codec cannot make replacement characters.
            return raw.decode("latin-1")
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
