"""The checks of PS3.3: what each is about, and which of them are made."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from harvester.dicom.dictionary import attributes_by_keyword

KINDS: Final = (
    *("missing", "empty", "not_allowed", "not_defined", "multiplicity", "representation", "unexpected"),
    "unknown_class",
)


@dataclass(frozen=True, slots=True)
class Check:
    """One check; its number stands for it in the results of a query.

    Attributes:
        kind: One of `KINDS`.
        severity: `info`, `warning` or `error`.
        path: Keywords joined by dots, without the numbers of items.
        keyword: The attribute; empty if the path of a finding has it.
        type: `1`, `1C`, `2`, `2C` or `3`; None where no module of the IOD has the attribute.
        module: The module that demands it.
        clause: Where PS3.3, or the cited part, says so.
    """

    kind: str
    severity: str
    path: str = ""
    keyword: str = ""
    type: str | None = None
    module: str | None = None
    clause: str | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """Which checks are made.

    Attributes:
        iods: Names of IODs such as `ct-image`; empty: all.
        types: Types of attributes; empty: all.
        modules: Modules; empty: all.
        severities: Severities of findings.
        ignore: Attributes that are left out: a keyword or a tag `(gggg,eeee)`, optionally `@MODULE`.
        extended: Whether attributes of no module of the IOD are reported (Standard Extended SOP Classes).
    """

    iods: frozenset[str] = frozenset()
    types: frozenset[str] = frozenset()
    modules: frozenset[str] = frozenset()
    severities: frozenset[str] = frozenset({"info", "warning", "error"})
    ignore: frozenset[str] = frozenset()
    extended: bool = True

    def has(self, check: Check) -> bool:
        """Whether a check is made."""
        known = attributes_by_keyword().get(check.keyword.lower())
        tag = "" if known is None else f"({known.tag >> 16:04X},{known.tag & 0xFFFF:04X})"
        names = {check.keyword, tag, f"{check.keyword}@{check.module}", f"{tag}@{check.module}"}
        return (
            check.severity in self.severities
            and (not self.types or check.type in self.types)
            and (not self.modules or check.module in self.modules)
            and not names & self.ignore
        )


@dataclass(frozen=True, slots=True)
class Case:
    """A check in SQL.

    Attributes:
        number: Of the check.
        flag: A cheap condition without the path of the item; most instances end here.
        confirm: A condition on `empty_elements`, `bulk_paths` and `invalid_paths`, evaluated only where the
            flag holds.
        of_empty: Whether only instances with empty elements may have a finding.
    """

    number: int
    flag: str
    confirm: str = "true"
    of_empty: bool = False

    def then(self, result: str) -> str:
        """The SQL expression that is `result` if there is a finding, else NULL."""
        inner = result if self.confirm == "true" else f"CASE WHEN {self.confirm} THEN {result} END"
        return f"CASE WHEN {self.flag} THEN {inner} END"


class CheckList:
    """The checks of a SOP class that are made, by their number, and those that are not.

    Args:
        selection: Which checks are made.

    Attributes:
        checks: All checks, by their number.
        unchecked: Conditions and attributes that are not checked, each with the reason.
    """

    def __init__(self, selection: Selection) -> None:
        self.checks: list[Check] = []
        self.unchecked: dict[str, str] = {}
        self.selection = selection

    def add(self, check: Check) -> int | None:
        """The number of a new check; None if it is not selected."""
        if not self.selection.has(check):
            return None
        self.checks.append(check)
        return len(self.checks) - 1

    def case(self, check: Check, flag: str, confirm: str = "true", *, of_empty: bool = False) -> list[Case]:
        """The case of a new check; empty if it is not selected, or cannot have a finding."""
        if flag == "false":
            return []
        number = self.add(check)
        return [] if number is None else [Case(number, flag, confirm, of_empty or check.kind == "empty")]


def numbers(cases: Sequence[Case]) -> str:
    """The SQL list of the numbers of the findings."""
    if not cases:
        return "CAST([] AS INTEGER[])"
    return f"list_filter([{', '.join(case.then(str(case.number)) for case in cases)}], n -> n IS NOT NULL)"
