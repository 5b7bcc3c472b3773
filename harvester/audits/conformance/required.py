"""Checks of presence: missing, empty and unexpected attributes and functional groups."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from harvester.audits.conformance.checks import Case, Check, CheckList
from harvester.audits.conformance.conditions import Condition, condition_of, inclusion, inclusion_of
from harvester.audits.conformance.expressions import all_of
from harvester.audits.conformance.levels import PIXEL_DATA, DataSetLevel, is_binary, item_fields
from harvester.audits.conformance.standard import (
    GROUP_SEQUENCES,
    Attribute,
    Iod,
    Requirement,
    strongest,
    weakest,
)
from harvester.catalog.database import identifier, literal
from harvester.dicom.dictionary import attributes_by_keyword

NOT_LISTED: Final = "*"
"""Among the paths of invalid elements: `empty_elements` does not list all elements without a value."""

# Beyond the header, where the harvest stops reading.
_AFTER_PIXEL_DATA: Final = frozenset({"DataSetTrailingPadding", "DigitalSignaturesSequence"})


class RequiredAttributes:
    """The checks of presence of an IOD.

    Args:
        iod: The IOD.
        root: The top level.
        checks: Where they are added.
    """

    def __init__(self, iod: Iod, root: DataSetLevel, checks: CheckList) -> None:
        self._iod = iod
        self._root = root
        self._checks = checks
        self._guards: dict[str, str] = {}
        self._knows_empty = "empty_elements" in root.columns

    def cases(self, level: DataSetLevel) -> Iterator[Case]:
        """Missing, empty and unexpected attributes of a level."""
        for attribute in level.level.values():
            if attribute.keyword in _AFTER_PIXEL_DATA or level.parent in GROUP_SEQUENCES:
                continue
            for requirement, guard in self._demands(level, attribute):
                if requirement.type != "3":
                    yield from self._demand(level, attribute.keyword, requirement, guard)

    def _demands(self, level: DataSetLevel, attribute: Attribute) -> list[tuple[Requirement, str]]:
        """The requirements that count, each with the SQL condition that its module applies."""
        if level.path:
            return [(weakest(attribute), "true")]
        always = [one for one in attribute.requirements if one.usage == "M"]
        demands = [(strongest(always), "true")] if always else []
        if demands and demands[0][0].type in ("1", "2"):
            return demands
        for requirement in attribute.requirements:
            if requirement.usage == "M" or requirement.type == "3":
                continue
            guard = self._guards.get(requirement.module)
            if guard is None:
                guard = self._guards[requirement.module] = self._applies(requirement)
            if guard != "false":
                demands.append((requirement, guard))
        return demands

    def _applies(self, requirement: Requirement) -> str:
        """The SQL condition that a module of usage C or U applies: required, or in use."""
        required = inclusion_of(self._iod, requirement.module)
        if requirement.usage == "C" and required is None:
            self._checks.unchecked[f"module {requirement.module}"] = "condition"
        if requirement.usage == "C" and required is not None:
            return self._root.translator.sql(required.expression)
        own = [
            attribute
            for attribute in self._iod.attributes.values()
            if all(one.module == requirement.module for one in attribute.requirements)
        ]
        # An attribute of Type 3 alone may be an addition; some modules have no others.
        optional = not any(attribute.requirements[0].type in ("1", "2") for attribute in own)
        markers = [
            self._root.has_value(attribute.keyword)
            for attribute in own
            if attribute.keyword in self._root.fields and (optional or attribute.requirements[0].type != "3")
        ]
        return f"({' OR '.join(markers)})" if markers else "false"

    def _demand(
        self, level: DataSetLevel, keyword: str, requirement: Requirement, guard: str
    ) -> Iterator[Case]:
        kind, module = requirement.type, requirement.module
        name = f"{level.name(keyword)} (Type {kind})"
        presence = self._presence(level, keyword)
        if presence is None or (kind in ("2", "2C") and not self._knows_empty):
            self._checks.unchecked[name] = "presence"
            return
        absent, there = presence
        check = Check("missing", "error", level.name(keyword), keyword, kind, module, requirement.clause)
        if kind in ("1", "1C") and self._knows_empty:  # PS3.5 7.4.1: present with a value, if present
            empty = self._is_empty(level, keyword)
            yield from self._checks.case(replace(check, kind="empty"), absent, empty)
        condition = inclusion(keyword, level.parent, module)
        if kind.endswith("C") and condition is None:
            condition = condition_of(keyword, level.parent, requirement)
            if condition is not None:
                clause = replace(check, clause=condition.clause or requirement.clause)
                yield from self._unexpected(level, clause, condition, guard)
            if condition is None or not condition.expression:
                self._checks.unchecked[name] = "condition"
                return
        required = guard
        if condition is not None:
            check = replace(check, clause=condition.clause or requirement.clause)
            translated = level.translator.sql(condition.expression)
            required = all_of(guard, translated)
        flag = all_of(required, absent)
        confirm = [] if there == "false" else [f"NOT {there}"]
        if kind in ("2", "2C"):
            confirm.append(f"NOT list_contains(invalid_paths, '{NOT_LISTED}')")
        if (decided := level.decided(condition.expression if condition else "")) != "true":
            confirm.append(decided)
        yield from self._checks.case(check, flag, " AND ".join(confirm) or "true")

    def _unexpected(
        self, level: DataSetLevel, check: Check, condition: Condition, guard: str
    ) -> Iterator[Case]:
        """The attribute is there although its condition does not hold and forbids it then."""
        others = level.level[check.keyword].requirements
        for one in () if level.path else others:
            if one.usage == "M" or one.module == check.module:
                continue
            module = inclusion_of(self._iod, one.module)
            if one.usage == "U" or module is None:
                return  # a module that may apply has it, too
            guard = all_of(guard, f"NOT {self._root.translator.sql(module.expression)}")
        forbidden = condition.forbidden
        implied = condition.expression and not condition.otherwise and all("C" in one.type for one in others)
        if not forbidden and implied:
            forbidden = f"not ({condition.expression})"
        if not forbidden:
            return
        check = replace(check, kind="unexpected", severity="warning")
        applies, confirm = level.translator.sql(forbidden), level.decided(forbidden)
        if level.column(check.keyword) is not None:
            flag = all_of(guard, applies, level.has_value(check.keyword))
            yield from self._checks.case(check, flag, confirm)
        elif not level.path and check.keyword in PIXEL_DATA:
            flag = all_of(guard, applies, level.present(check.keyword))
            yield from self._checks.case(check, flag, confirm)
        elif is_binary(check.keyword):
            there = f"COALESCE(list_contains(bulk_paths, {level.sql_name(check.keyword)}), false)"
            yield from self._checks.case(check, all_of(guard, applies), all_of(there, confirm))

    def _presence(self, level: DataSetLevel, keyword: str) -> tuple[str, str] | None:
        """The SQL conditions that a column has no value, and that the attribute is there all the same."""
        name = level.sql_name(keyword)
        if keyword in PIXEL_DATA and not level.path:
            return f"pixel_data_keyword IS DISTINCT FROM {literal(keyword)}", "false"
        known = attributes_by_keyword().get(keyword.lower())
        if known is None or known.repeating:
            return None
        there = [f"list_contains({one}, {name})" for one in ("bulk_paths", "invalid_paths")]
        if self._knows_empty:
            there.append(self._is_empty(level, keyword))
        joined = " OR ".join(f"COALESCE({one}, false)" for one in there)
        return level.has_none(keyword), f"({joined})"

    def _is_empty(self, level: DataSetLevel, keyword: str) -> str:
        return f"COALESCE(list_contains(empty_elements, {level.sql_name(keyword)}), false)"

    def groups(self) -> Iterator[Case]:
        """Functional groups that the IOD demands, neither shared nor in all frames (PS3.3 C.7.6.16.1)."""
        shared, frames = GROUP_SEQUENCES
        there = [one for one in GROUP_SEQUENCES if one in self._root.fields]
        if not there:
            return
        in_use = " OR ".join(f"COALESCE(len({identifier(one)}) > 0, false)" for one in there)
        for keyword, usage in self._iod.groups.items():
            condition = inclusion_of(self._iod, keyword)
            if usage == "C" and condition is None:
                self._checks.unchecked[f"functional group {keyword}"] = "condition"
            if usage == "U" or (usage == "C" and condition is None):
                continue
            in_shared = self._in_group(shared, keyword, "len(list_filter({0}, x -> len(x.{1}) > 0)) > 0")
            in_frames = self._in_group(
                frames, keyword, "len({0}) > 0 AND len(list_filter({0}, x -> len(x.{1}) > 0)) = len({0})"
            )
            required = "true" if condition is None else self._root.translator.sql(condition.expression)
            required = all_of(f"({in_use})", required)
            check = Check(
                "missing",
                "error",
                f"{shared}[0].{keyword}",
                keyword,
                "1" if usage == "M" else "1C",
                "multi-frame-functional-groups",
                "PS3.3 C.7.6.16",
            )
            found = f"COALESCE({in_shared}, false) OR COALESCE({in_frames}, false)"
            elsewhere = f"[p FOR p IN list_concat(bulk_paths, invalid_paths) IF ends_with(p, '.{keyword}')]"
            confirm = (
                f"len({elsewhere}) = 0 AND {self._root.decided(condition.expression if condition else '')}"
            )
            flag = f"CASE WHEN {required} THEN NOT ({found}) ELSE false END"
            yield from self._checks.case(check, flag, confirm)

    def _in_group(self, sequence: str, keyword: str, template: str) -> str:
        kind = self._root.fields.get(sequence)
        if kind is None or keyword not in item_fields(kind):
            return "false"
        return template.format(identifier(sequence), identifier(keyword))
