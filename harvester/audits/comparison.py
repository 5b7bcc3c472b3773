"""Comparison of two audits: which findings are new, gone, or still there."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from harvester.audits.findings import FINDING_COLUMNS, Finding
from harvester.audits.run import AUDITS, FINDINGS, file_name
from harvester.catalog.database import in_memory
from harvester.dataset import Dataset
from harvester.dataset.bucket import BucketAddress, BucketStorage
from harvester.dataset.bucket.address import is_bucket_address
from harvester.dataset.paths import is_owned
from harvester.errors import ConfigError
from harvester.messages import one_line

LATEST: Final = "latest"
"""Stands for the latest audit of the same name."""

_MAX_EXAMPLES: Final = 100


@dataclass(frozen=True, slots=True)
class RuleChange:
    """The changes of one rule.

    Attributes:
        rule: Its name in the findings.
        severity: Of the new findings, else of the old ones.
        new: Count of findings that the previous audit does not have.
        gone: Count of findings that only the previous audit has.
        still: Count of findings that both have.
        examples: Some of the new findings.
    """

    rule: str
    severity: str
    new: int
    gone: int
    still: int
    examples: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """An audit compared with a previous one; findings are equal if rule, subject and problem are.

    Attributes:
        against: The previous findings.
        changes: By rule, in alphabetical order.
    """

    against: str
    changes: tuple[RuleChange, ...]

    @property
    def new(self) -> int:
        """Count of new findings."""
        return sum(change.new for change in self.changes)

    @property
    def gone(self) -> int:
        """Count of findings that are gone."""
        return sum(change.gone for change in self.changes)

    @property
    def still(self) -> int:
        """Count of findings that are still there."""
        return sum(change.still for change in self.changes)


@dataclass(frozen=True, slots=True)
class PreviousAudit:
    """The findings to compare with, and where they come from."""

    name: str
    findings: pa.Table


def read_previous(given: str, dataset: str, name: str) -> PreviousAudit:
    """Read the findings of a previous audit, before the next audit adds its own.

    Args:
        given: A file, a folder that holds one, on disk or in a bucket, or `latest`.
        dataset: The dataset of the next audit.
        name: The name of the next audit.

    Raises:
        ConfigError: There are no such findings, or the file holds none.
        DatasetError: The dataset or the bucket cannot be read.
    """
    if given == LATEST:
        opened = Dataset.open(dataset)
        ending = f"Z-{file_name(name)}/{FINDINGS}"
        known = sorted(
            path for path in opened.storage.list_files(AUDITS) if path.endswith(ending) and is_owned(path)
        )
        if not known:
            raise ConfigError(f"--against latest: {dataset} has no earlier audit called {name!r}")
        content = opened.storage.read(known[-1])
        return PreviousAudit(opened.storage.location_of(known[-1]), read_findings(content, known[-1]))
    if is_bucket_address(given):
        return _in_bucket(BucketAddress.parse(given))
    path = Path(given)
    found = path / FINDINGS if path.is_dir() else path
    try:
        return PreviousAudit(str(found), read_findings(found.read_bytes(), given))
    except OSError as error:
        raise ConfigError(f"--against {given}: {found} cannot be read ({error.strerror or error})") from None


def _in_bucket(address: BucketAddress) -> PreviousAudit:
    folder, _, name = address.prefix.rpartition("/")
    if not name.endswith(".parquet"):
        folder, name = address.prefix, FINDINGS
    storage = BucketStorage.open(replace(address, prefix=folder).location)
    return PreviousAudit(storage.location_of(name), read_findings(storage.read(name), name))


def read_findings(content: bytes, name: str) -> pa.Table:
    """Read a findings file.

    Args:
        content: The content of the file.
        name: Its name in messages.

    Raises:
        ConfigError: It is not a findings file.
    """
    try:
        return pq.read_table(pa.BufferReader(content)).select(FINDING_COLUMNS.names).cast(FINDING_COLUMNS)
    except (pa.ArrowException, KeyError) as error:
        reason = one_line(str(error))[:200]
        raise ConfigError(f"{name}: is not a findings file of an audit ({reason})") from None


def compare(findings: pa.Table, previous: PreviousAudit, examples: int = 5) -> Comparison:
    """Compare the findings of two audits.

    Args:
        findings: Those of the later audit.
        previous: Those of the previous audit.
        examples: How many new findings per rule are returned.
    """
    key = "rule, subject, problem"
    pairs = ", ".join(f"now.{name} AS {name}" for name in FINDING_COLUMNS.names)
    with in_memory(memory_limit="2GB") as connection:
        connection.register("now", findings)
        connection.register("previous", previous.findings)
        rows = connection.execute(f"""
            SELECT rule, COALESCE(max(now.severity), max(previous.severity)),
                   count(*) FILTER (previous.severity IS NULL), count(*) FILTER (now.severity IS NULL),
                   count(*) FILTER (now.severity IS NOT NULL AND previous.severity IS NOT NULL)
            FROM now FULL JOIN previous USING ({key}) GROUP BY rule ORDER BY rule""").fetchall()
        added = connection.sql(f"""
            SELECT {pairs} FROM now ANTI JOIN previous USING ({key})
            QUALIFY row_number() OVER (PARTITION BY rule ORDER BY instances DESC, subject, problem)
                    <= {min(examples, _MAX_EXAMPLES)} ORDER BY rule, instances DESC, subject, problem
            """).to_arrow_table()
    shown: dict[str, list[Finding]] = {}
    for row in added.to_pylist():
        shown.setdefault(row["rule"], []).append(Finding.from_row(row))
    return Comparison(
        previous.name,
        tuple(
            RuleChange(rule, severity, new, gone, still, tuple(shown.get(rule, ())))
            for rule, severity, new, gone, still in rows
        ),
    )
