"""Rules on the values of single attributes: required, allowed, in range, valid."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, ClassVar, Final

import pyarrow as pa
from pydantic import BeforeValidator, Field, field_validator

from harvester.audits.conformance.standard import type_1_attributes
from harvester.audits.rules.base import AuditDatabase, Keywords, joined
from harvester.audits.rules.instances import CasesRule, InstanceRule, not_in
from harvester.audits.shared_values import alike
from harvester.audits.survey import Survey
from harvester.audits.vocabulary import Severity, attribute_of
from harvester.catalog.database import identifier, literal
from harvester.dicom.dictionary import Attribute
from harvester.dicom.schema import value_type

ENUMERATED: Final[Mapping[str, tuple[str, ...]]] = {
    "PatientSex": ("M", "F", "O"),  # C.7.1.1
    "PatientIdentityRemoved": ("YES", "NO"),  # C.7.1.1
    "BurnedInAnnotation": ("YES", "NO"),  # C.7.6.1
    "LossyImageCompression": ("00", "01"),  # C.7.6.1
    "ImageLaterality": ("R", "L", "U", "B"),  # C.8.11.7
    "Laterality": ("R", "L"),  # C.7.3.1
    "SegmentationType": ("BINARY", "FRACTIONAL", "LABELMAP"),  # C.8.20.2
    "PhotometricInterpretation": (  # C.7.6.3.1.2
        "MONOCHROME1",
        "MONOCHROME2",
        "PALETTE COLOR",
        "RGB",
        "YBR_FULL",
        "YBR_FULL_422",
        "YBR_PARTIAL_420",
        "YBR_ICT",
        "YBR_RCT",
        "XYB",
    ),
}
"""Enumerated Values of PS3.3."""

PLAUSIBLE: Final[Mapping[str, tuple[float, float]]] = {
    "Rows": (1, 65535),
    "Columns": (1, 65535),
    "NumberOfFrames": (1, 1e7),
    "BitsAllocated": (1, 64),
    "SamplesPerPixel": (1, 4),
    "PixelSpacing": (1e-5, 50),  # mm: from 0.01 um to scintigraphy
    "SliceThickness": (1e-5, 200),  # mm
    "KVP": (1, 500),  # kV
    "RepetitionTime": (0, 100_000),  # ms
    "MagneticFieldStrength": (0.001, 30),  # T
}
"""Plausible ranges, in the unit of the attribute."""


_BITS: Final = 62
_FREQUENT: Final = 100_000  # instances of a modality; to ask a part whether it holds one takes time, too


def _bounds(value: object) -> object:
    return tuple(map(_number, value)) if isinstance(value, list) else value


def _number(value: object) -> object:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


Bounds = Annotated[tuple[float, float], BeforeValidator(_bounds)]
Value = str | int | float


class RequiredAttributes(InstanceRule):
    """Every instance has a value for each required attribute.

    `attributes` are keywords. The default is the top-level attributes of Type 1 that PS3.3 demands of the
    instance's SOP class in modules of usage M; `conformance` also checks items, conditions and values.
    """

    kind: ClassVar[str] = "required_attributes"
    columns: ClassVar[tuple[str, ...]] = ("SOPClassUID", "SOPInstanceUID")

    attributes: Keywords = ()

    def batches(self, database: AuditDatabase) -> Iterator[pa.RecordBatch]:
        """The series whose instances lack attributes."""
        required = self._required(database.survey.classes)
        if not required:
            return iter(())
        places = {
            name: (f"absent_{number // _BITS}", f"{1 << number % _BITS}::BIGINT")
            for number, name in enumerate(
                dict.fromkeys(name for names in required.values() for name in names)
            )
        }
        branches = (
            self._absent(places, where, names)
            for where, names in self._branches(database.survey.classes, required)
        )

        def lacking(names: Iterable[str]) -> str:
            cases = ((f"{places[name][0]} & {places[name][1]} <> 0", literal(name)) for name in names)
            return f"'missing: ' || {joined(cases, ', ')}"

        problem = " ".join(
            f"WHEN {'true' if uid is None else f'SOPClassUID = {literal(uid)}'} THEN {lacking(names)}"
            for uid, names in required.items()
        )
        query = self.by_series(f"""
            SELECT * FROM (SELECT *, CASE {problem} END AS problem FROM ({" UNION ALL ".join(branches)}))
            WHERE problem IS NOT NULL""")
        return database.findings(query, self.own_attributes(query))

    def rule_condition(self) -> str:
        """The SOP classes whose attributes are known here."""
        return "true" if self.attributes else _has_class(type_1_attributes())

    def surveyed(self, survey: Survey) -> int | None:
        """How many instances have a SOP class whose attributes are known."""
        if self.attributes or self.parameter_condition() != "true":
            return None
        return sum(sum(numbers.values()) for numbers in survey.classes.values())

    def _required(self, classes: Mapping[str | None, Mapping[str, int]]) -> dict[str | None, tuple[str, ...]]:
        """The attributes that each SOP class there is (None: any) requires."""
        if self.attributes:
            return {None: self.attributes}
        known = type_1_attributes()
        return {uid: known[uid] for found in classes.values() for uid in found}

    def _branches(
        self,
        classes: Mapping[str | None, Mapping[str, int]],
        required: Mapping[str | None, tuple[str, ...]],
    ) -> Iterator[tuple[str, Iterable[str]]]:
        """Instances that are read at once, and the attributes that they are asked for.

        By frequent modality: each reads only what its SOP classes require.
        """
        if self.attributes:
            yield self.scope(), self.attributes
            return
        frequent = [one for one in classes if sum(classes[one].values()) >= _FREQUENT]
        rest = [one for one in classes if one not in frequent]
        for modalities in (*([one] for one in frequent), *([rest] if rest else [])):
            found = dict.fromkeys(uid for modality in modalities for uid in classes[modality])
            condition = (
                f"{self.parameter_condition()} AND {_has_modality(modalities)} AND {_has_class(found)}"
            )
            yield condition, dict.fromkeys(name for uid in found for name in required[uid])

    def _absent(self, places: Mapping[str, tuple[str, str]], condition: str, names: Iterable[str]) -> str:
        """The query that returns instances with what they lack, by which they are grouped, as bits."""
        words = {word: ["0::BIGINT"] for word, _ in places.values()}
        for word, bit, name in ((*places[name], name) for name in names):
            words[word].append(f"CASE WHEN {identifier(name)} IS NULL THEN {bit} ELSE 0 END")
        shared = {word: " | ".join(some) for word, some in words.items()}
        first = "arg_min(SOPInstanceUID, instance_url) AS SOPInstanceUID"
        return alike({"SOPClassUID": identifier("SOPClassUID"), **shared}, condition, [first])


def _has_class(uids: Iterable[str]) -> str:
    return f"SOPClassUID IN ({', '.join(map(literal, uids))})"


def _has_modality(modalities: Sequence[str | None]) -> str:
    """One expression: DuckDB computes each condition that is joined by OR for each part, and that is slow."""
    named = ", ".join(literal(one) for one in modalities if one is not None)
    return f"COALESCE(list_contains([{named}]::VARCHAR[], Modality), {str(None in modalities).lower()})"


class AllowedValues(CasesRule):
    """Attributes have allowed values only.

    `values` is a table of lists: `values = { PatientSex = ["M", "F"] }`. Every value of a multi-valued
    attribute must be in the list; an attribute without a value does not violate this rule.
    The default is the Enumerated Values of PS3.3 for sex, laterality, photometric interpretation and others.
    """

    kind: ClassVar[str] = "allowed_values"
    columns: ClassVar[tuple[str, ...]] = ("SOPInstanceUID",)

    severity: Severity = "warning"
    values: dict[str, list[Value]] = Field(
        default_factory=lambda: {name: list[Value](texts) for name, texts in ENUMERATED.items()}
    )

    @field_validator("values")
    @classmethod
    def _check_values(cls, value: dict[str, list[Value]]) -> dict[str, list[Value]]:
        found = {}
        for name, allowed in value.items():
            attribute = attribute_of(name)
            kind = value_type(attribute.vr)
            if kind is None or not allowed:
                raise ValueError(
                    f"{attribute.keyword}: expected an attribute of single values and a list of them"
                )
            wanted = str if pa.types.is_string(kind) else (int, float)
            if not all(isinstance(one, wanted) and not isinstance(one, bool) for one in allowed):
                sort = "texts" if wanted is str else "numbers"
                raise ValueError(f"{attribute.keyword} ({attribute.vr}): expected a list of {sort}")
            found[attribute.keyword] = allowed
        return found

    def cases(self) -> list[tuple[str, str]]:
        """The values that are not allowed."""
        return [self._case(name, allowed) for name, allowed in self.values.items()]

    def _case(self, name: str, allowed: Iterable[Value]) -> tuple[str, str]:
        column, many = identifier(name), attribute_of(name).many
        texts = [literal(one) if isinstance(one, str) else repr(one) for one in allowed]
        condition = f"NOT list_has_all([{', '.join(texts)}], {column})" if many else not_in(column, texts)
        return condition, f"'{name} = ' || {as_text(column)}"


class ValueRanges(CasesRule):
    """Numbers lie within a range: spacings, thicknesses, voltages, counts.

    `ranges` is a table of pairs in the unit of the attribute, bounds included: `ranges = { SliceThickness =
    [0.5, 2.5] }`; `inf` means no bound. The default is ranges outside of which a value is implausible.
    """

    kind: ClassVar[str] = "value_ranges"
    columns: ClassVar[tuple[str, ...]] = ("SOPInstanceUID",)

    severity: Severity = "warning"
    ranges: dict[str, Bounds] = Field(default_factory=lambda: dict(PLAUSIBLE))

    @field_validator("ranges")
    @classmethod
    def _check_ranges(cls, value: dict[str, Bounds]) -> dict[str, Bounds]:
        found = {}
        for name, (least, most) in value.items():
            attribute = attribute_of(name)
            if not _is_number(attribute):
                raise ValueError(f"{attribute.keyword} ({attribute.vr}) is not a number")
            if not least <= most:
                raise ValueError(f"{attribute.keyword}: expected [least, most], not [{least:g}, {most:g}]")
            found[attribute.keyword] = (least, most)
        return found

    def cases(self) -> list[tuple[str, str]]:
        """The values out of range."""
        return [self._case(name, *bounds) for name, bounds in self.ranges.items()]

    def _case(self, name: str, least: float, most: float) -> tuple[str, str]:
        column = identifier(name)
        low, high = (
            (f"list_min({column})", f"list_max({column})") if attribute_of(name).many else (column, column)
        )
        sides = [f"isnan({low})"] if _is_float(attribute_of(name)) else []
        sides += [f"{low} < {least!r}"] if math.isfinite(least) else []
        sides += [f"{high} > {most!r}"] if math.isfinite(most) else []
        return f"({' OR '.join(sides) or 'false'})", f"'{name} = ' || {as_text(column)}"


class ValidValues(CasesRule):
    """Every value is valid for its value representation.

    Values that could not be converted are in `invalid_elements`: `N/A` instead of a number, a date that
    does not exist, two values where the dictionary has VM 1.
    """

    kind: ClassVar[str] = "valid_values"
    columns: ClassVar[tuple[str, ...]] = ("SOPInstanceUID", "invalid_elements")

    severity: Severity = "warning"

    def cases(self) -> list[tuple[str, str]]:
        """The paths of the invalid values."""
        paths = "list_sort(list_distinct(list_transform(invalid_elements, lambda e: e.path)))"
        text = f"'invalid: ' || left(array_to_string({paths}, ', '), 200)"
        return [("len(invalid_elements) > 0", text)]


def as_text(column: str) -> str:
    """The SQL expression of a value as text of bounded length."""
    return f"left(COALESCE(CAST({column} AS VARCHAR), 'NULL'), 80)"


def _is_number(attribute: Attribute) -> bool:
    kind = value_type(attribute.vr)
    return kind is not None and (pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _is_float(attribute: Attribute) -> bool:
    kind = value_type(attribute.vr)
    return kind is not None and pa.types.is_floating(kind)
