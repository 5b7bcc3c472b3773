"""Runs an audit: the query of each rule over a dataset, and their findings into a file."""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any, BinaryIO, Final

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from harvester.audits.cohort import EXPECTED, read_cohort
from harvester.audits.config import AuditConfig
from harvester.audits.conformance.standard import type_1_attributes
from harvester.audits.findings import MAX_FINDINGS, Finding, FindingsWriter, RuleOutcome, findings_file
from harvester.audits.rules.base import AuditContext, AuditDatabase, Rule
from harvester.audits.rules.completeness import FOUND_SERIES, ExpectationRule
from harvester.audits.rules.encoding import DualPersonality
from harvester.audits.rules.instances import CasesRule
from harvester.audits.rules.selection import check_selections
from harvester.audits.rules.sql import SqlRule
from harvester.audits.rules.values import RequiredAttributes
from harvester.audits.shared_values import SHARED, all_alike
from harvester.audits.survey import Survey, survey
from harvester.audits.tiff_directories import DIRECTORIES, read_directories
from harvester.audits.vocabulary import SEVERITIES
from harvester.dataset import Dataset
from harvester.dataset.paths import PRIVATE
from harvester.dataset.runs import read_runs
from harvester.errors import ConfigError, DatasetError, QueryError
from harvester.query import DatabaseOptions, attributes_in, create_table, open_dataset, run_query
from harvester.query.connection import register

AUDITS: Final = f"{PRIVATE}/audits"
FINDINGS: Final = "findings.parquet"
RECORD: Final = "audit.json"
_ORDER: Final = [("instances", "descending"), ("subject", "ascending"), ("problem", "ascending")]


@dataclass(frozen=True, slots=True)
class CohortSize:
    """The size of the audited cohort; an object without a study or a series counts as one of its own."""

    collections: int
    studies: int
    series: int
    instances: int
    bytes: int


@dataclass(frozen=True, slots=True)
class AuditResult:
    """The result of an audit.

    Attributes:
        name: The name of the configuration.
        dataset: The location of the dataset.
        folder: The folder of the audit in the dataset.
        findings: The location of the findings file; empty: they are not kept.
        started_at: Start time, with time zone.
        seconds: Duration, without a crawl.
        fail_on: The lowest severity that makes the audit fail; `never`: none does.
        cohort: The size of the cohort.
        outcomes: One per rule.
        not_kept: Why the findings are not kept in the dataset.
        rows: The findings that are not kept.
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
    not_kept: str | None = None
    rows: pa.Table | None = field(default=None, repr=False)

    @property
    def place(self) -> str:
        """Where the findings are, or why they are not kept, for a person."""
        return (
            f"findings: {self.findings}" if self.findings else f"the findings are not kept: {self.not_kept}"
        )

    def table(self) -> pa.Table:
        """Read the findings.

        Raises:
            DatasetError: They cannot be read.
        """
        if self.rows is not None:
            return self.rows
        content = Dataset.open(self.dataset).storage.read(f"{self.folder}/{FINDINGS}")
        return pq.read_table(pa.BufferReader(content))

    def keep(self, record: bytes) -> None:
        """Write a record of the audit beside its findings, if these are kept.

        Raises:
            DatasetError: It cannot be written.
        """
        if self.not_kept is not None:
            return
        with Dataset.open(self.dataset).storage.write(f"{self.folder}/{RECORD}") as stream:
            stream.write(record)

    def counts(self, severity: str) -> bool:
        """Whether a finding of this severity makes the audit fail."""
        return self.fail_on != "never" and SEVERITIES.index(severity) >= SEVERITIES.index(self.fail_on)

    @property
    def failed(self) -> bool:
        """Whether any rule has more violations than it tolerates, of a severity that counts."""
        return any(map(self.fails, self.outcomes))

    def fails(self, outcome: RuleOutcome) -> bool:
        """Whether the outcome of a rule makes the audit fail."""
        return outcome.level is not None and self.counts(outcome.level)


def run_audit(config: AuditConfig, on_rule: Callable[[str], None] = lambda _: None) -> AuditResult:
    """Run every rule of an audit over its dataset, and write the findings into the dataset if possible.

    No headers are harvested; objects are only read for their TIFF directories (`dual_personality`).

    Args:
        config: The audit.
        on_rule: Called with the name of each rule before it runs.

    Raises:
        UserError: The dataset, the catalog or the SQL of a rule cannot be used.
    """
    started_at, start = datetime.now(UTC), time.monotonic()
    dataset = Dataset.open(config.crawl.dataset)
    on_rule("the cohort")
    cohort = read_cohort(config, dataset)
    folder = f"{AUDITS}/{started_at:%Y%m%dT%H%M%S.%fZ}-{file_name(config.name)}"
    options = DatabaseOptions(
        config.settings.memory, tables=cohort.tables, rows=cohort.rows, asked_often=True
    )
    with TemporaryFile() as stream, closing(open_dataset(dataset.location, options)) as connection:
        with findings_file(stream) as writer:
            unread = _add_tiff_directories(config, dataset, connection, on_rule)
            values = [rule.shared_values() for rule in config.rules if rule.where is None]
            sql = all_alike(values)
            create_table(connection, SHARED, sql, attributes_in(sql))
            context = AuditContext(cohort.expected_known, unread)
            if cohort.expected_known and any(isinstance(rule, ExpectationRule) for rule in config.rules):
                connection.execute(f"CREATE TABLE found_series AS {FOUND_SERIES}")
            check_selections(connection, config.rules)
            database = AuditDatabase(connection, config.settings.memory, _survey(connection, config.rules))
            runner = _RuleRunner(database, writer, config.settings.examples)
            size = runner.cohort_size()
            outcomes = []
            for rule in config.rules:
                on_rule(rule.label)
                skipped = rule.skip_reason(context)
                outcomes.append(RuleOutcome.of(rule, skipped=skipped) if skipped else runner.run(rule))
        not_kept, rows = _keep_findings(dataset, f"{folder}/{FINDINGS}", stream)
    return AuditResult(
        name=config.name,
        dataset=dataset.location,
        folder=folder,
        findings="" if not_kept else dataset.storage.location_of(f"{folder}/{FINDINGS}"),
        started_at=started_at,
        seconds=time.monotonic() - start,
        fail_on=config.settings.fail_on,
        cohort=size,
        outcomes=tuple(outcomes),
        not_kept=not_kept,
        rows=rows,
    )


def _keep_findings(dataset: Dataset, path: str, findings: BinaryIO) -> tuple[str | None, pa.Table | None]:
    """Write the findings into a dataset; where it can't be written, return why, and their rows."""
    findings.seek(0)
    try:
        with dataset.storage.write(path) as stream:
            copyfileobj(findings, stream)
    except DatasetError as error:
        findings.seek(0)
        return str(error), pq.read_table(findings)
    return None, None


def _add_tiff_directories(
    config: AuditConfig,
    dataset: Dataset,
    connection: duckdb.DuckDBPyConnection,
    on_rule: Callable[[str], None],
) -> str | None:
    """Add the TIFF directories of a sample of dual-personality objects; return why they were not read."""
    rules = [rule for rule in config.rules if isinstance(rule, DualPersonality)]
    if not rules:
        return "no rule needs them"
    etags: dict[str, str | None] = {}
    for rule in rules:
        # Ordered by a hash: the next audit of the same objects reads the same sample.
        sample = f"ORDER BY hash(SOPInstanceUID) LIMIT {rule.sample}" if rule.sample else ""
        sql = f"""SELECT instance_url, etag FROM instances
                  WHERE preamble = 'tiff' AND {rule.parameter_condition()} {sample}"""
        etags |= {row["instance_url"]: row["etag"] for row in _rows(connection, sql, rule.label)}
    endpoint, last = config.crawl.source.endpoint, _last_endpoint(dataset)
    if etags and endpoint is None and last is not None:
        # A dataset from others must not choose the server that gets requests, and perhaps credentials.
        setting = f"[source] endpoint = {json.dumps(last)}"
        return f"the last crawl read the objects from {last}; {setting} reads them there"
    directories: pa.Table | None = DIRECTORIES.empty_table()
    if etags:
        on_rule(f"TIFF directories of {len(etags):,} objects")
        directories = read_directories(list(etags.items()), endpoint)
    if directories is None:
        return "the objects cannot be reached from here"
    register(connection, "tiff_directories", directories)
    return None


def _last_endpoint(dataset: Dataset) -> str | None:
    """The endpoint that the last crawl read objects from; None: the clouds' own."""
    return next((run.configuration.source.endpoint for _, run in read_runs(dataset.storage, 1)), None)


def check_rules(config: AuditConfig) -> None:
    """Check the SQL of the configuration on an empty dataset, before anything is harvested.

    Raises:
        QueryError: SQL is not a query, or names a column that neither a dataset nor the dictionary has.
    """
    with TemporaryDirectory() as folder:
        dataset = Dataset.create(Path(folder) / "empty")
        options = DatabaseOptions(tables={"expected_series": EXPECTED.empty_table()})
        with closing(open_dataset(dataset.location, options)) as connection:
            for rule in config.rules:
                sql = rule.sql if isinstance(rule, SqlRule) else None
                if rule.where is not None:
                    sql = f"SELECT 1 FROM instances WHERE {rule.parameter_condition()}"
                for one in (sql, rule.of if isinstance(rule, SqlRule) else None):
                    if one is not None:
                        list(_rows(connection, one, f"rule {rule.label}"))


@dataclass(frozen=True, slots=True)
class _RuleRunner:
    """Runs rules over one open dataset."""

    database: AuditDatabase
    writer: FindingsWriter
    examples: int
    _counts: dict[str, int] = field(default_factory=dict)

    def cohort_size(self) -> CohortSize:
        sql = f"""
            SELECT count(DISTINCT collection_id) AS collections,
                   count(DISTINCT COALESCE(StudyInstanceUID, instance_url)) AS studies,
                   count(DISTINCT COALESCE(SeriesInstanceUID, instance_url)) AS series,
                   COALESCE(sum(alike), 0)::BIGINT AS instances, COALESCE(sum(size), 0)::BIGINT AS bytes
            FROM {SHARED}"""
        (row,) = _rows(self.database.connection, sql, "the cohort")
        return CohortSize(**row)

    def run(self, rule: Rule) -> RuleOutcome:
        """Run one rule.

        Raises:
            QueryError: Its SQL fails.
        """
        start = time.monotonic()
        try:
            outcome = self._find(rule, rule.batches(self.database))
            checked = rule.surveyed(self.database.survey)
            sql = rule.checked()
            if checked is None and sql is not None:
                checked = self._count(sql, rule.own_attributes(sql))
        except QueryError as error:
            raise QueryError(f"rule {rule.label}: {error}") from error
        nothing = checked == 0 and not outcome.violations
        return replace(
            outcome,
            checked=checked,
            seconds=time.monotonic() - start,
            skipped=rule.nothing_checked() if nothing else None,
            level=rule.severity_of(outcome.violations, checked),
        )

    def _find(self, rule: Rule, batches: Iterator[pa.RecordBatch]) -> RuleOutcome:
        examples: pa.Table | None = None
        findings = violations = 0
        for batch in batches:
            rows = pa.Table.from_batches([batch])
            examples = rows if examples is None else pa.concat_tables([examples, rows])
            examples = examples.sort_by(_ORDER).slice(0, self.examples)
            if findings < MAX_FINDINGS:
                self.writer.write(rule, batch.slice(0, MAX_FINDINGS - findings))
            findings += batch.num_rows
            by_instance = rule.unit == "instance"
            violations += sum(batch.column("instances").to_pylist()) if by_instance else batch.num_rows
        outcome = RuleOutcome.of(rule)
        shown = tuple(map(Finding.from_row, [] if examples is None else examples.to_pylist()))
        return replace(outcome, violations=violations, findings=findings, examples=shown)

    def _count(self, sql: str, attributes: AbstractSet[str]) -> int:
        if sql not in self._counts:
            row = next(_rows(self.database.connection, sql, "how much was checked", attributes), {})
            try:
                (self._counts[sql],) = (int(value or 0) for value in row.values())
            except ValueError:
                raise QueryError("how much was checked: expected a SELECT of one number") from None
        return self._counts[sql]


def _survey(connection: duckdb.DuckDBPyConnection, rules: Iterable[Rule]) -> Survey:
    """One scan for all rules that can share one."""
    checks = [check for rule in rules if isinstance(rule, CasesRule) and (check := rule.check()) is not None]
    by_class = any(isinstance(rule, RequiredAttributes) for rule in rules)
    if not checks and not by_class:
        return Survey()
    return survey(connection, checks, frozenset(type_1_attributes() if by_class else ()))


def _rows(
    connection: duckdb.DuckDBPyConnection, sql: str, what: str, attributes: AbstractSet[str] = frozenset()
) -> Iterator[dict[str, Any]]:
    try:
        for batch in run_query(connection, sql, attributes=attributes).batches():
            yield from batch.to_pylist()
    except QueryError as error:
        raise QueryError(f"{what}: {error}") from error


def file_name(name: str) -> str:
    """A configuration's name, which may hold any character, as part of a file name."""
    kept = "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in "-_") else "_" for letter in name
    )
    if not kept:
        raise ConfigError("an audit needs a name")
    return kept[:60]
