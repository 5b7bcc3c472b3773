"""Rules on what should not be there: private elements, and traces of a patient that was de-identified."""

from collections.abc import Mapping
from typing import ClassVar, Final

from pydantic import Field, field_validator

from harvester.audits.rules.base import InstanceRule, Severity, Texts
from harvester.audits.vocabulary import attribute_of
from harvester.catalog.database import identifier, literal


class PrivateElements(InstanceRule):
    """Objects have no private elements but those that are allowed.

    `allowed_creators` lists private creators whose elements are known to be harmless; an element that
    nobody owns is never allowed. A finding names the creators, not the values.
    """

    kind: ClassVar[str] = "private_elements"

    severity: Severity = "info"
    allowed_creators: Texts = ()

    def common(self) -> Mapping[str, str]:
        """Tags and creators; the values are of each instance."""
        return {
            "tags": "list_transform(OtherElements, lambda e: e.Tag)",
            "creators": "list_transform(OtherElements, lambda e: e.Creator)",
        }

    def problem(self) -> str:
        """Whose elements there are."""
        allowed = ", ".join(map(literal, self.allowed_creators))
        other = f"AND COALESCE(e[2] NOT IN ({allowed}), true)" if allowed else ""
        # PS3.5 7.8: the groups of private elements are odd; 7.8.1: elements 0010 to 00FF name the owners.
        private = f"regexp_matches(e[1], '^...[13579BDF](0[1-9A-F]|[1-9A-F])') {other}"
        found = f"list_filter(list_zip(tags, creators), lambda e: {private})"
        names = f"list_distinct(list_transform({found}, lambda e: COALESCE(left(e[2], 64), 'nobody')))"
        text = f"left(array_to_string(list_sort({names}), ', '), 200)"
        return f"CASE WHEN len(tags) > 0 THEN 'private elements of ' || nullif({text}, '') END"


# PS3.15 table E.1-1, Basic Profile: names (PN) that are emptied or removed, and texts that tell who or where.
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
# What de-identification puts in a name's place.
_PSEUDONYM: Final = (
    "(?i)^[\\s^]*$|anon|removed|deleted|de-?identified|pseudo|unknown|^none$|^n/?a$|^\\^*x+[\\^x]*$"
)
# A day, a person's title, a number of ten digits: what a free text should not tell.
_TELLTALE: Final = (
    "(?i)\\b(19|20)[0-9]{2}[-/.][01]?[0-9][-/.][0-3]?[0-9]\\b|\\b[0-3]?[0-9][-/.][0-3]?[0-9][-/.](19|20)[0-9]{2}\\b"
    "|\\b(mr|mrs|ms|dr|prof)\\.? [a-z]{2,}|\\b(dob|mrn|ssn)\\b"
)


class DeidentificationLeftovers(InstanceRule):
    """Where Patient Identity Removed says YES, no name, date or free text tells the patient after all.

    Looked at are a patient's name that is neither a pseudonym nor the Patient ID; physicians' and others'
    names (`names`); what PS3.15's Basic Profile removes (`removed`); dates of an object that says its dates
    were removed; and free texts (`texts`) with a day, a title before a name, or the family name of the
    patient in them. A finding names the attribute, never the value.
    """

    kind: ClassVar[str] = "deidentification_leftovers"

    severity: Severity = "error"
    names: Texts = _NAMES
    removed: Texts = _REMOVED
    texts: Texts = _TEXTS
    pseudonym: str = Field(default=_PSEUDONYM, min_length=1)

    @field_validator("names", "removed", "texts")
    @classmethod
    def _check_attributes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(attribute_of(name).keyword for name in value)

    @field_validator("names")
    @classmethod
    def _check_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if attribute_of(name).vr != "PN":
                raise ValueError(f"{name} ({attribute_of(name).vr}) is no person's name")
        return value

    def applies(self) -> str:
        """It is about objects that say that they are de-identified (PS3.3 C.7.1.1)."""
        return "PatientIdentityRemoved = 'YES'"

    def common(self) -> Mapping[str, str]:
        """Everything that is looked at: it is the same throughout a series, as a rule."""
        names = ("PatientName", "PatientID", "LongitudinalTemporalInformationModified")
        attributes = (*names, *self.names, *self.removed, *_ACQUIRED, *self.texts)
        return {name: f"instances.{identifier(name)}" for name in dict.fromkeys(attributes)}

    def problem(self) -> str:
        """Which attributes tell something."""
        name = "PatientName.Alphabetic"
        cases = [
            (
                # A person has a family and a given name; a pseudonym is one word.
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
            *((self._tells(one), one) for one in self.texts),
        ]
        listed = ", ".join(f"CASE WHEN {condition} THEN {literal(one)} END" for condition, one in cases)
        return f"'left over: ' || nullif(concat_ws(', ', {listed}), '')"

    def _is_a_name(self, name: str) -> str:
        return f"NOT regexp_matches({_filled(name)}, {literal(self.pseudonym)})"

    def _tells(self, name: str) -> str:
        text = _filled(name)
        family = "lower(split_part(PatientName.Alphabetic, '^', 1))"
        return (
            f"(regexp_matches({text}, {literal(_TELLTALE)}) OR len({family}) > 3 "
            f"AND {family} <> lower(PatientID) AND contains(lower({text}), {family}))"
        )


def _filled(name: str) -> str:
    """The SQL expression of a value, or of several, as one text; NULL where there is none."""
    attribute = attribute_of(name)
    column = identifier(name)
    if attribute.vr == "PN":
        alphabetic = f"[n.Alphabetic FOR n IN {column}]" if attribute.many else f"{column}.Alphabetic"
        return f"nullif(array_to_string({alphabetic}, ' '), '')" if attribute.many else alphabetic
    if attribute.many:
        return f"nullif(array_to_string({column}, ' '), '')"
    return f"CAST({column} AS VARCHAR)" if attribute.vr not in ("LO", "SH", "ST", "LT", "UT") else column
