"""What every rule of an audit is: its parameters, and the one SQL query that finds what breaks it."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from harvester.audits.vocabulary import uid_of
from harvester.catalog.database import identifier, literal

Severity = Literal["info", "warning", "error"]
SEVERITIES: Final[tuple[Severity, ...]] = get_args(Severity)
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
"""What a rule's query returns: `subject` is what the finding is about, `instances` how many of its
instances have the problem, `instance_url` one of them, `shown` that one's values as JSON."""


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else (value,) if isinstance(value, str) else value


Texts = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]


@dataclass(frozen=True, slots=True)
class AuditContext:
    """What rules can ask besides the dataset's own views.

    Attributes:
        counted: Whether a catalog or a plan says which series there should be (`expected_series`); then
            `found_series` says what there is of them.
        directories: Whether TIFF directories were read (`tiff_directories`).
    """

    counted: bool = False
    directories: bool = False


class Rule(BaseModel, ABC):
    """One rule with its parameters: frozen, and typed by pydantic.

    Every rule can be narrowed to some objects: by `Modality`, `SOPClassUID` (a UID or its keyword, such
    as `CTImageStorage`), `collection_id`, or `where`, an SQL condition on `instances`. `name` is what
    findings call it, for a rule that is used twice; `severity` is `info`, `warning` or `error`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: ClassVar[str]
    unit: ClassVar[Unit] = "instance"
    columns: ClassVar[tuple[str, ...]] = ()

    name: str = Field(default="", max_length=100)
    severity: Severity = "error"
    modality: Texts = Field(default=(), alias="Modality")
    sop_class_uid: Texts = Field(default=(), alias="SOPClassUID")
    collection_id: Texts = ()
    where: str | None = Field(default=None, min_length=1)

    @field_validator("sop_class_uid")
    @classmethod
    def _check_classes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(uid_of(one, "SOP Class") for one in value)

    @property
    def called(self) -> str:
        """What findings call it."""
        return self.name or self.kind

    @property
    def title(self) -> str:
        """Its first sentence."""
        return (type(self).__doc__ or "").split("\n\n")[0].replace("\n    ", " ").strip()

    def unmet(self, surroundings: AuditContext) -> str | None:
        """Why the rule cannot be checked here; None if it can."""
        del surroundings
        return None

    @abstractmethod
    def query(self) -> str:
        """The query that returns what breaks the rule, in `STANDARD_COLUMNS`."""

    def checked(self) -> str | None:
        """The query that counts what was checked, in the rule's unit; None if there is no saying."""
        rows = f"FROM instances WHERE {self.scope()}"
        if self.unit == "series":
            return f"SELECT count(*) FROM (SELECT 1 {rows} GROUP BY SeriesInstanceUID)"
        return f"SELECT count(*) {rows}"

    def applies(self) -> str:
        """The SQL condition that the rule itself puts on the instances that it looks at."""
        return "true"

    def scope(self) -> str:
        """The SQL condition on the instances that the rule looks at, its parameters included."""
        conditions = [one for one in (self.narrowing(), self.applies()) if one != "true"]
        return " AND ".join(f"({one})" for one in conditions) or "true"

    def narrowing(self) -> str:
        """The SQL condition that its parameters alone make."""
        conditions = [
            *(one_of(name, values) for name, values in self._narrowed() if values),
            *((f"({self.where}\n)",) if self.where else ()),
        ]
        return " AND ".join(conditions) or "true"

    def _narrowed(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        return (
            ("Modality", self.modality),
            ("SOPClassUID", self.sop_class_uid),
            ("collection_id", self.collection_id),
        )


class InstanceRule(Rule):
    """A rule on single instances: their problem is one SQL expression, NULL where there is none."""

    @abstractmethod
    def problem(self) -> str:
        """The SQL expression of what is wrong with an instance; it must not tell instances apart."""

    def common(self) -> Mapping[str, str]:
        """Values that many instances of a series share, by name: a costly problem is told from these alone.

        Without them the problem is told from each instance's own columns.
        """
        return {}

    def query(self) -> str:
        """The series that have instances with a problem."""
        return f"""
            SELECT COALESCE(SeriesInstanceUID, min(instance_url)) AS subject, problem, SeriesInstanceUID,
                   any_value(collection_id) AS collection_id, any_value(Modality) AS Modality,
                   min(instance_url) AS instance_url, sum(alike)::BIGINT AS instances,
                   {shown(self.columns, "instance_url")} AS shown
            FROM (SELECT *, {self.problem()} AS problem FROM ({self._instances()}))
            WHERE problem IS NOT NULL GROUP BY SeriesInstanceUID, problem"""

    def _instances(self) -> str:
        common = self.common()
        if not common:
            return f"SELECT *, 1 AS alike FROM instances WHERE {self.scope()}"
        values = ", ".join(f"any_value({sql}) AS {identifier(name)}" for name, sql in common.items())
        # One number as the key of all of them: lists as keys take three times as long.
        return f"""
            SELECT SeriesInstanceUID, collection_id, Modality, {values},
                   min(instance_url) AS instance_url, count(*) AS alike
            FROM instances WHERE {self.scope()}
            GROUP BY SeriesInstanceUID, collection_id, Modality, hash({", ".join(common.values())})"""


def shown(columns: Iterable[str], first_by: str) -> str:
    """The SQL aggregate of some columns as JSON, of the row that is first by a column."""
    fields = ", ".join(f"{literal(name)}: {identifier(name)}" for name in columns)
    return (
        f"CAST(to_json(arg_min({{{fields}}}, {first_by})) AS VARCHAR)" if fields else "CAST(NULL AS VARCHAR)"
    )


def one_of(name: str, values: Iterable[str]) -> str:
    """The SQL condition that a column has one of some texts."""
    return f"{identifier(name)} IN ({', '.join(map(literal, values))})"


def joined(cases: Iterable[tuple[str, str]], separator: str = "; ") -> str:
    """The SQL expression of all the texts whose conditions hold, NULL where none does.

    Args:
        cases: A condition and an SQL expression of a text, each.
        separator: Stands between them.
    """
    whens = ", ".join(f"CASE WHEN {condition} THEN {text} END" for condition, text in cases)
    return f"nullif(concat_ws({literal(separator)}, {whens}), '')"
