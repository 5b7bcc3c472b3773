"""Checks of values: Enumerated Values, Defined Terms, multiplicity and representation."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from pydicom.datadict import dictionary_VM

from harvester.audits.conformance.checks import Case, Check, CheckList
from harvester.audits.conformance.conditions import item_counts, listed_values, value_count
from harvester.audits.conformance.expressions import all_of
from harvester.audits.conformance.levels import DataSetLevel
from harvester.audits.conformance.standard import Attribute, Iod, weakest
from harvester.catalog.database import literal
from harvester.dicom.dictionary import attributes_by_keyword

MORE_EMPTY_ELEMENTS: Final = "e.path = '' AND e.reason LIKE '% empty_elements has %'"
"""The SQL condition that an entry `e` of `invalid_elements` counts elements that `empty_elements` lacks."""

# Vectors of NM images have one value per frame (PS3.3 C.8.4.8.1).
_VECTORS: Final = frozenset(
    {
        *("EnergyWindowVector", "DetectorVector", "PhaseVector", "RotationVector", "RRIntervalVector"),
        *("TimeSlotVector", "SliceVector", "AngularViewVector", "TimeSliceVector"),
    }
)
# The SQL condition that a value is not one of its VR (PS3.5 table 6.2-1).
_INVALID_TEXT: Final = {
    "AS": r"NOT regexp_full_match({0}, '[0-9]{{3}}[DWMY]')",
    "CS": r"NOT regexp_full_match({0}, '[A-Z0-9 _]{{0,16}}')",
    "LO": "length({0}) > 64",
    "SH": "length({0}) > 16",
    "UI": r"NOT regexp_full_match({0}, '(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))*') OR length({0}) > 64",
}


def value_cases(level: DataSetLevel, iod: Iod, checks: CheckList) -> Iterator[Case]:
    """The checks of the values of a level."""
    for attribute in level.level.values():
        column = level.column(attribute.keyword)
        if column is not None:
            yield from _listed(attribute, column, level, iod, checks)
            yield from _of_dictionary(attribute, column, level, iod, checks)


def _listed(
    attribute: Attribute, column: str, level: DataSetLevel, iod: Iod, checks: CheckList
) -> Iterator[Case]:
    """Values outside of Enumerated Values or Defined Terms."""
    keyword = attribute.keyword
    many = level.fields[keyword].id == "list"
    numeric = str(level.fields[keyword]).rstrip("[]") != "VARCHAR"
    for values, requirement in listed_values(attribute, iod, level.parent):
        if numeric and not all(re.fullmatch(r"[+-]?\d+", text) for text in values.texts):
            continue
        # Tags are listed as `00181063H`.
        allowed = [re.sub(r"^([0-9A-F]{8})H$", r"\1", text) for text in values.texts]
        texts = ", ".join(str(int(text)) if numeric else literal(text) for text in allowed)
        if values.position:
            wrong = f"{column}[{values.position}] NOT IN ({texts})"
        else:
            wrong = f"NOT list_has_all([{texts}], {column})" if many else f"{column} NOT IN ({texts})"
        check = Check(
            "not_allowed" if values.enumerated else "not_defined",
            "error" if values.enumerated else "info",
            level.name(keyword),
            keyword,
            requirement.type,
            requirement.module,
            values.clause or requirement.clause,
        )
        applies = level.translator.sql(values.condition) if values.condition else "true"
        yield from checks.case(check, all_of(applies, wrong), level.decided(values.condition))
    if keyword == "HighBit" and "BitsStored" in level.fields:
        one = weakest(attribute)
        check = Check(
            "not_allowed", "error", level.name(keyword), keyword, one.type, one.module, "PS3.3 C.7.6.3"
        )
        yield from checks.case(check, f"{column} <> {level.column('BitsStored')} - 1")


def _of_dictionary(
    attribute: Attribute, column: str, level: DataSetLevel, iod: Iod, checks: CheckList
) -> Iterator[Case]:
    """Numbers of values that the VM does not allow, and values that are not of the VR."""
    keyword = attribute.keyword
    known = attributes_by_keyword().get(keyword.lower())
    if known is None:
        return
    one = weakest(attribute)
    check = Check("multiplicity", "error", level.name(keyword), keyword, one.type, one.module, "PS3.6 6")
    if known.vr == "SQ":
        yield from _items(attribute, column, level, check, checks)
        return
    for others, clause in _counts(keyword, level):
        yield from checks.case(
            replace(check, clause=clause), f"({others} > 0 AND len({column}) NOT IN (0, {others}))"
        )
    condition = None
    if known.many:
        condition = _wrong_count(f"len({column})", value_count(iod, keyword) or dictionary_VM(known.tag))
    if condition is not None:
        yield from checks.case(check, f"(len({column}) > 0 AND {condition})")
    test = _INVALID_TEXT.get(known.vr)
    if test is not None:
        many = level.fields[keyword].id == "list"
        wrong = f"len(list_filter({column}, v -> {test.format('v')})) > 0" if many else test.format(column)
        yield from checks.case(replace(check, kind="representation", clause="PS3.5 6.2"), f"({wrong})")


def _counts(keyword: str, level: DataSetLevel) -> Iterator[tuple[str, str]]:
    """The SQL of a number that the number of values shall equal, with the clause."""
    if keyword == "DimensionIndexValues" and "DimensionIndexSequence" in level.columns:
        yield 'len("DimensionIndexSequence")', "PS3.3 C.7.6.16.2.2"
    if keyword in _VECTORS and "NumberOfFrames" in level.fields:
        yield '"NumberOfFrames"', "PS3.3 C.8.4.8.1"


def _items(
    attribute: Attribute, column: str, level: DataSetLevel, check: Check, checks: CheckList
) -> Iterator[Case]:
    """A number of items that is not allowed (PS3.5 7.5)."""
    counts = item_counts(attribute, level.parent)
    for count, clause in counts:
        number = level.column(count[1:]) if count.startswith("=") else None
        wrong = f"len({column}) <> {number}" if number else _wrong_count(f"len({column})", count)
        if wrong is not None:
            decided = level.decided(count[1:] if number else "")
            yield from checks.case(replace(check, clause=clause), f"(len({column}) > 0 AND {wrong})", decided)
    # Absent, or present without items, is the same for Type 3 (PS3.5 7.4.5).
    if (
        check.type == "3"
        and any(count[0] in "12" for count, _ in counts)
        and "empty_elements" in level.columns
    ):
        listed = f"COALESCE(list_contains(empty_elements, {level.sql_name(attribute.keyword)}), false)"
        empty = replace(check, severity="info", clause="PS3.5 7.4.5")
        yield from checks.case(empty, level.has_none(attribute.keyword), listed, of_empty=True)


def _wrong_count(count: str, vm: str) -> str | None:
    """The SQL condition that a number is not in a VM such as `3`, `1-2`, `2-n` or `3-3n`; None: any is."""
    least, _, most = vm.partition("-")
    if vm.startswith("="):
        return None
    if not most:
        return f"{count} <> {least}"
    if most == "n":
        return f"{count} < {least}" if int(least) > 1 else None
    if most.endswith("n"):
        return f"{count} % {most[:-1]} <> 0"
    return f"{count} NOT BETWEEN {least} AND {most}"


def invalid_cases(checks: CheckList) -> dict[str, int]:
    """Checks of values that did not fit their column, by an SQL condition on the entry `e`."""
    conditions = {
        "e.reason LIKE '% values where %'": Check("multiplicity", "error", clause="PS3.6 6"),
        f"e.reason NOT LIKE '% values where %' AND NOT ({MORE_EMPTY_ELEMENTS})": Check(
            "representation", "error", clause="PS3.5 6.2"
        ),
    }
    numbers = {condition: checks.add(check) for condition, check in conditions.items()}
    return {condition: number for condition, number in numbers.items() if number is not None}
