"""The checks of one SOP class as SQL over the columns that the dataset has."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from duckdb.sqltypes import DuckDBPyType
from pydicom.datadict import dictionary_VM

from harvester.audits.conformance.conditions import (
    CONTENT_ITEM,
    MODULE_CONDITIONS,
    condition_of,
    inclusion,
    listed_values,
)
from harvester.audits.conformance.expressions import Translator
from harvester.audits.conformance.standard import (
    GROUP_SEQUENCES,
    Attribute,
    Iod,
    Level,
    Requirement,
    strongest,
    weakest,
)
from harvester.catalog.database import identifier, literal
from harvester.dicom.dictionary import BINARY_VRS, attributes_by_keyword

Fields = Mapping[str, DuckDBPyType]
"""Types of columns, or of the fields of an item, by keyword."""

# Beyond the header, where the harvest stops reading.
_AFTER_PIXEL_DATA: Final = frozenset({"DataSetTrailingPadding", "DigitalSignaturesSequence"})
_PIXEL_DATA: Final = frozenset({"PixelData", "FloatPixelData", "DoubleFloatPixelData"})
_MAX_DEPTH: Final = 12

# The SQL condition that a value is not one of its VR (PS3.5 table 6.2-1).
_INVALID_TEXT: Final = {
    "AS": r"NOT regexp_full_match({}, '[0-9]{{3}}[DWMY]')",
    "CS": r"NOT regexp_full_match({}, '[A-Z0-9 _]{{0,16}}')",
    "LO": "length({}) > 64",
    "SH": "length({}) > 16",
    "UI": r"NOT regexp_full_match({}, '(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))*') OR length({0}) > 64".replace(
        "{}", "{0}"
    ),
}


@dataclass(frozen=True, slots=True)
class Check:
    """One check; its number stands for it in the results of a query.

    Attributes:
        kind: `missing`, `empty`, `not_allowed`, `not_defined`, `multiplicity`, `representation`, `unexpected`
            or `unknown_class`.
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
        types: Types of attributes; empty: all.
        modules: Modules; empty: all.
        severities: Severities of findings.
        ignore: Attributes that are left out: a keyword or a tag `(gggg,eeee)`, optionally `@MODULE`.
        extended: Whether attributes of no module of the IOD are reported (Standard Extended SOP Classes).
    """

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
class _Case:
    """A check in SQL.

    Attributes:
        number: Of the check.
        flag: A cheap condition without the path of the item; most instances end here.
        confirm: A condition that is evaluated only where the flag holds.
    """

    number: int
    flag: str
    confirm: str = "true"

    def then(self, result: str) -> str:
        inner = result if self.confirm == "true" else f"CASE WHEN {self.confirm} THEN {result} END"
        return f"CASE WHEN {self.flag} THEN {inner} END"


@dataclass(frozen=True, slots=True)
class ItemChecks:
    """The checks of the items of one sequence.

    Attributes:
        sequences: Keywords from the top of the data set down to the sequence.
        flag: The SQL condition that an item of an instance may have a finding, without paths.
        found: The SQL list of the numbers of the findings of one item, in `unnested`.
    """

    sequences: tuple[str, ...]
    flag: str
    found: str

    def unnested(self, source: str, columns: str) -> str:
        """The query of the items, with the `path` of each.

        Args:
            source: `FROM ... WHERE ...` of the instances.
            columns: Columns that are kept.
        """
        first, *rest = map(identifier, self.sequences)
        sql = f"SELECT *, unnest({first}) AS x, generate_subscripts({first}, 1) AS i {source} AND {self.flag}"
        sql = (
            f"SELECT * EXCLUDE (i), {literal(self.sequences[0] + '[')} || (i - 1) || ']' AS path FROM ({sql})"
        )
        for keyword, column in zip(self.sequences[1:], rest, strict=True):
            items = f"unnest(x.{column}) AS x, generate_subscripts(x.{column}, 1) AS i"
            sql = f"SELECT * EXCLUDE (x), {items} FROM ({sql})"
            path = f"path || {literal(f'.{keyword}[')} || (i - 1) || ']'"
            sql = f"SELECT * EXCLUDE (i, path), {path} AS path FROM ({sql})"
        return f"SELECT {columns}, path, {self.found} AS found FROM ({sql})"


@dataclass(slots=True)
class _Item:
    """One level of a data set in SQL.

    Attributes:
        level: Its attributes in the IOD.
        fields: The columns or fields that the dataset has.
        prefix: The SQL before a field's name: empty, or `x1.`.
        path: Keywords of the sequences above, joined by dots.
        sql_path: The SQL of the path of an item; empty at the top.
        scopes: Translators of the enclosing levels.
    """

    level: Level
    fields: Fields
    prefix: str = ""
    path: str = ""
    sql_path: str = ""
    scopes: dict[str, Translator] = field(default_factory=dict)

    @property
    def depth(self) -> int:
        return self.path.count(".") + 1 if self.path else 0

    @property
    def parent(self) -> str:
        return self.path.rpartition(".")[2]

    def column(self, keyword: str) -> str | None:
        return f"{self.prefix}{identifier(keyword)}" if keyword in self.fields else None

    def has_value(self, keyword: str) -> str:
        column = self.column(keyword)
        if column is None:
            return "false"
        return f"len({column}) > 0" if self.fields[keyword].id == "list" else f"{column} IS NOT NULL"

    def name(self, keyword: str) -> str:
        return f"{self.path}.{keyword}" if self.path else keyword

    def sql_name(self, keyword: str) -> str:
        return f"{self.sql_path} || {literal('.' + keyword)}" if self.sql_path else literal(keyword)


class ClassChecks:
    """The checks of an IOD on a dataset.

    Args:
        iod: The IOD.
        fields: The columns of `instances`.
        selection: Which checks are made.

    Attributes:
        checks: All checks, by their number.
        unchecked: Conditions and attributes that are not checked, each with the reason.
    """

    def __init__(self, iod: Iod, fields: Fields, selection: Selection) -> None:
        self.checks: list[Check] = []
        self.unchecked: dict[str, str] = {}
        self._iod = iod
        self._guards: dict[str, str] = {}
        self._fields = fields
        self._selection = selection
        self._knows_empty = "empty_elements" in fields
        root = _Item(iod.attributes, fields)
        self._root = Translator(root.column, self._present(root))
        root.scopes = {"root": self._root}
        self._root_item = root

    def extended(self) -> dict[str, str]:
        """The attributes that no module of the IOD has, each with the SQL condition that it has a value."""
        if not self._selection.extended:
            return {}
        return {
            keyword: self._root_item.has_value(keyword)
            for keyword in self._fields
            if keyword not in self._iod.attributes
            and (known := attributes_by_keyword().get(keyword.lower())) is not None
            and known.keyword == keyword
            and known.tag >> 16 != 2
            and not known.repeating
        }

    def top(self, extended: Iterable[str] = ()) -> str:
        """The SQL list of the numbers of the findings of an instance at the top level.

        Args:
            extended: Those attributes of `extended` that any instance has.
        """
        cases = [*self._level(self._root_item), *self._groups()]
        for keyword in extended:
            check = Check("unexpected", "info", keyword, keyword, None, None, "PS3.4 3.11.3.2")
            cases += self._case(check, self._root_item.has_value(keyword))
        return _numbers(cases)

    def items(self) -> list[ItemChecks]:
        """The checks of the items of all sequences."""
        return list(self._nested(self._root_item))

    def _add(self, check: Check) -> int | None:
        if not self._selection.has(check):
            return None
        self.checks.append(check)
        return len(self.checks) - 1

    def _case(self, check: Check, flag: str, confirm: str = "true") -> list[_Case]:
        number = self._add(check)
        return [] if number is None else [_Case(number, flag, confirm)]

    def _present(self, item: _Item) -> "_Presence":
        return _Presence(item, self._fields)

    def _level(self, item: _Item) -> list[_Case]:
        return [
            *self._required(item),
            *self._listed(item),
            *self._multiplicities(item),
            *self._representations(item),
        ]

    # Required attributes

    def _required(self, item: _Item) -> Iterator[_Case]:
        """Missing, empty and unexpected attributes of a level, each as a condition and a check."""
        for attribute in item.level.values():
            if attribute.keyword in _AFTER_PIXEL_DATA or item.parent in GROUP_SEQUENCES:
                continue
            for requirement, guard in self._demands(item, attribute):
                yield from self._demand(item, attribute, requirement, guard)

    def _demands(self, item: _Item, attribute: Attribute) -> list[tuple[Requirement, str]]:
        """The requirements that count, each with the SQL condition that its module applies."""
        if item.path:
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
        required = MODULE_CONDITIONS.get(f"{self._iod.name}/{requirement.module}") or MODULE_CONDITIONS.get(
            requirement.module
        )
        if requirement.usage == "C" and required is None:
            self.unchecked[f"module {requirement.module}"] = "condition"
        if requirement.usage == "C" and required is not None:
            return self._root.sql(required.expression)
        markers = [
            self._root_item.has_value(attribute.keyword)
            for attribute in self._iod.attributes.values()
            if attribute.keyword in self._fields
            and all(one.module == requirement.module for one in attribute.requirements)
            and attribute.requirements[0].type != "3"
        ]
        cases = [f"COALESCE({marker}, false)" for marker in markers]
        return f"({' OR '.join(cases)})" if cases else "false"

    def _demand(
        self, item: _Item, attribute: Attribute, requirement: Requirement, guard: str
    ) -> Iterator[_Case]:
        keyword, kind, module = attribute.keyword, requirement.type, requirement.module
        if kind == "3":
            return
        name = f"{item.name(keyword)} (Type {kind})"
        presence = self._presence(item, keyword)
        if presence is None or (kind in ("2", "2C") and not self._knows_empty):
            self.unchecked[name] = "presence"
            return
        absent, there = presence
        check = Check("missing", "error", item.name(keyword), keyword, kind, module, requirement.clause)
        if kind in ("1", "1C") and self._knows_empty:  # PS3.5 7.4.1: present with a value, if present
            yield from self._case(replace(check, kind="empty"), absent, self._is_empty(item, keyword))
        condition = inclusion(keyword, item.parent, module)
        if kind.endswith("C") and condition is None:
            condition = condition_of(keyword, item.parent, module)
            if condition is None:
                self.unchecked[name] = "condition"
                return
        required = guard
        if condition is not None:
            check = replace(check, clause=condition.clause or requirement.clause)
            translated = self._translator(item).sql(condition.expression)
            required = translated if guard == "true" else f"({guard} AND {translated})"
            if not condition.otherwise and item.column(keyword) is not None:
                flag = f"{guard} AND NOT {translated} AND {item.has_value(keyword)}"
                yield from self._case(replace(check, kind="unexpected", severity="warning"), flag)
        flag = absent if required == "true" else f"({required} AND {absent})"
        yield from self._case(check, flag, "true" if there == "false" else f"NOT {there}")

    def _presence(self, item: _Item, keyword: str) -> tuple[str, str] | None:
        """The SQL conditions that a column has no value, and that the attribute is there all the same."""
        name = item.sql_name(keyword)
        if keyword in _PIXEL_DATA:
            return f"pixel_data_keyword IS DISTINCT FROM {literal(keyword)}", "false"
        known = attributes_by_keyword().get(keyword.lower())
        if known is None or known.repeating:
            return None
        column = item.column(keyword)
        if known.vr in BINARY_VRS or (column is None and "OW" in known.vr):
            if item.path:
                return None
            places = ["bulk_paths"]
            absent = "true"
        else:
            places = []
            absent = "true" if column is None else f"NOT COALESCE({item.has_value(keyword)}, false)"
        places.append("invalid_paths")
        there = [f"list_contains({one}, {name})" for one in places]
        if self._knows_empty:
            there.append(self._is_empty(item, keyword))
        joined = " OR ".join(f"COALESCE({one}, false)" for one in there)
        return absent, f"({joined})" if joined else "false"

    def _is_empty(self, item: _Item, keyword: str) -> str:
        return f"COALESCE(list_contains(empty_elements, {item.sql_name(keyword)}), false)"

    def _translator(self, item: _Item) -> Translator:
        return Translator(item.column, self._present(item), item.scopes)

    # Values

    def _listed(self, item: _Item) -> Iterator[_Case]:
        """Values outside of Enumerated Values or Defined Terms."""
        for attribute in item.level.values():
            column = item.column(attribute.keyword)
            if column is None:
                continue
            lists = listed_values(attribute, self._iod, item.parent)
            if any(values.enumerated for values, _ in lists):
                lists = [one for one in lists if one[0].enumerated]
            elif lists:  # Defined Terms of all modules together
                lists = [
                    (
                        type(lists[0][0])(False, tuple(t for values, _ in lists for t in values.texts)),
                        lists[0][1],
                    )
                ]
            many = item.fields[attribute.keyword].id == "list"
            numeric = str(item.fields[attribute.keyword]).rstrip("[]") != "VARCHAR"
            for values, requirement in lists:
                if numeric and not all(re.fullmatch(r"-?\d+", text) for text in values.texts):
                    continue
                texts = ", ".join(text if numeric else literal(text) for text in values.texts)
                condition = f"NOT list_has_all([{texts}], {column})" if many else f"{column} NOT IN ({texts})"
                check = Check(
                    "not_allowed" if values.enumerated else "not_defined",
                    "error" if values.enumerated else "info",
                    item.name(attribute.keyword),
                    attribute.keyword,
                    requirement.type,
                    requirement.module,
                    requirement.clause,
                )
                yield from self._case(check, condition)

    def _multiplicities(self, item: _Item) -> Iterator[_Case]:
        """Numbers of values that the VM of PS3.6 does not allow."""
        for attribute in item.level.values():
            keyword = attribute.keyword
            known = attributes_by_keyword().get(keyword.lower())
            column = item.column(keyword)
            if known is None or column is None or known.vr == "SQ" or not known.many:
                continue
            condition = _wrong_count(f"len({column})", dictionary_VM(known.tag))
            if condition is not None:
                one = weakest(attribute)
                name = item.name(keyword)
                check = Check("multiplicity", "error", name, keyword, one.type, one.module, "PS3.6 6")
                yield from self._case(check, f"(len({column}) > 0 AND {condition})")

    def _representations(self, item: _Item) -> Iterator[_Case]:
        """Values with characters or of a length that their VR does not allow (PS3.5 6.2)."""
        for attribute in item.level.values():
            keyword = attribute.keyword
            known = attributes_by_keyword().get(keyword.lower())
            column = item.column(keyword)
            test = None if known is None or column is None else _INVALID_TEXT.get(known.vr)
            if test is None or column is None:
                continue
            many = item.fields[keyword].id == "list"
            wrong = (
                f"len(list_filter({column}, v -> {test.format('v')})) > 0" if many else test.format(column)
            )
            one = weakest(attribute)
            name = item.name(keyword)
            check = Check("representation", "error", name, keyword, one.type, one.module, "PS3.5 6.2")
            yield from self._case(check, f"({wrong})")

    def invalid(self) -> dict[str, int]:
        """Checks of values that did not fit their column, by an SQL condition on the entry `e`."""
        if "invalid_elements" not in self._fields:
            return {}
        conditions = {
            "e.reason LIKE '% values where %'": Check("multiplicity", "error", clause="PS3.6 6"),
            "e.reason NOT LIKE '% values where %'": Check("representation", "error", clause="PS3.5 6.2"),
        }
        numbers = {condition: self._add(check) for condition, check in conditions.items()}
        return {condition: number for condition, number in numbers.items() if number is not None}

    # Functional groups

    def _groups(self) -> Iterator[_Case]:
        """Functional groups that the IOD demands, neither shared nor in all frames (PS3.3 C.7.6.16.1)."""
        shared, frames = GROUP_SEQUENCES
        if frames not in self._fields:
            return
        for keyword, usage in self._iod.groups.items():
            condition = MODULE_CONDITIONS.get(f"{self._iod.name}/{keyword}")
            if usage == "C" and condition is None:
                self.unchecked[f"functional group {keyword}"] = "condition"
            if usage == "U" or (usage == "C" and condition is None):
                continue
            in_shared = self._in_group(shared, keyword, "len(list_filter({0}, x -> len(x.{1}) > 0)) > 0")
            in_frames = self._in_group(
                frames, keyword, "len({0}) > 0 AND len(list_filter({0}, x -> len(x.{1}) > 0)) = len({0})"
            )
            required = "true" if condition is None else self._root.sql(condition.expression)
            required = f"len({identifier(frames)}) > 0 AND {required}"
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
            yield from self._case(check, f"{required} AND NOT ({found})")

    def _in_group(self, sequence: str, keyword: str, template: str) -> str:
        kind = self._fields.get(sequence)
        if kind is None or keyword not in _item_fields(kind):
            return "false"
        return template.format(identifier(sequence), identifier(keyword))

    # Items

    def _nested(self, item: _Item) -> Iterator[ItemChecks]:
        attributes = list(item.level.values())
        if item.parent == CONTENT_ITEM and CONTENT_ITEM not in item.level:
            attributes.append(Attribute(CONTENT_ITEM, _items=item.level))  # PS3.3 C.17.3: content items nest
        for attribute in attributes:
            if item.column(attribute.keyword) is None or not attribute.items or item.depth >= _MAX_DEPTH:
                continue
            fields = _item_fields(item.fields[attribute.keyword])
            if not fields:
                continue
            inner = _Item(
                attribute.items,
                fields,
                "x.",
                item.name(attribute.keyword),
                "path",
                {"root": self._root},
            )
            cases = self._level(inner)
            if cases:
                sequences = tuple(inner.path.split("."))
                any_case = " OR ".join(f"COALESCE({case.flag}, false)" for case in cases)
                flag = f"COALESCE(len(list_filter({_all_items(sequences)}, x -> {any_case})) > 0, false)"
                yield ItemChecks(sequences, flag, _numbers(cases))
            yield from self._nested(inner)


def _numbers(cases: Sequence[_Case]) -> str:
    if not cases:
        return "CAST([] AS INTEGER[])"
    return f"list_filter([{', '.join(case.then(str(case.number)) for case in cases)}], n -> n IS NOT NULL)"


def _all_items(sequences: Sequence[str]) -> str:
    """The SQL list of all items of a sequence, whatever items hold it."""
    first, *rest = map(identifier, sequences)
    for column in rest:
        first = f"flatten(list_transform({first}, y -> y.{column}))"
    return first


class _Presence:
    """The SQL condition that an attribute of a level is there with a value, for conditions."""

    def __init__(self, item: _Item, columns: Fields) -> None:
        self._item = item
        self._columns = columns

    def __call__(self, keyword: str) -> str:
        if self._item.column(keyword) is not None or self._item.path:
            return self._item.has_value(keyword)
        if keyword in _PIXEL_DATA:
            return f"pixel_data_keyword = {literal(keyword)}"
        if "bulk_data" in self._columns:
            return f"list_contains(bulk_paths, {literal(keyword)})"
        return "false"


def _item_fields(kind: DuckDBPyType) -> Fields:
    if kind.id != "list":
        return {}
    (_, item), *_ = kind.children
    if not isinstance(item, DuckDBPyType) or item.id != "struct":
        return {}
    return {name: one for name, one in item.children if isinstance(one, DuckDBPyType)}


def _wrong_count(count: str, vm: str) -> str | None:
    """The SQL condition that a number of values is not in a VM such as `3`, `1-2`, `2-n` or `3-3n`."""
    least, _, most = vm.partition("-")
    if not most:
        return f"{count} <> {least}"
    if most == "n":
        return f"{count} < {least}" if int(least) > 1 else None
    if most.endswith("n"):
        return f"{count} % {most[:-1]} <> 0"
    return f"{count} NOT BETWEEN {least} AND {most}"
