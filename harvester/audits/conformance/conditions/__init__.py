"""The conditions of Type 1C and 2C attributes and of modules of usage C, written from PS3.3.

A condition without a clause is that of the table of its module. A condition that a header cannot decide
(whether an agent was given, whether a procedure was scheduled) has no entry and is not checked.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final

from harvester.audits.conformance.conditions.acquisition import (
    ACQUISITION,
    ORIGINAL_FRAME,
    ORIGINAL_FRAME_SEQUENCES,
)
from harvester.audits.conformance.conditions.condition import CONTENT_ITEM, Condition
from harvester.audits.conformance.conditions.documents import DOCUMENTS
from harvester.audits.conformance.conditions.general import GENERAL
from harvester.audits.conformance.conditions.modules import MODULE_CONDITIONS
from harvester.audits.conformance.conditions.radiotherapy import RADIOTHERAPY
from harvester.audits.conformance.conditions.values import listed_values

# By keyword, or by `where/keyword`: a module, or the sequence that holds the attribute.
_CONDITIONS: Final[Mapping[str, Condition]] = {**GENERAL, **ACQUISITION, **DOCUMENTS, **RADIOTHERAPY}

__all__ = [
    "CONTENT_ITEM",
    "MODULE_CONDITIONS",
    "Condition",
    "condition_of",
    "expressions",
    "inclusion",
    "listed_values",
]


@lru_cache(maxsize=4096)
def condition_of(keyword: str, parent: str, module: str) -> Condition | None:
    """The condition of an attribute in a sequence, or at the top level of a module; None: not written."""
    for name in (f"{parent or module}/{keyword}", keyword):
        if name in _CONDITIONS:
            return _CONDITIONS[name]
    return ORIGINAL_FRAME if parent in ORIGINAL_FRAME_SEQUENCES else None


def inclusion(keyword: str, parent: str, module: str) -> Condition | None:
    """The condition of a macro that the module includes only for some content items."""
    return _CONDITIONS.get(f"{CONTENT_ITEM}/{keyword}") if _is_content_item(parent, module) else None


def _is_content_item(parent: str, module: str) -> bool:
    return parent == CONTENT_ITEM or (not parent and module == "sr-document-content")


def expressions() -> Iterator[tuple[str, Condition]]:
    """All conditions by name, for tests and for the page about them."""
    yield from _CONDITIONS.items()
    yield from MODULE_CONDITIONS.items()
