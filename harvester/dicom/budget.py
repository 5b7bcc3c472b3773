"""Counts what one header takes in columns, and refuses a header that takes too much."""

from array import array
from collections.abc import Sequence
from typing import Any, Final

from harvester.dicom import header_limits
from harvester.dicom.dictionary import FLOAT_VRS, INTEGER_VRS
from harvester.errors import HeaderLimitError

_NUMBERS: Final = INTEGER_VRS | FLOAT_VRS | {"DS", "IS"}
LONG_LIST: Final = 16  # numbers; longer lists are kept as C arrays, a fourth of the memory


class HeaderBudget:
    """What the current header has taken so far; each method raises HeaderLimitError beyond its bound.

    Attributes:
        path_characters: The length of all nested paths.
        work: The estimated time of what is made one by one, in microseconds.
    """

    __slots__ = ("_character_sets", "path_characters", "work")

    def __init__(self) -> None:
        self._character_sets: set[bytes] = set()
        self.path_characters = self.work = 0

    def reset(self) -> None:
        """Begin the next header."""
        self.path_characters = self.work = 0
        if self._character_sets:
            self._character_sets.clear()

    def entry(self) -> None:
        """Count an entry of `OtherElements`, `bulk_data` or `invalid_elements`."""
        self._spend(header_limits.ENTRY_WORK)

    def invalid(self) -> None:
        """Count an invalid value, besides its entry."""
        self._spend(header_limits.INVALID_WORK)

    def values(self, vr: str, values: Sequence[Any]) -> None:
        """Count a list of values; numbers are cheap."""
        if vr in _NUMBERS and (len(values) < LONG_LIST or type(values) is array or vr not in ("DS", "IS")):
            return
        self._spend(header_limits.VALUE_WORK * (len(values) - 1))

    def escapes(self, raw: bytes) -> None:
        """Count the escape sequences of a text that is to be decoded (PS3.5 6.1.2.5)."""
        self._spend(header_limits.ESCAPE_WORK * raw.count(b"\x1b"))

    def path(self, path: str) -> None:
        """Count the path of a nested element."""
        self.paths(len(path))

    def paths(self, characters: int) -> None:
        """Count the paths of nested elements."""
        self.path_characters += characters
        if self.path_characters > header_limits.MAX_PATH_CHARACTERS:
            raise HeaderLimitError(
                "the paths of nested private, binary and invalid elements have more than"
                f" {header_limits.MAX_PATH_CHARACTERS} characters: too many of them are nested too deep"
            )

    def character_set(self, raw: bytes) -> None:
        """Count a Specific Character Set."""
        self._character_sets.add(raw)
        if len(self._character_sets) > header_limits.MAX_CHARACTER_SETS:
            raise HeaderLimitError(
                f"more than {header_limits.MAX_CHARACTER_SETS} different Specific Character Sets"
            )

    def _spend(self, work: int) -> None:
        self.work += work
        if self.work > header_limits.MAX_WORK:
            raise HeaderLimitError(
                "too many private, unknown, binary or invalid elements, values in lists of texts,"
                " or escape sequences: they would take more time than any header should"
            )
