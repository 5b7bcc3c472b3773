"""Two audits compared: which findings are new, which are gone, which are still there."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from harvester.audits.findings import FINDING_COLUMNS, Finding
from harvester.audits.run import AUDITS, FINDINGS, file_name
from harvester.dataset import Dataset
from harvester.dataset.bucket import BucketAddress, BucketStorage
from harvester.dataset.bucket.address import is_bucket_address
from harvester.errors import ConfigError

LATEST: Final = "latest"
"""What stands for the audit of the same name that was made last."""

_MOST_EXAMPLES: Final = 100


@dataclass(frozen=True, slots=True)
class RuleChange:
    """What changed of one rule.

    Attributes:
        rule: What findings call it.
        severity: Of the new findings; of the old ones, where there are no new ones.
        new: How many findings there were not before.
        gone: How many there are no more.
        still: How many there were before, too.
        examples: Some of the new ones.
    """

    rule: str
    severity: str
    new: int
    gone: int
    still: int
    examples: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """One audit beside an earlier one: a finding is the same if rule, subject and problem are.

    Attributes:
        against: The earlier one's findings.
        changes: By rule, in alphabetical order.
    """

    against: str
    changes: tuple[RuleChange, ...]

    @property
    def new(self) -> int:
        """How many findings are new."""
        return sum(change.new for change in self.changes)

    @property
    def gone(self) -> int:
        """How many are gone."""
        return sum(change.gone for change in self.changes)

    @property
    def still(self) -> int:
        """How many are still there."""
        return sum(change.still for change in self.changes)


@dataclass(frozen=True, slots=True)
class EarlierAudit:
    """The findings that an audit is compared with.

    Attributes:
        name: Where they are from.
        findings: They themselves.
    """

    name: str
    findings: pa.Table


def find_earlier(given: str, dataset: str, name: str) -> EarlierAudit:
    """Read the findings that an audit is to be compared with, before it adds its own.

    Args:
        given: A file, a folder that holds one, either here or in a bucket, or `latest`.
        dataset: Of the audit that is about to be made.
        name: Of that audit.

    Raises:
        ConfigError: There are none, or they are no findings.
        DatasetError: The dataset, or the bucket, cannot be read.
    """
    if given == LATEST:
        opened = Dataset.open(dataset)
        ending = f"Z-{file_name(name)}/{FINDINGS}"
        known = sorted(path for path in opened.storage.list_files(AUDITS) if path.endswith(ending))
        if not known:
            raise ConfigError(f"--against latest: {dataset} has no earlier audit called {name!r}")
        return EarlierAudit(known[-1], read_findings(opened.storage.read(known[-1]), known[-1]))
    if is_bucket_address(given):
        return _in_bucket(BucketAddress.parse(given))
    path = Path(given)
    found = path / FINDINGS if path.is_dir() else path
    try:
        return EarlierAudit(str(found), read_findings(found.read_bytes(), given))
    except OSError as error:
        raise ConfigError(f"--against {given}: {found} cannot be read ({error.strerror or error})") from None


def _in_bucket(address: BucketAddress) -> EarlierAudit:
    folder, _, name = address.prefix.rpartition("/")
    if not name.endswith(".parquet"):
        folder, name = address.prefix, FINDINGS
    storage = BucketStorage.open(replace(address, prefix=folder).location)
    return EarlierAudit(storage.location_of(name), read_findings(storage.read(name), name))


def read_findings(content: bytes, name: str) -> pa.Table:
    """Read a file of findings.

    Args:
        content: The file's.
        name: What messages call it.

    Raises:
        ConfigError: It is none.
    """
    try:
        return pq.read_table(pa.BufferReader(content)).select(FINDING_COLUMNS.names).cast(FINDING_COLUMNS)
    except (pa.ArrowException, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"{name}: is no file of an audit's findings ({reason})") from None


def compare(findings: pa.Table, earlier: EarlierAudit, examples: int = 5) -> Comparison:
    """Compare the findings of two audits.

    Args:
        findings: The later one's.
        earlier: The earlier one.
        examples: How many of a rule's new findings are shown.
    """
    key = "rule, subject, problem"
    pairs = ", ".join(f"now.{name} AS {name}" for name in FINDING_COLUMNS.names)
    with duckdb.connect(config={"memory_limit": "2GB"}) as connection:
        connection.register("now", findings)
        connection.register("earlier", earlier.findings)
        rows = connection.execute(f"""
            SELECT rule, COALESCE(max(now.severity), max(earlier.severity)),
                   count(*) FILTER (earlier.severity IS NULL), count(*) FILTER (now.severity IS NULL),
                   count(*) FILTER (now.severity IS NOT NULL AND earlier.severity IS NOT NULL)
            FROM now FULL JOIN earlier USING ({key}) GROUP BY rule ORDER BY rule""").fetchall()
        new = connection.execute(f"""
            SELECT {pairs} FROM now ANTI JOIN earlier USING ({key})
            QUALIFY row_number() OVER (PARTITION BY rule ORDER BY instances DESC, subject, problem)
                    <= {min(examples, _MOST_EXAMPLES)} ORDER BY rule, instances DESC, subject, problem
            """).to_arrow_table()
    shown = new.to_pylist()
    return Comparison(
        earlier.name,
        tuple(
            RuleChange(
                rule,
                severity,
                new_ones,
                gone,
                still,
                tuple(Finding.of(one) for one in shown if one["rule"] == rule),
            )
            for rule, severity, new_ones, gone, still in rows
        ),
    )
