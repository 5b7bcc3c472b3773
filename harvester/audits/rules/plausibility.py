"""The rule that dates can be true."""

from datetime import date
from typing import ClassVar, Final

from pydantic import field_validator

from harvester.audits.rules.base import InstanceRule, Severity, Texts, joined
from harvester.audits.vocabulary import attribute_of
from harvester.catalog.database import identifier, literal

_DATES: Final = (
    "StudyDate",
    "SeriesDate",
    "AcquisitionDate",
    "ContentDate",
    "InstanceCreationDate",
    "AcquisitionDateTime",
)
# Before X-rays were known nobody was imaged; who was born before that was not imaged digitally.
_BIRTH: Final = date(1850, 1, 1)


class PlausibleDates(InstanceRule):
    """Dates are neither in the future nor before digital imaging, and nobody is imaged before birth.

    `attributes` are keywords of dates; without them those of study, series, acquisition, content and
    creation. `earliest` is the first day that can be true. De-identification shifts dates, by years at times:
    where it does, give an `earliest` of its own. The future begins two days after the object was harvested.
    """

    kind: ClassVar[str] = "plausible_dates"
    columns: ClassVar[tuple[str, ...]] = ("SOPInstanceUID", "harvested_at")

    severity: Severity = "warning"
    attributes: Texts = _DATES
    earliest: date = date(1970, 1, 1)

    @field_validator("attributes")
    @classmethod
    def _check_attributes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        found = [attribute_of(name) for name in value]
        for attribute in found:
            if attribute.vr not in ("DA", "DT") or attribute.many:
                raise ValueError(f"{attribute.keyword} ({attribute.vr}) is no date")
        return tuple(attribute.keyword for attribute in found)

    def problem(self) -> str:
        """Which date is wrong, and why."""
        cases: list[tuple[str, str]] = []
        for name in self.attributes:
            column = identifier(name)
            text = f"'{name} ' || CAST(CAST({column} AS DATE) AS VARCHAR)"
            cases += [
                (f"{column} > harvested_at + INTERVAL 2 DAY", f"{text} || ' is in the future'"),
                (f"{column} < DATE {literal(self.earliest.isoformat())}", f"{text} || ' is too long ago'"),
            ]
        # A date of birth is not repeated in a finding.
        cases += [
            (f"PatientBirthDate < DATE {literal(_BIRTH.isoformat())}", "'PatientBirthDate is too long ago'"),
            ("PatientBirthDate > StudyDate", "'PatientBirthDate is after StudyDate'"),
        ]
        return joined(cases)
