"""The rule that the instances of a series agree on what is the series'."""

from collections.abc import Mapping
from typing import ClassVar, Final

from pydantic import field_validator

from harvester.audits.rules.base import Rule, Severity, Texts, Unit, joined
from harvester.audits.vocabulary import attribute_of
from harvester.catalog.database import identifier, literal

SHARED: Final[Mapping[str, tuple[str, ...]]] = {
    # PS3.3 A.1.2: a series is of one study, one patient, one modality; C.7.4.1: of one frame of reference
    "true": ("PatientID", "StudyInstanceUID", "Modality"),
    "Modality IN ('CT', 'MR', 'PT')": ("FrameOfReferenceUID", "Rows", "Columns"),
}
"""What the instances of a series share, by the instances that have to."""


class ConsistentSeries(Rule):
    """The instances of a series agree on what is the series': patient, study, frame of reference, size.

    `attributes` are keywords. Without them patient, study and modality of all series, and frame of
    reference, rows and columns of CT, MR and PET. An attribute that some instances have and some have not
    breaks the rule, too.
    """

    kind: ClassVar[str] = "consistent_series"
    unit: ClassVar[Unit] = "series"

    severity: Severity = "error"
    attributes: Texts = ()

    @field_validator("attributes")
    @classmethod
    def _check_attributes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(attribute_of(name).keyword for name in value)

    def query(self) -> str:
        """The series whose instances differ."""
        shared = {"true": self.attributes} if self.attributes else SHARED
        cases = [self._case(name, of) for of, names in shared.items() for name in names]
        return f"""
            SELECT SeriesInstanceUID AS subject, problem, SeriesInstanceUID, collection_id, Modality,
                   instance_url, instances, CAST(NULL AS VARCHAR) AS shown
            FROM (SELECT SeriesInstanceUID, any_value(collection_id) AS collection_id,
                         any_value(Modality) AS Modality, min(instance_url) AS instance_url,
                         count(*) AS instances, {joined(cases)} AS problem
                  FROM instances WHERE SeriesInstanceUID IS NOT NULL AND {self.scope()}
                  GROUP BY SeriesInstanceUID)
            WHERE problem IS NOT NULL"""

    def _case(self, name: str, of: str) -> tuple[str, str]:
        column = identifier(name)
        only = "" if of == "true" else f" FILTER (WHERE {of})"
        # Least and greatest are found in one go, where a count of different values keeps each of them.
        least, most = f"min({column}){only}", f"max({column}){only}"
        some = f"count({column}){only} NOT IN (0, count(*){only})"
        values = f"left(CAST({least} AS VARCHAR), 64) || ', ' || left(CAST({most} AS VARCHAR), 64)"
        text = (
            f"{literal(name)} || CASE WHEN {least} <> {most} THEN ': ' || {values} ELSE ' only in some' END"
        )
        return f"({least} <> {most} OR {some})", text
