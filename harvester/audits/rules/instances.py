"""The base classes of rules on single instances: how their problems become findings of series."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping

import pyarrow as pa

from harvester.audits.rules.base import AuditDatabase, Rule, concatenated, shown
from harvester.audits.survey import Check, Survey


class InstanceRule(Rule):
    """A rule on single instances, whose findings are the problems of each series."""

    def by_series(self, instances: str) -> str:
        """The query that returns the series of instances with a problem; an instance without one is its own.

        Args:
            instances: The query that returns instances with their `problem`, and how many are `alike`.
        """
        return f"""
            SELECT COALESCE(SeriesInstanceUID, instance_url) AS subject, problem,
                   min(SeriesInstanceUID) AS SeriesInstanceUID,
                   min(collection_id) AS collection_id, min(Modality) AS Modality,
                   min(instance_url) AS instance_url, sum(alike)::BIGINT AS instances,
                   {shown(self.columns, "instance_url")} AS shown
            FROM ({instances}) GROUP BY COALESCE(SeriesInstanceUID, instance_url), problem"""


class CasesRule(InstanceRule):
    """A rule on single instances that is a list of quick conditions: all such rules share one scan."""

    @abstractmethod
    def cases(self) -> Iterable[tuple[str, str]]:
        """Pairs of an SQL condition and an SQL expression of the problem that an instance then has.

        A problem's text must not differ between instances that have the same problem, and is never NULL.
        """

    def check(self) -> Check | None:
        """What the survey of all instances checks; None: nothing, as the user wrote a part of the SQL."""
        return None if self.where else Check(self.scope(), self._violated())

    def surveyed(self, survey: Survey) -> int | None:
        """How many instances are in its scope."""
        check = self.check()
        return None if check is None else survey.checked.get(check.scope)

    def checked(self) -> str:
        """The instances in its scope."""
        return f"SELECT count(*) FROM instances WHERE {self.scope()}"

    def batches(self, database: AuditDatabase) -> Iterator[pa.RecordBatch]:
        """The series that have instances with a problem."""
        check = self.check()
        places = "true" if check is None else database.survey.places(check)
        if places is None:
            return iter(())
        query = self.by_series(f"""
            SELECT *, 1 AS alike, {concatenated(self.cases())} AS problem FROM instances
            WHERE {self.scope()} AND {places} AND ({self._violated()})""")
        return database.findings(query, self.own_attributes(query))

    def _violated(self) -> str:
        return " OR ".join(f"({condition})" for condition, _ in self.cases()) or "false"


class SharedValuesRule(InstanceRule):
    """A rule whose problem is slow to compute, from values that the instances of a series usually share."""

    @abstractmethod
    def shared_values(self) -> Mapping[str, str]:
        """The SQL expressions of these values, by name; the problem is computed once per combination."""

    @abstractmethod
    def problem(self) -> str:
        """The SQL expression of the problem, NULL if there is none."""

    def batches(self, database: AuditDatabase) -> Iterator[pa.RecordBatch]:
        """The series that have instances with a problem."""
        query = self.by_series(f"""
            SELECT * FROM (SELECT *, {self.problem()} AS problem FROM ({self.alike()}))
            WHERE problem IS NOT NULL""")
        return database.findings(query, self.own_attributes(query))


def not_in(column: str, values: Iterable[str]) -> str:
    """The SQL condition that a value is none of some constants; not true of NULL.

    DuckDB computes a function once per entry of a Parquet dictionary, the operator `NOT IN` once per row.
    """
    return f"NOT list_contains([{', '.join(values)}], {column})"
