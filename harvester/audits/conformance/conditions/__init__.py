"""The conditions of Type 1C and 2C attributes and of modules of usage C.

Conditions in regular sentences are in the tables (scripts/standard_conditions.py reads them); others are
written here from PS3.3. A condition without a clause is that of the table of its module. A condition that a
header cannot decide (whether an agent was given, whether a procedure was scheduled) has no entry and is not
checked.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
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
from harvester.audits.conformance.conditions.item_counts import item_counts
from harvester.audits.conformance.conditions.modules import MODULE_CONDITIONS
from harvester.audits.conformance.conditions.radiotherapy import RADIOTHERAPY
from harvester.audits.conformance.conditions.values import listed_values, value_count
from harvester.audits.conformance.standard import Iod, Requirement

# By keyword, or by `where/keyword`: a module, or the sequence that holds the attribute.
_CONDITIONS: Final[Mapping[str, Condition]] = {**GENERAL, **ACQUISITION, **DOCUMENTS, **RADIOTHERAPY}

__all__ = [
    "CONTENT_ITEM",
    "Condition",
    "condition_of",
    "expressions",
    "inclusion",
    "inclusion_of",
    "item_counts",
    "listed_values",
    "value_count",
]


@lru_cache(maxsize=4096)
def condition_of(keyword: str, parent: str, requirement: Requirement) -> Condition | None:
    """The condition of an attribute in a sequence, or at the top level of a module; None: not known.

    A condition that is written here for the place precedes that of the table, and that one for all places.
    """
    written = _CONDITIONS.get(f"{parent or requirement.module}/{keyword}")
    # Macros of content items apply by Value Type (PS3.3 C.17.3.2).
    of_content = _is_content_item(parent, requirement.module) and "ValueType" not in requirement.condition
    if written is None and requirement.condition and not of_content:
        written = Condition(requirement.condition, forbidden=requirement.forbidden)
    written = written or _CONDITIONS.get(keyword)
    if written is None:
        return ORIGINAL_FRAME if parent in ORIGINAL_FRAME_SEQUENCES else None
    return replace(written, otherwise=not requirement.exclusive) if written.otherwise is None else written


def inclusion_of(iod: Iod, name: str) -> Condition | None:
    """The condition of a module of usage C, or of the sequence of a functional group; None: not known."""
    written = MODULE_CONDITIONS.get(f"{iod.name}/{name}") or MODULE_CONDITIONS.get(name)
    if written is None and name in iod.conditions:
        return Condition(iod.conditions[name])
    return written


def inclusion(keyword: str, parent: str, module: str) -> Condition | None:
    """The condition of a macro that the module includes only for some content items."""
    return _CONDITIONS.get(f"{CONTENT_ITEM}/{keyword}") if _is_content_item(parent, module) else None


def _is_content_item(parent: str, module: str) -> bool:
    return parent == CONTENT_ITEM or (not parent and module == "sr-document-content")


def expressions() -> Iterator[tuple[str, Condition]]:
    """All conditions by name, for tests and for the page about them."""
    yield from _CONDITIONS.items()
    yield from MODULE_CONDITIONS.items()
