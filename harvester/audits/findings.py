"""Findings of an audit: their Parquet file, and the outcome of each rule."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from harvester.audits.rules.base import Rule, Unit
from harvester.audits.vocabulary import Severity

FINDING_COLUMNS: Final = pa.schema(
    [
        ("rule", pa.string()),
        ("kind", pa.string()),
        ("severity", pa.string()),
        ("subject", pa.string()),
        ("problem", pa.string()),
        ("collection_id", pa.string()),
        ("Modality", pa.string()),
        ("SeriesInstanceUID", pa.string()),
        ("instance_url", pa.string()),
        ("instances", pa.int64()),
        ("shown", pa.string()),
    ]
)
"""One row per rule, subject and problem; docs/audits.md describes the columns."""

MAX_FINDINGS: Final = 1_000_000
"""Limit of rows per rule in the file; more are counted only."""

_GROUP_ROWS: Final = 65_536


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding that is shown as an example; the fields are those of `FINDING_COLUMNS`."""

    subject: str
    problem: str
    collection_id: str | None = None
    modality: str | None = None
    series_instance_uid: str | None = None
    instance_url: str | None = None
    instances: int = 1
    shown: str | None = None

    @classmethod
    def from_row(cls, row: dict[str, object]) -> "Finding":
        """Read a row of the findings file."""
        names = {"modality": "Modality", "series_instance_uid": "SeriesInstanceUID"}
        return cls(**{name: row[names.get(name, name)] for name in cls.__slots__})  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class RuleOutcome:
    """The outcome of one rule.

    Attributes:
        name: Its name in the findings.
        kind: The rule.
        title: What it requires: its description.
        severity: Of its findings.
        unit: What is counted.
        checked: How many were checked; None if that is unknown.
        violations: How many of them violate the rule.
        findings: How many rows of the findings file that gave.
        examples: The findings with the most instances.
        seconds: How long it took.
        skipped: Why it was not checked; None if it was.
        level: The severity that the number of violations has; None: none, or tolerated.
        at_most: How many violations are tolerated; None: none.
    """

    name: str
    kind: str
    title: str
    severity: Severity
    unit: Unit
    checked: int | None = None
    violations: int = 0
    findings: int = 0
    examples: tuple[Finding, ...] = field(default=(), repr=False)
    seconds: float = 0.0
    skipped: str | None = None
    level: Severity | None = None
    at_most: str | None = None

    @property
    def share(self) -> float | None:
        """The share of what was checked that violates the rule, from 0 to 1; None if one has several."""
        return self.violations / self.checked if self.checked and self.violations <= self.checked else None

    @classmethod
    def of(cls, rule: Rule, *, skipped: str | None = None) -> "RuleOutcome":
        """An outcome without findings, or the reason for skipping the rule."""
        limit = None if rule.at_most is None else str(rule.at_most)
        kinds = (rule.label, rule.kind, rule.title, rule.severity, rule.unit)
        return cls(*kinds, skipped=skipped, at_most=limit)


@dataclass(slots=True)
class FindingsWriter:
    """Writes the findings of one rule after the other."""

    _parquet: pq.ParquetWriter
    _pending: list[pa.RecordBatch] = field(default_factory=list)
    _rows: int = 0

    def write(self, rule: Rule, batch: pa.RecordBatch) -> None:
        """Add rows that have the `STANDARD_COLUMNS` of a rule."""
        constants = {"rule": rule.label, "kind": rule.kind, "severity": rule.severity}
        arrays = [
            pa.repeat(pa.scalar(constants[name], pa.string()), batch.num_rows)
            if name in constants
            else batch.column(name).cast(FINDING_COLUMNS.field(name).type)
            for name in FINDING_COLUMNS.names
        ]
        self._pending.append(pa.RecordBatch.from_arrays(arrays, schema=FINDING_COLUMNS))
        self._rows += batch.num_rows
        if self._rows >= _GROUP_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write the pending rows as a row group."""
        if self._pending:
            self._parquet.write_table(pa.Table.from_batches(self._pending, schema=FINDING_COLUMNS))
            self._pending.clear()
            self._rows = 0


@contextmanager
def findings_file(stream: object) -> Iterator[FindingsWriter]:
    """Write a Parquet file of findings; it is complete when the block ends."""
    with pq.ParquetWriter(stream, FINDING_COLUMNS, compression="zstd") as parquet:
        writer = FindingsWriter(parquet)
        yield writer
        writer.flush()
