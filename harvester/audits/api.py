"""The public functions `audit`, `conformance` and `report`, blocking and asynchronous, and their results."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from html import escape
from os import PathLike
from pathlib import Path
from typing import Any

import pyarrow as pa
from anyio import to_thread

from harvester.audits.comparison import Comparison, compare, read_previous
from harvester.audits.config import AuditConfig, AuditSettings, audit_config
from harvester.audits.conformance import (
    ConformanceResult,
    check_dataset,
    check_object,
    dataset_findings,
)
from harvester.audits.conformance.options import conformance_options
from harvester.audits.findings import MAX_FINDINGS
from harvester.audits.output import as_json, json_bytes
from harvester.audits.run import AuditResult, check_rules, run_audit
from harvester.audits.vocabulary import SEVERITIES, Severity
from harvester.config import ConfigLike, document_from
from harvester.dataset.output_file import replaced_file
from harvester.errors import ConfigError
from harvester.messages import count, pip_install, span
from harvester.query.api import TableResult


class AuditSummary(TableResult):
    """The result of an audit; as a table, its findings.

    Attributes:
        result: The outcome of each rule, the size of the cohort, and where the findings are.
        comparison: With the previous audit, if one was given.
    """

    def __init__(self, result: AuditResult, comparison: Comparison | None) -> None:
        self.result = result
        self.comparison = comparison

    @property
    def passed(self) -> bool:
        """Whether no rule at or above `fail_on` has findings."""
        return not self.result.failed

    def arrow(self) -> pa.Table:
        """The findings as an Arrow table, one row each."""
        return self.result.table()

    def rules(self) -> pa.Table:
        """One row for each rule: severity, violations, how many were checked, and why it was skipped."""
        names = ("name", "title", "severity", "level", "violations", "checked", "unit", "skipped")
        return pa.Table.from_pylist(
            [{name: getattr(outcome, name) for name in names} for outcome in self.result.outcomes]
        )

    def _summary(self) -> str:
        broken = [outcome for outcome in self.result.outcomes if outcome.level]
        skipped = [outcome for outcome in self.result.outcomes if outcome.skipped]
        verdict = "passed" if self.passed else "violated"
        lines = [f"{verdict} (fail_on = {self.result.fail_on!r}), {span(self.result.seconds)}"]
        lines += [
            f"{outcome.level}: {outcome.name}: {count(outcome.violations, 'violation')}" for outcome in broken
        ]
        lines += [f"not checked: {outcome.name}: {outcome.skipped}" for outcome in skipped]
        return "\n".join([*lines, self.result.place])


def audit(
    config: ConfigLike = None,
    *,
    against: str | Path | None = None,
    rules: Sequence[Mapping[str, Any]] | None = None,
    **keys: Any,
) -> AuditSummary:
    """Check a dataset against rules; the findings are also saved in the dataset.

    No headers are harvested: crawl the selection first.

    Args:
        config: A TOML file, or a mapping of the same tables. None: keyword arguments only.
        against: A previous audit to compare with: its folder, its findings, or `latest` of the same name.
        rules: As `[[rules]]`: `[{"rule": "offset_table", "severity": "error"}]`. None: all built-in rules.
        keys: `dataset`, the keys of `[audit]` (`fail_on`, `examples`, ...), and those of `harvester.crawl`;
            a selection restricts the audit to it.

    Raises:
        UserError: The configuration, the dataset or the SQL of a rule can't be used.
    """
    path, document = document_from(config, {**keys, "rules": rules}, {"audit": AuditSettings.model_fields})
    checked: AuditConfig = audit_config(path, document)
    check_rules(checked)
    previous = None if against is None else read_previous(str(against), checked.crawl.dataset, checked.name)
    result = run_audit(checked)
    comparison = None if previous is None else compare(result.table(), previous, checked.settings.examples)
    result.keep(json_bytes(as_json(result, comparison)))
    return AuditSummary(result, comparison)


async def aaudit(
    config: ConfigLike = None,
    *,
    against: str | Path | None = None,
    rules: Sequence[Mapping[str, Any]] | None = None,
    **keys: Any,
) -> AuditSummary:
    """Check a dataset against rules as `audit` does, for asynchronous callers.

    Raises:
        UserError: As `audit`.
    """
    return await to_thread.run_sync(partial(audit, config, against=against, rules=rules, **keys))


class ConformanceSummary(TableResult):
    """The result of `conformance`; as a table, its findings, at most a million.

    Attributes:
        result: The counts, and what was not checked.
    """

    def __init__(self, result: ConformanceResult, find: Callable[[int], pa.Table]) -> None:
        self.result = result
        self._find = find

    @property
    def passed(self) -> bool:
        """Whether there is no finding of severity `error`."""
        return not self.result.total("error")

    def arrow(self) -> pa.Table:
        """The findings as an Arrow table, one row each; of a dataset they are searched on each call."""
        return self._find(MAX_FINDINGS)

    def head(self, rows: int = 10) -> pa.Table:
        """The first findings as an Arrow table."""
        return self._find(rows)

    def counts(self) -> pa.Table:
        """The findings counted by SOP class, collection, attribute and kind."""
        return self.result.summary()

    def _shown(self) -> pa.Table:
        return self.counts().slice(0, 10)

    def _summary(self) -> str:
        totals = ", ".join(f"{self.result.total(one):,} {one}" for one in reversed(SEVERITIES))
        checked = count(sum(self.result.instances.values()), "instance")
        return f"{checked} checked against PS3.3 {self.result.edition}: {totals}"


def conformance(
    dataset: str | PathLike[str] | None = None,
    *,
    url: str | PathLike[str] | None = None,
    sop_class: Sequence[str] = (),
    severity: Severity = "info",
    output: str | PathLike[str] | None = None,
    endpoint: str | None = None,
    **selection: Any,
) -> ConformanceSummary:
    """Check the instances of a dataset, or one object, against their IOD in PS3.3.

    Args:
        dataset: Directory or URL of the dataset.
        url: An object, instead of a dataset; only its header is read.
        sop_class: UIDs or keywords of the SOP classes to check; all by default.
        severity: The lowest severity that is reported.
        output: A Parquet file for all findings of a dataset, one row each.
        endpoint: Replaces the cloud's address for `url`.
        selection: `iods` (`ct-image`), `types` (`1`, `2C`), `modules` (`general-series`), `ignore` (a keyword
            or a tag, optionally `@MODULE`), `private=False` and `extended=False` (no private SOP classes, no
            attributes that the IOD does not have), `where` (SQL).

    Raises:
        UserError: The dataset can't be read, or an argument is not valid.
        HarvestError: The object can't be read.
    """
    if (dataset is None) == (url is None):
        raise ConfigError("name either a dataset, or an object with url=")
    options = conformance_options(sop_classes=sop_class, severity=severity, **selection)
    if url is not None:
        result, found = check_object(str(url), options, endpoint)
        return ConformanceSummary(result, partial(found.slice, 0))
    file = None if output is None else Path(output)
    result = check_dataset(str(dataset), options, file)
    return ConformanceSummary(result, partial(dataset_findings, str(dataset), options))


async def aconformance(
    dataset: str | PathLike[str] | None = None,
    *,
    url: str | PathLike[str] | None = None,
    sop_class: Sequence[str] = (),
    severity: Severity = "info",
    output: str | PathLike[str] | None = None,
    endpoint: str | None = None,
    **selection: Any,
) -> ConformanceSummary:
    """Check conformance as `conformance` does, for asynchronous callers.

    Raises:
        HarvesterError: As `conformance`.
    """
    return await to_thread.run_sync(
        partial(
            conformance,
            dataset,
            url=url,
            sop_class=sop_class,
            severity=severity,
            output=output,
            endpoint=endpoint,
            **selection,
        )
    )


class ReportPage:
    """A report as HTML; a notebook shows it in a frame.

    Attributes:
        html: The page; it loads nothing from a network.
    """

    def __init__(self, html: str) -> None:
        self.html = html

    def write(self, path: str | Path) -> None:
        """Write the page to a file.

        Raises:
            ConfigError: It can't be written.
        """
        with replaced_file(Path(path)) as stream:
            stream.write(self.html)

    def _repr_html_(self) -> str:
        frame = 'sandbox="" style="width:100%;height:40em;border:0"'
        return f'<iframe title="report" srcdoc="{escape(self.html)}" {frame}></iframe>'


def report(
    dataset: str | Path,
    output: str | Path | None = None,
    *,
    attributes: Sequence[str] = (),
    title: str = "",
) -> ReportPage:
    """Make one HTML page about a dataset and its last audit.

    Args:
        dataset: Directory or URL of the dataset.
        output: The file to write; None: none.
        attributes: Keywords of attributes whose values are shown; common ones by default.
        title: The title; the dataset's name by default.

    Raises:
        ConfigError: The extra `report` is not installed, or the file can't be written.
        UserError: The dataset can't be read, or an attribute is unknown.
    """
    try:
        from harvester.audits.report import gather, render  # noqa: PLC0415  its packages are an extra
    except ImportError as error:
        raise ConfigError(f"a report needs {error.name}; {pip_install('report')}") from None
    page = ReportPage(render(gather(str(dataset), attributes), title))
    if output is not None:
        page.write(output)
    return page


async def areport(
    dataset: str | Path,
    output: str | Path | None = None,
    *,
    attributes: Sequence[str] = (),
    title: str = "",
) -> ReportPage:
    """Make a report as `report` does, for asynchronous callers.

    Raises:
        UserError: As `report`.
    """
    return await to_thread.run_sync(partial(report, dataset, output, attributes=attributes, title=title))
