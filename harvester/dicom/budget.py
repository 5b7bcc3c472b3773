"""Counts what one header takes in columns, and refuses a header that would take far too much."""

from array import array
from collections.abc import Sequence
from typing import Any, Final

from harvester.dicom.charset import LONGEST_CHARACTER_SET
from harvester.dicom.limits import ColumnLimits
from harvester.dicom.values import LONG_LIST, NUMBER_LETTERS
from harvester.errors import HeaderLimitError

_LIMITS: Final = ColumnLimits()
_NUMBERS: Final = frozenset({"DS", "IS", *NUMBER_LETTERS})
# In microseconds, as measured by `scripts/bench hostile`: what costs far more than its bytes tell.
_ENTRY: Final = 4
_INVALID: Final = 7  # more than an entry
_VALUE: Final = 4
_ESCAPE: Final = 12


class HeaderBudget:
    """What the header at hand has taken so far.

    Attributes:
        path_characters: How long the paths of nested elements are.
        work: What was made one by one, in microseconds that it usually takes.
    """

    __slots__ = ("_character_sets", "_limits", "path_characters", "work")

    def __init__(self, limits: ColumnLimits = _LIMITS) -> None:
        self._limits = limits
        self._character_sets: set[bytes] = set()
        self.path_characters = self.work = 0

    def forget(self) -> None:
        """Begin the next header."""
        self.path_characters = self.work = 0
        if self._character_sets:
            self._character_sets.clear()

    def entry(self) -> None:
        """Count an element that has no column of its own, or that its column cannot take.

        Raises:
            HeaderLimitError: There are too many of them.
        """
        self._spend(_ENTRY)

    def invalid(self) -> None:
        """Count what it takes beyond an entry to find that a value is invalid.

        Raises:
            HeaderLimitError: There are too many of them.
        """
        self._spend(_INVALID)

    def values(self, vr: str, values: Sequence[Any]) -> None:
        """Count a list of values; numbers are cheap.

        Raises:
            HeaderLimitError: There are too many of them.
        """
        if vr in _NUMBERS and (len(values) < LONG_LIST or vr in NUMBER_LETTERS or type(values) is array):
            return
        self._spend(_VALUE * (len(values) - 1))

    def escapes(self, raw: bytes) -> None:
        """Count the escape sequences of a text, before it is decoded (PS3.5 6.1.2.5).

        Raises:
            HeaderLimitError: There are too many of them.
        """
        self._spend(_ESCAPE * raw.count(b"\x1b"))

    def path(self, path: str) -> None:
        """Count the path of a nested element.

        Raises:
            HeaderLimitError: They are too long in all.
        """
        self.path_characters += len(path)
        if self.path_characters > self._limits.path_characters:
            raise HeaderLimitError(
                "the paths of nested private, binary and invalid elements have more than"
                f" {self._limits.path_characters} characters: too many of them are nested too deep"
            )

    def character_set(self, raw: bytes) -> None:
        """Count the Specific Character Sets.

        Raises:
            HeaderLimitError: There are too many of them.
        """
        self._character_sets.add(raw[:LONGEST_CHARACTER_SET])
        most = self._limits.character_sets
        if len(self._character_sets) > most:
            raise HeaderLimitError(f"more than {most} different Specific Character Sets")

    def _spend(self, work: int) -> None:
        self.work += work
        if self.work > self._limits.work:
            raise HeaderLimitError(
                "too many private, unknown, binary or invalid elements, values in lists of texts,"
                " or escape sequences: they would take more time than any header should"
            )
