"""Runs an audit: the rules' queries over a dataset, one after the other, and their findings into a file."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from harvester.audits.cohort import EXPECTED, Cohort, read_cohort
from harvester.audits.config import AuditConfig
from harvester.audits.findings import MOST_FINDINGS, Finding, FindingsWriter, RuleOutcome, findings_file
from harvester.audits.rules.base import SEVERITIES, STANDARD_COLUMNS, AuditContext, Rule
from harvester.audits.rules.completeness import FOUND_SERIES, CountedRule
from harvester.audits.rules.encoding import DualPersonality
from harvester.audits.rules.sql import OwnRule, in_standard_columns
from harvester.audits.tiff_directories import DIRECTORIES, read_directories
from harvester.dataset import Dataset
from harvester.dataset.paths import PRIVATE
from harvester.errors import ConfigError, QueryError
from harvester.query import DatabaseOptions, open_dataset, run_query

AUDITS: Final = f"{PRIVATE}/audits"
FINDINGS: Final = "findings.parquet"
RECORD: Final = "audit.json"


@dataclass(frozen=True, slots=True)
class CohortSize:
    """How much an audit looked at."""

    collections: int
    studies: int
    series: int
    instances: int
    bytes: int


@dataclass(frozen=True, slots=True)
class AuditResult:
    """What an audit found.

    Attributes:
        name: The configuration's.
        dataset: Where its rows are.
        folder: Where in the dataset its findings are kept.
        findings: The address of the findings' file.
        started_at: When, with its zone.
        seconds: What it took, without a harvest.
        fail_on: The least severity that counts; `never`: none does.
        cohort: How much it looked at.
        outcomes: What became of each rule.
    """

    name: str
    dataset: str
    folder: str
    findings: str
    started_at: datetime
    seconds: float
    fail_on: str
    cohort: CohortSize
    outcomes: tuple[RuleOutcome, ...] = field(repr=False)

    def table(self) -> pa.Table:
        """The findings, read back.

        Raises:
            DatasetError: They cannot be read.
        """
        content = Dataset.open(self.dataset).storage.read(f"{self.folder}/{FINDINGS}")
        return pq.read_table(pa.BufferReader(content))

    def keep(self, record: bytes) -> None:
        """Write a record of the audit beside its findings.

        Raises:
            DatasetError: It cannot be written.
        """
        with Dataset.open(self.dataset).storage.write(f"{self.folder}/{RECORD}") as stream:
            stream.write(record)

    def counts(self, severity: str) -> bool:
        """Whether a finding of this severity makes the audit fail."""
        return self.fail_on != "never" and SEVERITIES.index(severity) >= SEVERITIES.index(self.fail_on)

    @property
    def failed(self) -> bool:
        """Whether a rule that counts is broken."""
        return any(one.findings and self.counts(one.severity) for one in self.outcomes)


def run_audit(config: AuditConfig, begin: Callable[[str], None] = lambda _: None) -> AuditResult:
    """Check every rule of an audit over its dataset, and keep the findings beside it.

    Nothing is harvested here; what is read of objects is the TIFF directories that `dual_personality` wants.

    Args:
        config: The audit.
        begin: Is told the name of each rule before it is checked.

    Raises:
        UserError: The dataset, the catalog or a rule of one's own cannot be used.
    """
    started_at, start = datetime.now(UTC), time.monotonic()
    dataset = Dataset.open(config.crawl.dataset)
    begin("the cohort")
    cohort = read_cohort(config, dataset)
    folder = f"{AUDITS}/{started_at:%Y%m%dT%H%M%S.%fZ}-{file_name(config.name)}"
    tables = {**cohort.tables, **_directories(config, dataset, cohort, begin)}
    options = DatabaseOptions(config.settings.memory, tables=tables, rows=cohort.rows, asked_often=True)
    surroundings = AuditContext(counted=cohort.counted, directories="tiff_directories" in tables)
    with (
        closing(open_dataset(dataset.location, options)) as connection,
        dataset.storage.write(f"{folder}/{FINDINGS}") as stream,
        findings_file(stream) as writer,
    ):
        if cohort.counted and any(isinstance(rule, CountedRule) for rule in config.rules):
            connection.execute(f"CREATE TABLE found_series AS {FOUND_SERIES}")
        check = _Check(config, connection, writer)
        size = check.size()
        outcomes = []
        for rule in config.rules:
            begin(rule.called)
            unmet = rule.unmet(surroundings)
            outcomes.append(RuleOutcome.of(rule, skipped=unmet) if unmet else check.rule(rule))
    return AuditResult(
        name=config.name,
        dataset=dataset.location,
        folder=folder,
        findings=dataset.storage.location_of(f"{folder}/{FINDINGS}"),
        started_at=started_at,
        seconds=time.monotonic() - start,
        fail_on=config.settings.fail_on,
        cohort=size,
        outcomes=tuple(outcomes),
    )


def _directories(
    config: AuditConfig, dataset: Dataset, cohort: Cohort, begin: Callable[[str], None]
) -> dict[str, pa.Table]:
    """The TIFF directories of a sample of the objects that have some, if a rule compares them."""
    rules = [rule for rule in config.rules if isinstance(rule, DualPersonality)]
    if not rules:
        return {}
    options = DatabaseOptions(memory=config.settings.memory, tables=cohort.tables, rows=cohort.rows)
    wanted: dict[str, tuple[str, str | None]] = {}
    with closing(open_dataset(dataset.location, options)) as connection:
        for rule in rules:
            # By a hash, so that the next audit of the same objects looks at the same ones.
            sample = f"ORDER BY hash(SOPInstanceUID) LIMIT {rule.sample}" if rule.sample else ""
            sql = f"""SELECT instance_url, etag FROM instances
                      WHERE preamble = 'tiff' AND {rule.narrowing()} {sample}"""
            for row in _rows(connection, sql, rule.called):
                url, etag = row["instance_url"], row["etag"]
                wanted[str(url)] = (str(url), None if etag is None else str(etag))
    if not wanted:
        return {"tiff_directories": DIRECTORIES.empty_table()}
    begin(f"TIFF directories of {len(wanted):,} objects")
    read = read_directories(list(wanted.values()), config.crawl.source.endpoint)
    return {} if read is None else {"tiff_directories": read}


def check_own_rules(config: AuditConfig) -> None:
    """Refuse rules of one's own that cannot be run, before anything is harvested for them.

    Raises:
        QueryError: One of them is no query, or names what neither a dataset nor DICOM's dictionary has.
    """
    with TemporaryDirectory() as folder:
        dataset = Dataset.create(Path(folder) / "empty")
        options = DatabaseOptions(tables={"expected_series": EXPECTED.empty_table()})
        with closing(open_dataset(dataset.location, options)) as connection:
            for rule in config.rules:
                sql = rule.sql if isinstance(rule, OwnRule) else None
                if rule.where is not None:
                    sql = f"SELECT 1 FROM instances WHERE {rule.narrowing()}"
                if sql is not None:
                    list(_rows(connection, sql, f"rule {rule.called}"))


@dataclass(frozen=True, slots=True)
class _Check:
    """One dataset under audit."""

    config: AuditConfig
    connection: duckdb.DuckDBPyConnection
    writer: FindingsWriter
    _counted: dict[str, int] = field(default_factory=dict)

    def size(self) -> CohortSize:
        """How much there is."""
        sql = """
            SELECT count(DISTINCT collection_id) AS collections, count(DISTINCT StudyInstanceUID) AS studies,
                   count(*) AS series, COALESCE(sum(instances), 0)::BIGINT AS instances,
                   COALESCE(sum(bytes), 0)::BIGINT AS bytes
            FROM (SELECT any_value(collection_id) AS collection_id,
                         any_value(StudyInstanceUID) AS StudyInstanceUID, count(*) AS instances,
                         sum(instance_size) AS bytes
                  FROM instances GROUP BY SeriesInstanceUID)"""
        (row,) = _rows(self.connection, sql, "the cohort")
        return CohortSize(**row)  # type: ignore[arg-type]

    def rule(self, rule: Rule) -> RuleOutcome:
        """Check one rule.

        Raises:
            QueryError: Its SQL cannot be run.
        """
        start = time.monotonic()
        try:
            sql = f"SELECT {', '.join(STANDARD_COLUMNS)} FROM ({self._query(rule)}) AS found"
            outcome = self._find(rule, f"{sql} ORDER BY instances DESC, subject, problem")
            checked = rule.checked()
            if checked is not None:
                outcome = replace(outcome, checked=self._count(checked))
        except QueryError as error:
            raise QueryError(f"rule {rule.called}: {error}") from error
        return replace(outcome, seconds=time.monotonic() - start)

    def _query(self, rule: Rule) -> str:
        if not isinstance(rule, OwnRule):
            return rule.query()
        return in_standard_columns(rule.sql, run_query(self.connection, rule.sql).columns)

    def _find(self, rule: Rule, sql: str) -> RuleOutcome:
        examples: list[Finding] = []
        findings = violations = 0
        for batch in run_query(self.connection, sql).batches():
            if len(examples) < self.config.settings.examples:
                some = batch.slice(0, self.config.settings.examples - len(examples))
                examples += map(Finding.of, some.to_pylist())
            if findings < MOST_FINDINGS:
                self.writer.write(rule, batch.slice(0, MOST_FINDINGS - findings))
            findings += batch.num_rows
            violations += (
                sum(batch.column("instances").to_pylist()) if rule.unit == "instance" else batch.num_rows
            )
        return replace(
            RuleOutcome.of(rule), violations=violations, findings=findings, examples=tuple(examples)
        )

    def _count(self, sql: str) -> int:
        if sql not in self._counted:
            ((row),) = _rows(self.connection, sql, "how much was checked")
            self._counted[sql] = int(next(iter(row.values())))  # type: ignore[call-overload]
        return self._counted[sql]


def _rows(connection: duckdb.DuckDBPyConnection, sql: str, what: str) -> Iterator[dict[str, object]]:
    try:
        for batch in run_query(connection, sql).batches():
            yield from batch.to_pylist()
    except QueryError as error:
        raise QueryError(f"{what}: {error}") from error


def file_name(name: str) -> str:
    """A name as a part of a file's: what a configuration is called can hold anything."""
    kept = "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in "-_") else "_" for letter in name
    )
    if not kept:
        raise ConfigError("an audit needs a name")
    return kept[:60]
