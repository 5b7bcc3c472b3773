"""The base classes of rules: their parameters, and the SQL query that finds violations."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, Literal, Self

import duckdb
import pyarrow as pa
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from harvester.audits.rules.threshold import Threshold
from harvester.audits.shared_values import SHARED, alike
from harvester.audits.survey import Survey
from harvester.audits.vocabulary import Severity, attribute_of, uid_of
from harvester.catalog.database import identifier, literal
from harvester.query import attributes_in, run_query

Unit = Literal["instance", "series", "study", "object", "row"]

STANDARD_COLUMNS: Final = (
    "subject",
    "problem",
    "SeriesInstanceUID",
    "collection_id",
    "Modality",
    "instance_url",
    "instances",
    "shown",
)
"""The columns of a rule's query: `subject` is what the finding is about, `instances` how many of its
instances have the problem, `instance_url` one of them, and `shown` some values of that one as JSON."""


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else (value,) if isinstance(value, str) else value


def _keywords(value: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(attribute_of(name).keyword for name in value)


Texts = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]
Keywords = Annotated[tuple[str, ...], BeforeValidator(_as_tuple), AfterValidator(_keywords)]


@dataclass(frozen=True, slots=True)
class AuditContext:
    """What an audit has besides the views of the dataset.

    Attributes:
        expected_known: Whether a catalog or a plan lists the expected series (`expected_series`); then
            `found_series` counts the instances of each.
        unread_directories: Why TIFF directories were not read; None: they were (`tiff_directories`).
    """

    expected_known: bool = False
    unread_directories: str | None = None


@dataclass(frozen=True, slots=True)
class AuditDatabase:
    """The open dataset that rules query.

    Attributes:
        connection: The dataset.
        memory: Its memory limit.
        survey: Which instances there are, and where some violate rules.
    """

    connection: duckdb.DuckDBPyConnection
    memory: str
    survey: Survey

    def findings(self, query: str, attributes: Iterable[str] = ()) -> Iterator[pa.RecordBatch]:
        """Run a query that returns `STANDARD_COLUMNS`; findings with the most instances come first.

        Args:
            query: The query.
            attributes: Keywords of columns that it reads, NULL where the dataset lacks them.
        """
        sql = f"""SELECT {", ".join(STANDARD_COLUMNS)} FROM ({query}) AS found
                  ORDER BY instances DESC, subject, problem"""
        return run_query(self.connection, sql, attributes=attributes).batches()


class Rule(BaseModel, ABC):
    """A rule with its parameters, immutable and validated by pydantic.

    The parameters of every rule limit it to some objects: `Modality`, `SOPClassUID` (a UID or its keyword,
    such as `CTImageStorage`), `collection_id`, or `where`, an SQL condition on `instances`. `name` is its
    name in the findings, for a rule that is used twice; `description` is what a reader is shown;
    `severity` is `info`, `warning` or `error`. Up to `at_most` violations (a count, or a share such as
    "1%") are tolerated; from `warn_at` on these are a warning.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: ClassVar[str]
    unit: ClassVar[Unit] = "instance"
    columns: ClassVar[tuple[str, ...]] = ()

    name: str = Field(default="", max_length=100)
    description: str = Field(default="", max_length=500)
    severity: Severity = "error"
    at_most: Threshold | None = None
    warn_at: Threshold | None = None
    modality: Texts = Field(default=(), alias="Modality")
    sop_class_uid: Texts = Field(default=(), alias="SOPClassUID")
    collection_id: Texts = ()
    where: str | None = Field(default=None, min_length=1)

    @field_validator("sop_class_uid")
    @classmethod
    def _check_classes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(uid_of(one, "SOP Class") for one in value)

    @model_validator(mode="after")
    def _check_thresholds(self) -> Self:
        if self.warn_at is not None and (self.at_most is None or self.severity != "error"):
            raise ValueError("warn_at: needs at_most and severity = 'error', which is given above at_most")
        return self

    @property
    def label(self) -> str:
        """Its name in the findings."""
        return self.name or self.kind

    @property
    def title(self) -> str:
        """Its description, else the first sentence of its docstring."""
        return self.description or (type(self).__doc__ or "").split("\n\n")[0].replace("\n    ", " ").strip()

    def skip_reason(self, context: AuditContext) -> str | None:
        """Why the rule cannot run in this audit; None if it can."""
        del context
        return None

    def nothing_checked(self) -> str:
        """Why the rule checked nothing, when it ran and its count of what it checked is zero."""
        parts = {
            "Modality": self.modality,
            "SOPClassUID": self.sop_class_uid,
            "collection_id": self.collection_id,
        }
        limits = [f"{name} {' or '.join(values)}" for name, values in parts.items() if values]
        limits += [f"where {self.where}"] if self.where else []
        units = {"series": "series", "study": "studies"}.get(self.unit, f"{self.unit}s")
        text = f"checked nothing: there are no {units} that it applies to"
        return f"{text} ({'; '.join(limits)})" if limits else text

    @abstractmethod
    def batches(self, database: AuditDatabase) -> Iterator[pa.RecordBatch]:
        """The violations, in `STANDARD_COLUMNS`."""

    def shared_values(self) -> Mapping[str, str]:
        """The SQL expressions of what `alike` has and `scope` reads of instances, by name."""
        return {}

    def alike(self, condition: str | None = None) -> str:
        """The query for the instances in its scope, of which those that share values are one row.

        Args:
            condition: The SQL condition on `instances`, if it is not that of its scope.
        """
        condition = condition or self.scope()
        if self.where is None:
            return f"SELECT * FROM {SHARED} WHERE {condition}"
        return alike(self.shared_values(), condition)

    def surveyed(self, survey: Survey) -> int | None:
        """How many were checked, if the survey of all instances counted them."""
        del survey
        return None

    def own_attributes(self, sql: str) -> set[str]:
        """The attributes that SQL of the rule names by itself; what a user wrote is checked."""
        return attributes_in(sql) - attributes_in(self.where or "")

    def checked(self) -> str | None:
        """The query that counts what was checked, in the rule's unit; None if that is unknown."""
        counted = "count(DISTINCT SeriesInstanceUID)" if self.unit == "series" else "sum(alike)"
        return f"SELECT {counted} FROM ({self.alike()})"

    def severity_of(self, violations: int, checked: int | None) -> Severity | None:
        """The severity of a number of violations; None: there are none, or they are tolerated.

        Args:
            violations: How many.
            checked: Of how many; None if that is unknown.
        """
        if not violations:
            return None
        if self.at_most is None or violations > self.at_most.of(checked):
            return self.severity
        return "warning" if self.warn_at is not None and violations >= self.warn_at.of(checked) else None

    def rule_condition(self) -> str:
        """The SQL condition on `instances` that the rule itself sets."""
        return "true"

    def parameter_condition(self) -> str:
        """The SQL condition on `instances` that the parameters set."""
        names = {
            "Modality": self.modality,
            "SOPClassUID": self.sop_class_uid,
            "collection_id": self.collection_id,
        }
        return conditions(names, *((f"({self.where}\n)",) if self.where else ()))

    def scope(self) -> str:
        """The SQL condition on `instances` of the rule and of its parameters."""
        both = [one for one in (self.parameter_condition(), self.rule_condition()) if one != "true"]
        return " AND ".join(f"({one})" for one in both) or "true"


class QueryRule(Rule):
    """A rule that is one SQL query."""

    @abstractmethod
    def query(self) -> str:
        """The query that returns violations, in `STANDARD_COLUMNS`."""

    def batches(self, database: AuditDatabase) -> Iterator[pa.RecordBatch]:
        """The rows of the query."""
        query = self.query()
        return database.findings(query, self.own_attributes(query))


def shown(columns: Iterable[str], first_by: str) -> str:
    """The SQL aggregate of some columns as JSON, of the first row in the order of another column."""
    fields = ", ".join(f"{literal(name)}: {identifier(name)}" for name in columns)
    aggregate = f"to_json(arg_min({{{fields}}}, {first_by}))" if fields else "NULL"
    return f"CAST({aggregate} AS VARCHAR)"


def conditions(allowed: Mapping[str, Iterable[str]], *more: str) -> str:
    """The SQL condition that each column has one of its allowed values; an empty list allows all.

    Args:
        allowed: Values by column.
        more: SQL conditions that must hold, too.
    """
    listed = [
        f"{identifier(name)} IN ({', '.join(map(literal, values))})"
        for name, values in allowed.items()
        if values
    ]
    return " AND ".join([*listed, *more]) or "true"


def joined(cases: Iterable[tuple[str, str]], separator: str = "; ") -> str:
    """The SQL expression of all texts whose conditions hold, NULL if none does.

    Args:
        cases: Pairs of a condition and an SQL expression of a text.
        separator: Stands between the texts.
    """
    return f"nullif({concatenated(cases, separator)}, '')"


def concatenated(cases: Iterable[tuple[str, str]], separator: str = "; ") -> str:
    """As `joined`, but an empty text if no condition holds: quicker where one always does."""
    whens = ", ".join(f"CASE WHEN {condition} THEN {text} END" for condition, text in cases)
    return f"concat_ws({literal(separator)}, {whens})"
