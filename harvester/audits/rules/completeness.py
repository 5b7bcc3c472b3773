"""Rules on what is there at all: each instance once, each series and study whole, nothing that failed."""

from typing import ClassVar, Final

from harvester.audits.rules.base import AuditContext, Rule, Severity, Unit, shown
from harvester.catalog.database import literal

_COUNTED: Final = "neither [select] nor a plan in the dataset says which series there should be"

FOUND_SERIES: Final = """
    SELECT crdc_series_uuid, SeriesInstanceUID, count(*) AS found, min(instance_url) AS instance_url
    FROM instances GROUP BY ALL"""
"""The query of the table `found_series`: what there is of each series, for all rules at once."""

# By CRDC's UUID, where there is one: a revised series keeps its UID and gets another UUID.
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


class UniqueInstances(Rule):
    """No SOP Instance UID occurs more than once: it names one instance in all the world (PS3.5 9)."""

    kind: ClassVar[str] = "unique_instances"
    columns: ClassVar[tuple[str, ...]] = ("SOPInstanceUID", "etag")

    def query(self) -> str:
        """The UIDs that occur twice; by their hashes first, which take a tenth of the memory."""
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


class CountedRule(Rule):
    """A rule that holds the dataset against what the catalog counts."""

    def unmet(self, surroundings: AuditContext) -> str | None:
        """Without a catalog there is nothing to hold it against."""
        return None if surroundings.counted else _COUNTED

    def _narrowing(self) -> str:
        """The conditions that make sense of a series that may not be there."""
        return (
            " AND ".join(
                [
                    *(_any("Modality", self.modality) if self.modality else ()),
                    *(_any("collection_id", self.collection_id) if self.collection_id else ()),
                ]
            )
            or "true"
        )


def _any(name: str, values: tuple[str, ...]) -> tuple[str]:
    return (f"{name} IN ({', '.join(map(literal, values))})",)


class CompleteSeries(CountedRule):
    """Every series has as many instances as the catalog counts (`instanceCount`).

    The catalog is that of `[select]`, else what the dataset's crawls planned, as their catalog had it.
    More instances than counted are a finding, too: the catalog is of another release, or objects lie
    where they should not.
    """

    kind: ClassVar[str] = "complete_series"
    unit: ClassVar[Unit] = "series"
    columns: ClassVar[tuple[str, ...]] = ("expected", "found")

    def query(self) -> str:
        """The series of which some instances are there, but not as many as there should be."""
        return f"""
            WITH {_COMPARED}
            SELECT COALESCE(SeriesInstanceUID, series_key) AS subject,
                   found || ' of ' || expected || ' instances' AS problem, SeriesInstanceUID, collection_id,
                   Modality, instance_url, abs(expected - found) AS instances,
                   CAST(to_json({{expected: expected, found: found}}) AS VARCHAR) AS shown
            FROM compared WHERE found > 0 AND found <> expected AND {self._narrowing()}"""

    def checked(self) -> str:
        """How many series the catalog counts the instances of."""
        return f"SELECT count(expected) FROM expected_series WHERE {self._narrowing()}"


class MissingSeries(CountedRule):
    """Every series of the catalog is there, with at least one instance."""

    kind: ClassVar[str] = "missing_series"
    unit: ClassVar[Unit] = "series"
    columns: ClassVar[tuple[str, ...]] = ("expected", "place")

    def query(self) -> str:
        """The series of which nothing is there."""
        return f"""
            WITH {_COMPARED}
            SELECT COALESCE(SeriesInstanceUID, series_key) AS subject, 'no instance is there' AS problem,
                   SeriesInstanceUID, collection_id, Modality, CAST(NULL AS VARCHAR) AS instance_url,
                   COALESCE(expected, 0) AS instances,
                   CAST(to_json({{expected: expected, place: place}}) AS VARCHAR) AS shown
            FROM compared
            WHERE found = 0 AND COALESCE(expected, 1) > 0 AND NOT by_object AND {self._narrowing()}"""

    def checked(self) -> str:
        """How many series the catalog names."""
        return f"SELECT count(*) FROM expected_series WHERE NOT by_object AND {self._narrowing()}"


class CompleteStudies(CountedRule):
    """Every study has all the series that the catalog has of it in the cohort.

    Where the catalog has no Study Instance UIDs (a list of addresses, a folder), no study is checked.
    """

    kind: ClassVar[str] = "complete_studies"
    unit: ClassVar[Unit] = "study"
    columns: ClassVar[tuple[str, ...]] = ("expected", "found")

    def query(self) -> str:
        """The studies of which a series is missing."""
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
                  FROM compared WHERE StudyInstanceUID IS NOT NULL AND {self._narrowing()}
                  GROUP BY StudyInstanceUID)
            WHERE found < expected"""

    def checked(self) -> str:
        """How many studies the catalog has."""
        return f"SELECT count(DISTINCT StudyInstanceUID) FROM expected_series WHERE {self._narrowing()}"


class Failures(Rule):
    """Every object could be harvested: none is in `failures`.

    `reasons` are those that count; without them all do.
    """

    kind: ClassVar[str] = "failures"
    unit: ClassVar[Unit] = "object"
    columns: ClassVar[tuple[str, ...]] = ("reason", "status", "attempts")

    severity: Severity = "error"
    reasons: tuple[str, ...] = ()

    def query(self) -> str:
        """The objects and series that failed."""
        return f"""
            SELECT instance_url AS subject, reason || ': ' || left(message, 300) AS problem,
                   SeriesInstanceUID, collection_id, Modality, instance_url, 1 AS instances,
                   CAST(to_json({{reason: reason, status: status, attempts: attempts}}) AS VARCHAR) AS shown
            FROM failures WHERE {self._condition()}"""

    def checked(self) -> str:
        """All objects that were tried."""
        return f"""SELECT (SELECT count(*) FROM instances WHERE {self.scope()}) + count(*)
                   FROM failures WHERE {self._condition()}"""

    def _condition(self) -> str:
        columns = {"Modality": self.modality, "collection_id": self.collection_id, "reason": self.reasons}
        return " AND ".join(_any(name, some)[0] for name, some in columns.items() if some) or "true"
