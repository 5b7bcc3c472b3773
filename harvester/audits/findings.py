"""Findings: what an audit found, on its way into a Parquet file, and what was found of each rule."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from harvester.audits.rules.base import Rule, Severity, Unit

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
"""One row for each finding: of one rule, one subject and one problem. docs/audits.md says what they hold."""

MOST_FINDINGS: Final = 1_000_000
"""Of one rule in the file; more are counted."""

_MOST_COUNTED: Final = 100_000_000
_GROUP_ROWS: Final = 65_536


@dataclass(frozen=True, slots=True)
class Finding:
    """One of the examples that are shown; the fields are those of `FINDING_COLUMNS`."""

    subject: str
    problem: str
    collection_id: str | None
    modality: str | None
    series_instance_uid: str | None
    instance_url: str | None
    instances: int
    shown: str | None

    @classmethod
    def of(cls, row: dict[str, object]) -> "Finding":
        """A row of the findings' file."""
        names = {"modality": "Modality", "series_instance_uid": "SeriesInstanceUID"}
        return cls(**{name: row[names.get(name, name)] for name in cls.__slots__})  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class RuleOutcome:
    """What became of one rule.

    Attributes:
        name: What findings call it.
        kind: The rule.
        title: What it asks for, in a sentence.
        severity: Of its findings.
        unit: What is counted.
        checked: How many were looked at; None where nobody can say.
        violations: How many of them broke the rule.
        findings: How many rows of the findings' file that gave.
        examples: The worst ones.
        seconds: What it took.
        skipped: Why it was not checked; None if it was.
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

    @property
    def share(self) -> float | None:
        """How much of what was checked breaks the rule, from 0 to 1."""
        return min(1.0, self.violations / self.checked) if self.checked else None

    @classmethod
    def of(cls, rule: Rule, *, skipped: str | None = None) -> "RuleOutcome":
        """Nothing yet, or why not."""
        return cls(rule.called, rule.kind, rule.title, rule.severity, rule.unit, skipped=skipped)


@dataclass(slots=True)
class FindingsWriter:
    """Writes findings as they come, a rule after the other."""

    _parquet: pq.ParquetWriter
    _waiting: list[pa.RecordBatch] = field(default_factory=list)
    _rows: int = 0

    def write(self, rule: Rule, batch: pa.RecordBatch) -> None:
        """Add some rows in a rule's `STANDARD_COLUMNS`."""
        constants = {"rule": rule.called, "kind": rule.kind, "severity": rule.severity}
        arrays = [
            pa.repeat(pa.scalar(constants[name], pa.string()), batch.num_rows)
            if name in constants
            else batch.column(name).cast(FINDING_COLUMNS.field(name).type)
            for name in FINDING_COLUMNS.names
        ]
        self._waiting.append(pa.RecordBatch.from_arrays(arrays, schema=FINDING_COLUMNS))
        self._rows += batch.num_rows
        if self._rows >= _GROUP_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what has come together."""
        if self._waiting:
            self._parquet.write_table(pa.Table.from_batches(self._waiting, schema=FINDING_COLUMNS))
            self._waiting.clear()
            self._rows = 0


@contextmanager
def findings_file(stream: object) -> Iterator[FindingsWriter]:
    """A Parquet file of findings, whole when the block ends."""
    with pq.ParquetWriter(stream, FINDING_COLUMNS, compression="zstd") as parquet:
        writer = FindingsWriter(parquet)
        yield writer
        writer.flush()
