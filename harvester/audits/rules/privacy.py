"""Rules on privacy: private elements, and identifying values in de-identified objects."""

from collections.abc import Mapping
from typing import ClassVar, Final

from pydantic import Field, field_validator

from harvester.audits.rules.base import Keywords, Texts
from harvester.audits.rules.instances import SharedValuesRule
from harvester.audits.vocabulary import Severity, attribute_of
from harvester.catalog.database import identifier, literal


class PrivateElements(SharedValuesRule):
    """Objects have no private elements except allowed ones.

    `allowed_creators` lists private creators whose elements are known to be safe; a private element
    without a creator is never allowed. A finding names the creators, not the values.
    """

    kind: ClassVar[str] = "private_elements"

    severity: Severity = "info"
    allowed_creators: Texts = ()

    def shared_values(self) -> Mapping[str, str]:
        """Tags and creators; the values differ between instances."""
        return {
            "tags": "list_transform(OtherElements, lambda e: e.Tag)",
            "creators": "list_transform(OtherElements, lambda e: e.Creator)",
        }

    def problem(self) -> str:
        """The creators of the private elements."""
        allowed = ", ".join(map(literal, self.allowed_creators))
        other = f"AND COALESCE(e[2] NOT IN ({allowed}), true)" if allowed else ""
        # PS3.5 7.8: private elements have odd groups; 7.8.1: elements 0010 to 00FF hold the private creators.
        private = f"regexp_matches(e[1], '^...[13579BDF](0[1-9A-F]|[1-9A-F])') {other}"
        found = f"list_filter(list_zip(tags, creators), lambda e: {private})"
        names = f"list_distinct(list_transform({found}, lambda e: COALESCE(left(e[2], 64), 'no creator')))"
        text = f"left(array_to_string(list_sort({names}), ', '), 200)"
        return f"CASE WHEN len(tags) > 0 THEN 'private elements of ' || nullif({text}, '') END"


# PS3.15 table E.1-1, Basic Profile: names (PN) that it empties or removes, and other attributes it removes.
_NAMES: Final = (
    "ReferringPhysicianName",
    "PerformingPhysicianName",
    "OperatorsName",
    "PhysiciansOfRecord",
    "NameOfPhysiciansReadingStudy",
    "RequestingPhysician",
    "OtherPatientNames",
    "PatientBirthName",
    "PatientMotherBirthName",
)
_REMOVED: Final = (
    "PatientBirthDate",
    "PatientBirthTime",
    "PatientAddress",
    "PatientTelephoneNumbers",
    "OtherPatientIDs",
    "MedicalRecordLocator",
    "InstitutionAddress",
    "MilitaryRank",
    "Occupation",
    "ReferringPhysicianAddress",
    "ReferringPhysicianTelephoneNumbers",
)
_TEXTS: Final = (
    "StudyDescription",
    "SeriesDescription",
    "ProtocolName",
    "ImageComments",
    "PatientComments",
    "StudyComments",
    "AdditionalPatientHistory",
    "RequestedProcedureDescription",
    "PerformedProcedureStepDescription",
)
_ACQUIRED: Final = ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate")
# Replacements for a name that de-identification uses.
_PSEUDONYM: Final = (
    "(?i)^[\\s^]*$|anon|removed|deleted|de-?identified|pseudo|unknown|^none$|^n/?a$|^\\^*x+[\\^x]*$"
)
# A date, a title before a name, an identifier: what free text should not contain.
_IDENTIFYING: Final = (
    "(?i)\\b(19|20)[0-9]{2}[-/.][01]?[0-9][-/.][0-3]?[0-9]\\b|\\b[0-3]?[0-9][-/.][0-3]?[0-9][-/.](19|20)[0-9]{2}\\b"
    "|\\b(mr|mrs|ms|dr|prof)\\.? [a-z]{2,}|\\b(dob|mrn|ssn)\\b"
)


class DeidentificationLeftovers(SharedValuesRule):
    """Where Patient Identity Removed is YES, no name, date or free text identifies the patient.

    Checked are: a Patient's Name that is neither a pseudonym nor the Patient ID; names of physicians and
    others (`names`); attributes that the Basic Profile of PS3.15 removes (`removed`); dates, where the
    object says that they were removed; and free texts (`texts`) that contain a date, a title before a name,
    or the family name of the patient. A finding names the attribute, never the value.
    """

    kind: ClassVar[str] = "deidentification_leftovers"

    severity: Severity = "error"
    names: Keywords = _NAMES
    removed: Keywords = _REMOVED
    texts: Keywords = _TEXTS
    pseudonym: str = Field(default=_PSEUDONYM, min_length=1)

    @field_validator("names")
    @classmethod
    def _check_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if attribute_of(name).vr != "PN":
                raise ValueError(f"{name} ({attribute_of(name).vr}) is not the name of a person")
        return value

    def rule_condition(self) -> str:
        """Objects that are marked as de-identified (PS3.3 C.7.1.1)."""
        return "PatientIdentityRemoved = 'YES'"

    def shared_values(self) -> Mapping[str, str]:
        """All checked attributes: they are usually the same in a whole series."""
        names = (
            "PatientIdentityRemoved",
            "PatientName",
            "PatientID",
            "LongitudinalTemporalInformationModified",
        )
        attributes = (*names, *self.names, *self.removed, *_ACQUIRED, *self.texts)
        return {name: identifier(name) for name in attributes}

    def problem(self) -> str:
        """The attributes that identify the patient."""
        name = "PatientName.Alphabetic"
        cases = [
            (
                # A name has a family and a given part; a pseudonym is one word.
                (
                    f"NOT regexp_matches({name}, {literal(self.pseudonym)}) "
                    f"AND NOT COALESCE(starts_with({name}, PatientID), false) "
                    f"AND regexp_matches({name}, '^[^^0-9]+\\^[^^0-9]')"
                ),
                "PatientName",
            ),
            *((self._is_a_name(one), one) for one in self.names),
            *((f"{_filled(one)} IS NOT NULL", one) for one in self.removed),
            *(
                (
                    f"LongitudinalTemporalInformationModified = 'REMOVED' AND {identifier(one)} IS NOT NULL",
                    one,
                )
                for one in _ACQUIRED
            ),
            *((self._identifies(one), one) for one in self.texts),
        ]
        listed = ", ".join(f"CASE WHEN {condition} THEN {literal(one)} END" for condition, one in cases)
        return f"'left over: ' || nullif(concat_ws(', ', {listed}), '')"

    def _is_a_name(self, name: str) -> str:
        return f"NOT regexp_matches({_filled(name)}, {literal(self.pseudonym)})"

    def _identifies(self, name: str) -> str:
        text = _filled(name)
        family = "lower(split_part(PatientName.Alphabetic, '^', 1))"
        return (
            f"(regexp_matches({text}, {literal(_IDENTIFYING)}) OR len({family}) > 3 "
            f"AND {family} <> lower(PatientID) AND contains(lower({text}), {family}))"
        )


def _filled(name: str) -> str:
    """The SQL expression of an attribute's values as one text; NULL if there is none."""
    attribute = attribute_of(name)
    column = identifier(name)
    if attribute.vr == "PN":
        alphabetic = f"[n.Alphabetic FOR n IN {column}]" if attribute.many else f"{column}.Alphabetic"
        return f"nullif(array_to_string({alphabetic}, ' '), '')" if attribute.many else alphabetic
    if attribute.many:
        return f"nullif(array_to_string({column}, ' '), '')"
    return f"CAST({column} AS VARCHAR)" if attribute.vr not in ("LO", "SH", "ST", "LT", "UT") else column
