"""The rule that referenced instances exist."""

from typing import ClassVar, Final, Literal

from harvester.audits.rules.base import QueryRule
from harvester.audits.shared_values import SHARED
from harvester.audits.vocabulary import Severity
from harvester.catalog.database import literal

_MODALITIES: Final = ("SEG", "SR", "RTSTRUCT", "RTDOSE", "RTPLAN", "ANN", "PR", "KO", "REG", "RWV", "M3D")

# Where these objects reference others (PS3.3): the sequences from the root down, and the one whose items
# hold the Series Instance UID. C.7.4.1 and C.12.1.1.11 (SEG, ANN, PR), C.17.2 (SR, KO), C.8.8.5 (RTSTRUCT).
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
_NO_SERIES: Final = "CAST(NULL AS VARCHAR)"


class ReferencedInstances(QueryRule):
    """The instances that segmentations, reports and structure sets reference are in the dataset.

    `elsewhere` decides on a reference to a series that the dataset does not have: `release` (the default)
    accepts it if the installed idc-index release has the series; `dataset` does not. A reference without
    a Series Instance UID is looked up in the dataset only.
    """

    kind: ClassVar[str] = "referenced_instances"
    columns: ClassVar[tuple[str, ...]] = ("SOPInstanceUID", "missing", "missing_series", "missing_instance")

    severity: Severity = "warning"
    elsewhere: Literal["release", "dataset"] = "release"

    def rule_condition(self) -> str:
        """Objects whose modality references others."""
        return f"Modality IN ({', '.join(map(literal, self.modality or _MODALITIES))})"

    def query(self) -> str:
        """The objects with missing references."""
        references = ", ".join(_references(path, series_level) for path, series_level in _PLACES)
        return f"""
            WITH wanted AS MATERIALIZED (
                SELECT object, one.series, one.instance, hash(one.instance) AS hashed
                FROM (SELECT hash(instance_url) AS object, unnest(list_concat({references})) AS one
                      FROM instances WHERE {self.scope()})
                WHERE one.instance IS NOT NULL),
            there AS (SELECT DISTINCT hash(SOPInstanceUID) AS hashed FROM instances
                      WHERE hash(SOPInstanceUID) IN (SELECT hashed FROM wanted)),
            absent AS (SELECT * FROM wanted WHERE hashed NOT IN (SELECT hashed FROM there)),
            missing AS (SELECT object, count(DISTINCT hashed) AS missing, min(series) AS missing_series,
                               min(instance) AS missing_instance
                        FROM absent {self._not_in_release()} GROUP BY object)
            SELECT instance_url AS subject, 'refers to instances that are not there' AS problem,
                   SeriesInstanceUID, collection_id, Modality, instance_url, 1 AS instances,
                   CAST(to_json({{SOPInstanceUID: SOPInstanceUID, missing: missing,
                                  missing_series: missing_series, missing_instance: missing_instance}})
                        AS VARCHAR) AS shown
            FROM (SELECT instance_url, SOPInstanceUID, SeriesInstanceUID, collection_id, Modality
                  FROM instances WHERE {self.scope()})
            JOIN missing ON hash(instance_url) = object"""

    def _not_in_release(self) -> str:
        """Leaves out absent instances whose series only the release has."""
        if self.elsewhere == "dataset":
            return ""
        return f"""WHERE COALESCE(series NOT IN (SELECT SeriesInstanceUID FROM idc_index)
                        OR series IN (SELECT SeriesInstanceUID FROM {SHARED}
                                      WHERE SeriesInstanceUID IS NOT NULL), true)"""


def _references(
    path: tuple[str, ...], series_level: str | None, items: str = "", series: str = _NO_SERIES
) -> str:
    """The SQL expression of the list of instances that objects reference at one place, with their series.

    Args:
        path: The sequences.
        series_level: The one whose items hold the Series Instance UID.
        items: What the items of the sequence above are called; none: it is the first.
        series: The SQL expression of the Series Instance UID that an item above holds.
    """
    first, *rest = path
    item = f"{first}_item"
    if first == series_level:
        series = f"{item}.SeriesInstanceUID"
    if rest:
        found = _references(tuple(rest), series_level, item, series)
    else:
        found = f"{{series: {series}, instance: {item}.ReferencedSOPInstanceUID}}"
    listed = f"list_transform({items and f'{items}.'}{first}, lambda {item}: {found})"
    return f"flatten({listed})" if rest else listed
