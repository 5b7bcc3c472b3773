"""A number of violations, given as a count or as a share of what was checked."""

import re
from dataclasses import dataclass
from typing import Any, Final

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

_SHARE: Final = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*%\s*")


@dataclass(frozen=True, slots=True)
class Threshold:
    """A count (`number`) of violations, or a share of what was checked (`percent`).

    Attributes:
        number: The count, or the percentage.
        percent: Whether it is a percentage.
    """

    number: float
    percent: bool

    @classmethod
    def parse(cls, value: object) -> "Threshold":
        """Read `5` or `"1%"`.

        Raises:
            ValueError: It is neither.
        """
        if isinstance(value, cls):
            return value
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return cls(value, percent=False)
        found = _SHARE.fullmatch(value) if isinstance(value, str) else None
        if found is None or float(found[1]) > 100:
            raise ValueError(f'expected a count such as 5 or a share such as "1%", not {value!r:.40}')
        return cls(float(found[1]), percent=True)

    def of(self, checked: int | None) -> float:
        """The count that this is, of a number that were checked."""
        return (checked or 0) * self.number / 100 if self.percent else self.number

    def __str__(self) -> str:
        return f"{self.number:g}%" if self.percent else f"{self.number:,.0f}"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Validate with `parse`."""
        del source, handler
        return core_schema.no_info_plain_validator_function(cls.parse)
