"""The rule that the user writes in SQL."""

from collections.abc import Iterable, Iterator
from typing import ClassVar, Final, Self

import pyarrow as pa
from pydantic import Field, model_validator

from harvester.audits.rules.base import AuditDatabase, Rule, Unit
from harvester.audits.vocabulary import Severity
from harvester.catalog.database import identifier
from harvester.query import run_query

# What identifies the subject of a row, and what the dataset knows of each.
_SUBJECTS: Final = ("SOPInstanceUID", "instance_url", "SeriesInstanceUID", "StudyInstanceUID")
_FILLED: Final = ("SeriesInstanceUID", "collection_id", "Modality")


class SqlRule(Rule):
    """The rows that `sql`, a SELECT over the views of the dataset, returns are the violations.

    The subject of a row is its SOPInstanceUID, else its instance_url, SeriesInstanceUID, StudyInstanceUID
    or first column; collection, modality, series and URL come from the instances of the subject where the
    row has none. A column `problem` describes the violation; the other columns are shown. `of` is a SELECT
    of one number: how many were checked. `expected_series` has one row per series of the catalog.
    """

    kind: ClassVar[str] = "sql"
    unit: ClassVar[Unit] = "row"

    severity: Severity = "error"
    name: str = Field(min_length=1, max_length=100)
    sql: str = Field(min_length=1)
    of: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _check_parameters(self) -> Self:
        for name in ("Modality", "SOPClassUID", "collection_id", "where"):
            if getattr(self, {"Modality": "modality", "SOPClassUID": "sop_class_uid"}.get(name, name)):
                raise ValueError(f"{name} limits built-in rules only; write it into the WHERE of sql")
        for name in ("at_most", "warn_at"):
            limit = getattr(self, name)
            if limit is not None and limit.percent and self.of is None:
                raise ValueError(f"{name}: a share needs `of`, a SELECT of how many were checked")
        return self

    @property
    def title(self) -> str:
        """Its description."""
        return self.description or "its SQL returns no row"

    def batches(self, database: AuditDatabase) -> Iterator[pa.RecordBatch]:
        """The rows of the SQL."""
        columns = run_query(database.connection, self.sql).columns
        return database.findings(_in_standard_columns(self.sql, columns))

    def own_attributes(self, sql: str) -> set[str]:
        """None: all of its SQL is the user's."""
        del sql
        return set()

    def checked(self) -> str | None:
        """`of`; None: unknown."""
        return self.of


def _in_standard_columns(sql: str, columns: Iterable[str]) -> str:
    """Adapt a query with the given result columns to `STANDARD_COLUMNS`."""
    columns = tuple(dict.fromkeys(columns))
    named = {column.lower(): column for column in columns}
    key = next((one for one in _SUBJECTS if one.lower() in named), None)

    def column(name: str) -> str:
        own = named.get(name.lower())
        values = [] if own is None else [f"CAST(returned.{identifier(own)} AS VARCHAR)"]
        values += [] if key is None or key == name else [f"known.{name}"]
        return f"COALESCE({', '.join([*values, 'NULL'])}) AS {name}"

    problem = named.get("problem")
    description = "''" if problem is None else f"CAST(returned.{identifier(problem)} AS VARCHAR)"
    subject = f"CAST(returned.{identifier(named[key.lower()] if key else columns[0])} AS VARCHAR)"
    joined = f" LEFT JOIN known ON {subject} = known.{key}" if key else ""
    row = ", ".join(f"{identifier(one)} := returned.{identifier(one)}" for one in columns)
    return f"""
        WITH returned AS MATERIALIZED ({sql.rstrip().rstrip(";")}
        ){_known(key, named)}
        SELECT COALESCE({subject}, 'NULL') AS subject,
               {description} AS problem,
               {", ".join(map(column, (*_FILLED, "instance_url")))}, 1 AS instances,
               left(CAST(to_json(struct_pack({row})) AS VARCHAR), 4000) AS shown
        FROM returned{joined}"""


def _known(key: str | None, named: dict[str, str]) -> str:
    """What the instances of each subject have in common, and the first URL."""
    if key is None:
        return ""
    same = ", ".join(
        f"CASE WHEN min({name}) = max({name}) THEN min({name}) END AS {name}"
        for name in _FILLED
        if name != key
    )
    url = "" if key == "instance_url" else ", min(instance_url) AS instance_url"
    return f""", known AS (
            SELECT {key}, {same}{url} FROM instances
            WHERE {key} IN (SELECT CAST({identifier(named[key.lower()])} AS VARCHAR) FROM returned)
            GROUP BY {key})"""
