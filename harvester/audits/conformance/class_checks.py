"""All checks of one SOP class as SQL over the columns that the dataset has."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from harvester.audits.conformance.checks import Case, Check, CheckList, Selection, numbers
from harvester.audits.conformance.conditions import CONTENT_ITEM
from harvester.audits.conformance.levels import DataSetLevel, Fields, all_items
from harvester.audits.conformance.required import RequiredAttributes
from harvester.audits.conformance.standard import Attribute, Iod
from harvester.audits.conformance.value_checks import invalid_cases, value_cases
from harvester.catalog.database import identifier, literal
from harvester.dicom.dictionary import attributes_by_keyword

_MAX_DEPTH: Final = 12
_EMPTY_ITEMS: Final = "contains(array_to_string(empty_elements, ','), '[')"


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


class ClassChecks:
    """The checks of an IOD on a dataset.

    Args:
        iod: The IOD.
        fields: The columns of `instances`.
        selection: Which checks are made.

    Attributes:
        checks: All checks, and those that are not made.
        top: The checks of the top level.
        items: The checks of the items of all sequences.
        invalid: Checks of `invalid_elements`, by the SQL condition on an entry.
    """

    def __init__(self, iod: Iod, fields: Fields, selection: Selection) -> None:
        self._iod = iod
        root = DataSetLevel(iod.attributes, fields, fields)
        self.checks = CheckList(selection)
        self._required = RequiredAttributes(iod, root, self.checks)
        self.top = [*self._level(root), *self._required.groups()]
        self.items = list(self._nested(root))
        self.invalid = invalid_cases(self.checks) if "invalid_elements" in fields else {}

    def _level(self, level: DataSetLevel) -> list[Case]:
        return [
            *self._required.cases(level),
            *value_cases(level, self._iod, self.checks),
            *self._undefined(level),
        ]

    def _undefined(self, level: DataSetLevel) -> Iterator[Case]:
        """Attributes that no module of the IOD has here (PS3.4 3.11.3.2: Standard Extended SOP Classes)."""
        if not self.checks.selection.extended:
            return
        known = attributes_by_keyword()
        for keyword in level.fields:
            entry = known.get(keyword.lower())
            if keyword in level.level or entry is None or entry.keyword != keyword or entry.repeating:
                continue
            if level.parent == CONTENT_ITEM and keyword == CONTENT_ITEM:
                continue
            if entry.tag >> 16 != 2:
                name = level.name(keyword)
                check = Check("unexpected", "info", name, keyword, None, None, "PS3.4 3.11.3.2")
                yield from self.checks.case(check, level.has_value(keyword))

    def _nested(self, level: DataSetLevel) -> Iterator[ItemChecks]:
        attributes = list(level.level.values())
        if level.parent == CONTENT_ITEM and CONTENT_ITEM not in level.level:
            attributes.append(Attribute(CONTENT_ITEM, _items=level.level))  # PS3.3 C.17.3: content items nest
        for attribute in attributes:
            inner = level.items(attribute.keyword, attribute.items) if level.depth < _MAX_DEPTH else None
            if inner is None:
                continue
            cases = self._level(inner)
            if cases:
                sequences = tuple(inner.path.split("."))
                yield ItemChecks(sequences, _any_item(sequences, cases), numbers(cases))
            yield from self._nested(inner)


def _any_item(sequences: Sequence[str], cases: Sequence[Case]) -> str:
    """The SQL condition that an item of an instance may have a finding."""
    flags = []
    for of_empty in (False, True):
        some = [f"COALESCE({case.flag}, false)" for case in cases if case.of_empty is of_empty]
        if some:
            any_case = " OR ".join(some)
            flag = f"COALESCE(len(list_filter({all_items(sequences)}, x -> {any_case})) > 0, false)"
            flags.append(f"({_EMPTY_ITEMS} AND {flag})" if of_empty else flag)
    # Most instances do not have most sequences: their lists are not walked.
    return f"CASE WHEN len({identifier(sequences[0])}) > 0 THEN {' OR '.join(flags)} ELSE false END"
