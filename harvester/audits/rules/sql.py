"""A rule of one's own: SQL that returns the rows that break it."""

from typing import ClassVar, Final, Self

from pydantic import Field, model_validator

from harvester.audits.rules.base import Rule, Severity, Unit
from harvester.catalog.database import identifier

_SUBJECTS: Final = ("SOPInstanceUID", "instance_url", "SeriesInstanceUID", "StudyInstanceUID")


class OwnRule(Rule):
    """The rows that `sql` returns break the rule: any SELECT over the dataset's views.

    A row is about its SOPInstanceUID, else its instance_url, SeriesInstanceUID, StudyInstanceUID or first
    column; `problem`, if it has such a column, says what is wrong; the others are shown. `expected_series`
    holds what the catalog says of each series of the cohort.
    """

    kind: ClassVar[str] = "sql"
    unit: ClassVar[Unit] = "row"

    severity: Severity = "error"
    name: str = Field(min_length=1, max_length=100)
    sql: str = Field(min_length=1)

    @model_validator(mode="after")
    def _check_alone(self) -> Self:
        for name in ("Modality", "SOPClassUID", "collection_id", "where"):
            if getattr(self, {"Modality": "modality", "SOPClassUID": "sop_class_uid"}.get(name, name)):
                raise ValueError(f"{name} narrows built-in rules only; say it in the WHERE of sql")
        return self

    def query(self) -> str:
        """The text itself; its columns are not known before it is run."""
        return self.sql

    def checked(self) -> None:
        """Nobody knows how many rows could have been returned."""
        return


def in_standard_columns(sql: str, columns: tuple[str, ...]) -> str:
    """The query of a rule of one's own as one in `STANDARD_COLUMNS`, when its columns are known."""
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
