"""Rules on completeness: unique instances, complete series and studies, no failures."""

from typing import ClassVar, Final

from harvester.audits.rules.base import AuditContext, QueryRule, Texts, Unit, conditions, shown
from harvester.audits.shared_values import SHARED
from harvester.audits.vocabulary import Severity

FOUND_SERIES: Final = f"""
    SELECT crdc_series_uuid, SeriesInstanceUID, sum(alike) AS found, min(instance_url) AS instance_url
    FROM {SHARED} GROUP BY ALL"""
"""The query of the table `found_series`: the instances that the dataset has of each series."""

# Joined by CRDC UUID where there is one: a revised series keeps its UID and gets another UUID.
_COMPARED: Final = """
    compared AS (
        SELECT e.*, COALESCE(u.found, i.found, 0)::BIGINT AS found,
               COALESCE(u.instance_url, i.instance_url) AS instance_url
        FROM expected_series AS e
        LEFT JOIN (SELECT crdc_series_uuid, sum(found) AS found, min(instance_url) AS instance_url
                   FROM found_series WHERE crdc_series_uuid IS NOT NULL GROUP BY ALL) AS u
        ON e.crdc_series_uuid = u.crdc_series_uuid
        LEFT JOIN (SELECT SeriesInstanceUID, sum(found) AS found, min(instance_url) AS instance_url
                   FROM found_series WHERE SeriesInstanceUID IS NOT NULL GROUP BY ALL) AS i
        ON CASE WHEN e.crdc_series_uuid IS NULL THEN e.SeriesInstanceUID END = i.SeriesInstanceUID
    )"""


class UniqueInstances(QueryRule):
    """No SOP Instance UID occurs more than once: it identifies one instance globally (PS3.5 9)."""

    kind: ClassVar[str] = "unique_instances"
    columns: ClassVar[tuple[str, ...]] = ("SOPInstanceUID", "etag")

    def query(self) -> str:
        """The UIDs that occur twice; first by their hashes, which take a tenth of the memory."""
        return f"""
            WITH twice AS (SELECT hash(SOPInstanceUID) AS hashed FROM instances
                           WHERE SOPInstanceUID IS NOT NULL AND {self.scope()}
                           GROUP BY hashed HAVING count(*) > 1)
            SELECT SOPInstanceUID AS subject, 'occurs ' || count(*) || ' times' AS problem,
                   min(SeriesInstanceUID) AS SeriesInstanceUID, min(collection_id) AS collection_id,
                   min(Modality) AS Modality, min(instance_url) AS instance_url, count(*) AS instances,
                   {shown(self.columns, "instance_url")} AS shown
            FROM instances
            WHERE hash(SOPInstanceUID) IN (SELECT hashed FROM twice) AND {self.scope()}
            GROUP BY SOPInstanceUID HAVING count(*) > 1"""


class ExpectationRule(QueryRule):
    """A rule that compares the dataset with the series that a catalog or a plan lists."""

    def skip_reason(self, context: AuditContext) -> str | None:
        """Skipped if neither a catalog nor a plan is known."""
        if context.expected_known:
            return None
        return "neither [select] nor a plan in the dataset says which series there should be"

    def _condition(self) -> str:
        """The parameters that apply to series that may be missing."""
        return conditions({"Modality": self.modality, "collection_id": self.collection_id})


class CompleteSeries(ExpectationRule):
    """Every series has as many instances as the catalog counts (`instanceCount`).

    The catalog is that of `[select]`, else the plans of the dataset's crawls.
    More instances than counted are a finding, too: the catalog belongs to another release, or other
    objects lie in the folder of the series.
    """

    kind: ClassVar[str] = "complete_series"
    unit: ClassVar[Unit] = "series"
    columns: ClassVar[tuple[str, ...]] = ("expected", "found")

    def query(self) -> str:
        """The series that have some instances, but not the expected number."""
        return f"""
            WITH {_COMPARED}
            SELECT COALESCE(SeriesInstanceUID, series_key) AS subject,
                   found || ' of ' || expected || ' instances' AS problem, SeriesInstanceUID, collection_id,
                   Modality, instance_url, abs(expected - found) AS instances,
                   CAST(to_json({{expected: expected, found: found}}) AS VARCHAR) AS shown
            FROM compared WHERE found > 0 AND found <> expected AND {self._condition()}"""

    def checked(self) -> str:
        """The series for which the catalog has a count."""
        return f"SELECT count(expected) FROM expected_series WHERE {self._condition()}"


class MissingSeries(ExpectationRule):
    """Every series of the catalog has at least one instance in the dataset."""

    kind: ClassVar[str] = "missing_series"
    unit: ClassVar[Unit] = "series"
    columns: ClassVar[tuple[str, ...]] = ("expected", "place")

    def query(self) -> str:
        """The series without any instance."""
        return f"""
            WITH {_COMPARED}
            SELECT COALESCE(SeriesInstanceUID, series_key) AS subject, 'no instance is there' AS problem,
                   SeriesInstanceUID, collection_id, Modality, CAST(NULL AS VARCHAR) AS instance_url,
                   COALESCE(expected, 0) AS instances,
                   CAST(to_json({{expected: expected, place: place}}) AS VARCHAR) AS shown
            FROM compared
            WHERE found = 0 AND COALESCE(expected, 1) > 0 AND NOT by_object AND {self._condition()}"""

    def checked(self) -> str:
        """The series of the catalog."""
        return f"SELECT count(*) FROM expected_series WHERE NOT by_object AND {self._condition()}"


class CompleteStudies(ExpectationRule):
    """Every study has all series that the catalog lists for it in the cohort.

    Where the catalog has no Study Instance UIDs (a list of URLs, a folder), no study is checked.
    """

    kind: ClassVar[str] = "complete_studies"
    unit: ClassVar[Unit] = "study"
    columns: ClassVar[tuple[str, ...]] = ("expected", "found")

    def query(self) -> str:
        """The studies that lack a series."""
        return f"""
            WITH {_COMPARED}
            SELECT StudyInstanceUID AS subject, found || ' of ' || expected || ' series' AS problem,
                   * EXCLUDE (StudyInstanceUID, expected, found),
                   CAST(to_json({{expected: expected, found: found}}) AS VARCHAR) AS shown
            FROM (SELECT StudyInstanceUID, count(*) AS expected, count(*) FILTER (found > 0) AS found,
                         min(SeriesInstanceUID) FILTER (found = 0) AS SeriesInstanceUID,
                         min(collection_id) AS collection_id, min(Modality) AS Modality,
                         min(instance_url) AS instance_url,
                         COALESCE(sum(expected) FILTER (found = 0), 0)::BIGINT AS instances
                  FROM compared WHERE StudyInstanceUID IS NOT NULL AND {self._condition()}
                  GROUP BY StudyInstanceUID)
            WHERE found < expected"""

    def checked(self) -> str:
        """The studies of the catalog."""
        return f"SELECT count(DISTINCT StudyInstanceUID) FROM expected_series WHERE {self._condition()}"


class Failures(QueryRule):
    """Every object could be harvested: `failures` is empty.

    `reasons` lists the failure reasons that count; without it all do.
    """

    kind: ClassVar[str] = "failures"
    unit: ClassVar[Unit] = "object"
    columns: ClassVar[tuple[str, ...]] = ("reason", "status", "attempts")

    severity: Severity = "error"
    reasons: Texts = ()

    def query(self) -> str:
        """The objects and series that failed."""
        return f"""
            SELECT instance_url AS subject, reason || ': ' || left(message, 300) AS problem,
                   SeriesInstanceUID, collection_id, Modality, instance_url, 1 AS instances,
                   CAST(to_json({{reason: reason, status: status, attempts: attempts}}) AS VARCHAR) AS shown
            FROM failures WHERE {self._condition()}"""

    def checked(self) -> str:
        """All objects, harvested or failed."""
        return f"""SELECT COALESCE((SELECT sum(alike) FROM ({self.alike()})), 0) + count(*)
                   FROM failures WHERE {self._condition()}"""

    def _condition(self) -> str:
        names = {"Modality": self.modality, "collection_id": self.collection_id, "reason": self.reasons}
        return conditions(names)
