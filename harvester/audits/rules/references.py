"""The rule that what an object is derived from, or speaks of, is there."""

from typing import ClassVar, Final, Literal

from harvester.audits.rules.base import Rule, Severity
from harvester.catalog.database import literal

_MODALITIES: Final = ("SEG", "SR", "RTSTRUCT", "RTDOSE", "RTPLAN", "ANN", "PR", "KO", "REG", "RWV", "M3D")

# Where PS3.3 lets these objects name others: the sequences from the root down, and the one on the way whose
# items name a series. C.7.4.1 and C.12.1.1.11 (SEG, ANN, PR), C.17.2 (SR, KO), C.8.8.5 (RTSTRUCT).
_PLACES: Final[tuple[tuple[tuple[str, ...], str | None], ...]] = (
    (("ReferencedSeriesSequence", "ReferencedInstanceSequence"), "ReferencedSeriesSequence"),
    (("ReferencedSeriesSequence", "ReferencedImageSequence"), "ReferencedSeriesSequence"),
    (
        ("CurrentRequestedProcedureEvidenceSequence", "ReferencedSeriesSequence", "ReferencedSOPSequence"),
        "ReferencedSeriesSequence",
    ),
    (
        (
            "ReferencedFrameOfReferenceSequence",
            "RTReferencedStudySequence",
            "RTReferencedSeriesSequence",
            "ContourImageSequence",
        ),
        "RTReferencedSeriesSequence",
    ),
    (("SourceImageSequence",), None),
    (("ReferencedImageSequence",), None),
    (("ReferencedStructureSetSequence",), None),
)


class ReferencedInstances(Rule):
    """What segmentations, reports and structure sets refer to is there, instance by instance.

    `elsewhere` says what becomes of a reference into a series that the dataset does not have: `release` (as
    it is) counts it as there if the installed idc-index release has the series; `dataset` does not. Where
    a header names only the instance and not its series, the dataset alone can say.
    """

    kind: ClassVar[str] = "referenced_instances"
    columns: ClassVar[tuple[str, ...]] = ("SOPInstanceUID", "missing", "missing_series", "missing_instance")

    severity: Severity = "warning"
    elsewhere: Literal["release", "dataset"] = "release"

    def applies(self) -> str:
        """It is about objects that refer to others, as their modality says."""
        return f"Modality IN ({', '.join(map(literal, self.modality or _MODALITIES))})"

    def query(self) -> str:
        """The objects that refer to what is not there."""
        named = " UNION ALL ".join(self._named(*place) for place in _PLACES)
        return f"""
            WITH wanted AS MATERIALIZED (
                SELECT instance_url, series, instance, hash(instance) AS hashed
                FROM ({named}) WHERE instance IS NOT NULL),
            there AS (SELECT DISTINCT hash(SOPInstanceUID) AS hashed FROM instances
                      WHERE hash(SOPInstanceUID) IN (SELECT hashed FROM wanted)),
            absent AS (SELECT * FROM wanted WHERE hashed NOT IN (SELECT hashed FROM there)),
            missing AS (SELECT instance_url, count(DISTINCT hashed) AS missing, min(series) AS missing_series,
                               min(instance) AS missing_instance
                        FROM absent {self._elsewhere()} GROUP BY instance_url)
            SELECT instance_url AS subject, 'refers to instances that are not there' AS problem,
                   SeriesInstanceUID, collection_id, Modality, instance_url, 1 AS instances,
                   CAST(to_json({{SOPInstanceUID: SOPInstanceUID, missing: missing,
                                  missing_series: missing_series, missing_instance: missing_instance}})
                        AS VARCHAR) AS shown
            FROM (SELECT instance_url, SOPInstanceUID, SeriesInstanceUID, collection_id, Modality
                  FROM instances WHERE {self.scope()})
            JOIN missing USING (instance_url)"""

    def _named(self, path: tuple[str, ...], of_series: str | None) -> str:
        """The instances that objects name at one place, with the series that they say these are of."""
        first, *rest = path
        sql = f"SELECT instance_url, unnest({first}) AS {first}_item FROM instances WHERE {self.scope()}"
        above = first
        kept = "CAST(NULL AS VARCHAR)"
        for sequence in rest:
            series = f"{above}_item.SeriesInstanceUID" if above == of_series else kept
            items = f"unnest({above}_item.{sequence}) AS {sequence}_item"
            sql = f"SELECT instance_url, {series} AS series, {items} FROM ({sql})"
            above, kept = sequence, "series"
        instance = f"{above}_item.ReferencedSOPInstanceUID"
        return f"SELECT instance_url, {kept} AS series, {instance} AS instance FROM ({sql})"

    def _elsewhere(self) -> str:
        """What of the absent instances does not count: those of series that only the release has."""
        if self.elsewhere == "dataset":
            return ""
        return """WHERE COALESCE(series NOT IN (SELECT SeriesInstanceUID FROM idc_index)
                        OR series IN (SELECT SeriesInstanceUID FROM instances
                                      WHERE SeriesInstanceUID IN (SELECT series FROM absent)), true)"""
