"""Decodes text by the Specific Character Set that is in force where it stands.

pydicom's tables and its ISO 2022 reader are the authority (PS3.3 C.12.1.1.2, PS3.5 6.1). Text without
an escape sequence and within ASCII, nearly all of it, is the same in every character set and takes a
short cut.
"""

import warnings
from dataclasses import dataclass
from functools import lru_cache

from pydicom.charset import convert_encodings, decode_bytes
from pydicom.valuerep import TEXT_VR_DELIMS

_ESCAPE = b"\x1b"
# A backslash is one: codecs of Python's own escapes read more into it.
_PLAIN = bytes(range(0x20, 0x7F)) + b"\t\n\f\r" + rb"\n\u0041"
LONGEST_CHARACTER_SET = 1024  # bytes of Specific Character Set that count: all there are take fewer


def is_plain(raw: bytes) -> bool:
    """Whether these bytes are the same text in every character set that DICOM knows."""
    return raw.isascii() and _ESCAPE not in raw


@dataclass(frozen=True, slots=True)
class CharacterSet:
    """A decoded Specific Character Set: Python's names of its encodings, in order."""

    encodings: tuple[str, ...]

    def decode(self, raw: bytes) -> str:
        """The text; what the character set can't decode becomes replacement characters, as in pydicom."""
        if is_plain(raw):
            return raw.decode("ascii")
        if _ESCAPE not in raw:
            try:
                text = raw.decode(self.encodings[0])
                text.encode()  # lone surrogates are no text: they would fail with the whole column
            except (UnicodeError, LookupError, ValueError):
                pass
            else:
                return text
        return self._decode_slowly(raw)

    def _decode_slowly(self, raw: bytes) -> str:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                text = str(decode_bytes(raw, list(self.encodings), TEXT_VR_DELIMS))
            text.encode()
        except (UnicodeError, LookupError, ValueError):
            # A codec that refuses even replacement characters, named by a hostile file.
            return raw.decode("latin-1")
        return text


def _is_ascii_compatible(encoding: str) -> bool:
    try:
        return _PLAIN.decode(encoding) == _PLAIN.decode("ascii")
    except (UnicodeError, LookupError, ValueError):
        return False


def character_set(raw: bytes) -> CharacterSet:
    """What the raw value of Specific Character Set (0008,0005) says; ISO_IR 6 where it says nothing."""
    return _character_set(raw[:LONGEST_CHARACTER_SET])


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
            # pydicom takes any codec that Python knows; DICOM's own all contain ASCII (PS3.3 C.12.1.1.2).
            encodings = ("iso8859",)
    return CharacterSet(encodings)


DEFAULT = character_set(b"")
