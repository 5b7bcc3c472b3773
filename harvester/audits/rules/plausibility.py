"""The rule that dates are plausible."""

from datetime import date
from typing import ClassVar, Final

from pydantic import field_validator

from harvester.audits.rules.base import Keywords
from harvester.audits.rules.instances import CasesRule
from harvester.audits.vocabulary import Severity, attribute_of
from harvester.catalog.database import identifier, literal

_DATES: Final = (
    "StudyDate",
    "SeriesDate",
    "AcquisitionDate",
    "ContentDate",
    "InstanceCreationDate",
    "AcquisitionDateTime",
)
# A patient who was imaged digitally was born later.
_BIRTH: Final = date(1850, 1, 1)


class PlausibleDates(CasesRule):
    """Dates are not in the future, not before digital imaging, and not before the birth of the patient.

    `attributes` are keywords of dates; the default is study, series, acquisition, content and creation.
    `earliest` is the first plausible day. De-identification can shift dates by years: set `earliest`
    accordingly. A date is in the future if it is more than two days after the harvest.
    """

    kind: ClassVar[str] = "plausible_dates"
    columns: ClassVar[tuple[str, ...]] = ("SOPInstanceUID", "harvested_at")

    severity: Severity = "warning"
    attributes: Keywords = _DATES
    earliest: date = date(1970, 1, 1)

    @field_validator("attributes")
    @classmethod
    def _check_attributes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for attribute in map(attribute_of, value):
            if attribute.vr not in ("DA", "DT") or attribute.many:
                raise ValueError(f"{attribute.keyword} ({attribute.vr}) is not a date")
        return value

    def cases(self) -> list[tuple[str, str]]:
        """The implausible dates."""
        cases: list[tuple[str, str]] = []
        for name in self.attributes:
            column = identifier(name)
            text = f"'{name} ' || CAST(CAST({column} AS DATE) AS VARCHAR)"
            cases += [
                (f"{column} > harvested_at + INTERVAL 2 DAY", f"{text} || ' is in the future'"),
                (f"{column} < DATE {literal(self.earliest.isoformat())}", f"{text} || ' is too long ago'"),
            ]
        # A finding does not repeat a date of birth.
        cases += [
            (f"PatientBirthDate < DATE {literal(_BIRTH.isoformat())}", "'PatientBirthDate is too long ago'"),
            ("PatientBirthDate > StudyDate", "'PatientBirthDate is after StudyDate'"),
        ]
        return cases
