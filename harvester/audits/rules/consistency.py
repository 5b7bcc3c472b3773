"""The rule that the instances of a series have the same series-level values."""

from collections.abc import Mapping
from typing import ClassVar, Final

from harvester.audits.rules.base import Keywords, QueryRule, Unit, joined
from harvester.audits.vocabulary import Severity
from harvester.catalog.database import identifier, literal

SHARED: Final[Mapping[str, tuple[str, ...]]] = {
    # PS3.3 A.1.2: a series has one study, patient and modality; C.7.4.1: one frame of reference
    "true": ("PatientID", "StudyInstanceUID", "Modality"),
    "Modality IN ('CT', 'MR', 'PT')": ("FrameOfReferenceUID", "Rows", "Columns"),
}
"""The attributes that the instances of a series must share, by the instances they apply to."""


class ConsistentSeries(QueryRule):
    """The instances of a series have the same patient, study, modality, frame of reference and size.

    `attributes` are keywords. The default is patient, study and modality of all series, and frame of
    reference, rows and columns of CT, MR and PET. An attribute that only some instances have
    violates the rule, too.
    """

    kind: ClassVar[str] = "consistent_series"
    unit: ClassVar[Unit] = "series"

    severity: Severity = "error"
    attributes: Keywords = ()

    def rule_condition(self) -> str:
        """Instances that belong to a series."""
        return "SeriesInstanceUID IS NOT NULL"

    def shared_values(self) -> Mapping[str, str]:
        """The attributes."""
        return {name: identifier(name) for names in self._shared().values() for name in names}

    def query(self) -> str:
        """The series whose instances differ."""
        cases = [self._case(name, which) for which, names in self._shared().items() for name in names]
        return f"""
            SELECT SeriesInstanceUID AS subject, problem, SeriesInstanceUID, collection_id, Modality,
                   instance_url, instances, CAST(NULL AS VARCHAR) AS shown
            FROM (SELECT SeriesInstanceUID, min(collection_id) AS collection_id,
                         min(Modality) AS Modality, min(instance_url) AS instance_url,
                         sum(alike)::BIGINT AS instances, {joined(cases)} AS problem
                  FROM ({self.alike()})
                  GROUP BY SeriesInstanceUID)
            WHERE problem IS NOT NULL"""

    def _shared(self) -> Mapping[str, tuple[str, ...]]:
        return {"true": self.attributes} if self.attributes else SHARED

    def _case(self, name: str, which: str) -> tuple[str, str]:
        column = identifier(name)
        only = "" if which == "true" else f" FILTER (WHERE {which})"
        # Minimum and maximum need one pass and no memory; a count of distinct values keeps each of them.
        least, most = f"min({column}){only}", f"max({column}){only}"
        some = f"count({column}){only} NOT IN (0, count(*){only})"
        values = f"left(CAST({least} AS VARCHAR), 64) || ', ' || left(CAST({most} AS VARCHAR), 64)"
        text = (
            f"{literal(name)} || CASE WHEN {least} <> {most} THEN ': ' || {values} ELSE ' only in some' END"
        )
        return f"({least} <> {most} OR {some})", text
