"""The rule that the user writes in SQL."""

from typing import ClassVar, Final, Self

from pydantic import Field, model_validator

from harvester.audits.rules.base import Rule, Severity, Unit
from harvester.catalog.database import identifier

_SUBJECTS: Final = ("SOPInstanceUID", "instance_url", "SeriesInstanceUID", "StudyInstanceUID")


class SqlRule(Rule):
    """The rows that `sql`, a SELECT over the views of the dataset, returns are the violations.

    The subject of a row is its SOPInstanceUID, else its instance_url, SeriesInstanceUID, StudyInstanceUID
    or first column. A column `problem` describes the violation; the other columns are shown.
    `expected_series` has one row per series of the catalog.
    """

    kind: ClassVar[str] = "sql"
    unit: ClassVar[Unit] = "row"

    severity: Severity = "error"
    name: str = Field(min_length=1, max_length=100)
    sql: str = Field(min_length=1)

    @model_validator(mode="after")
    def _check_parameters(self) -> Self:
        for name in ("Modality", "SOPClassUID", "collection_id", "where"):
            if getattr(self, {"Modality": "modality", "SOPClassUID": "sop_class_uid"}.get(name, name)):
                raise ValueError(f"{name} limits built-in rules only; write it into the WHERE of sql")
        return self

    def query(self) -> str:
        """The text itself; `in_standard_columns` adapts it once its columns are known."""
        return self.sql

    def checked(self) -> None:
        """Unknown for a query of the user."""
        return


def in_standard_columns(sql: str, columns: tuple[str, ...]) -> str:
    """Adapt a query with the given result columns to `STANDARD_COLUMNS`."""
    named = {column.lower(): column for column in columns}

    def column(name: str, kind: str = "VARCHAR", absent: str = "NULL") -> str:
        own = named.get(name.lower())
        return f"CAST({absent if own is None else identifier(own)} AS {kind}) AS {name}"

    subject = next((named[one.lower()] for one in _SUBJECTS if one.lower() in named), columns[0])
    row = ", ".join(f"{identifier(one)} := {identifier(one)}" for one in dict.fromkeys(columns))
    return f"""
        SELECT COALESCE(CAST({identifier(subject)} AS VARCHAR), 'NULL') AS subject,
               {column("problem", absent="''")}, {column("SeriesInstanceUID")}, {column("collection_id")},
               {column("Modality")}, {column("instance_url")}, 1 AS instances,
               left(CAST(to_json(struct_pack({row})) AS VARCHAR), 4000) AS shown
        FROM ({sql.rstrip().rstrip(";")}
        ) AS returned"""
