"""A condition of PS3.3: when an attribute or a module is required."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Condition:
    """When an attribute or a module is required.

    Attributes:
        expression: As in `expressions`; empty: a header cannot decide it.
        otherwise: Whether the attribute may be present if the condition is false; None: the table has it.
        clause: Where the standard says so; empty: the table of the module.
        forbidden: When the attribute shall be absent; empty: as `otherwise` says.
    """

    expression: str
    otherwise: bool | None = None
    clause: str = ""
    forbidden: str = ""


CONTENT_ITEM: Final = "ContentSequence"
"""Stands for the items of a content tree, and for its root."""
