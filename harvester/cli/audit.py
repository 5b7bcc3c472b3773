"""`harvester audit`."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harvester.audits import (
    AuditResult,
    CohortSize,
    Finding,
    RuleOutcome,
    check_rules,
    load_audit,
    run_audit,
)
from harvester.audits.comparison import Comparison, compare, read_previous
from harvester.audits.output import as_json, as_junit, json_bytes, printable
from harvester.cli.crawl import crawl_first
from harvester.cli.format import count, size, span
from harvester.cli.rule_help import told_rules
from harvester.errors import ConfigError

_COLOURS: Final = {"error": "red", "warning": "yellow", "info": "cyan"}
_LONGEST: Final = 160
INTERRUPTED: Final = 130


def add_to(app: typer.Typer) -> None:
    """Add this command."""
    app.command(
        "audit",
        epilog="Examples: `harvester audit configs/audit-slides.toml`, "
        "`harvester audit configs/audit-release.toml --against latest --only-new`, `harvester audit --rules`",
    )(_audit)


def _audit(  # noqa: PLR0913  one for each option
    config: Annotated[
        Path | None,
        typer.Argument(metavar="CONFIG", help="A TOML file, see configs/audit-*.", show_default=False),
    ] = None,
    *,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="PREVIOUS",
            help="Compare with an earlier audit: its folder, its findings, or `latest` of the same name.",
            show_default=False,
        ),
    ] = None,
    only_new: Annotated[
        bool, typer.Option("--only-new", help="With --against: fail on findings that are new, only.")
    ] = False,
    no_crawl: Annotated[
        bool, typer.Option("--no-crawl", help="Audit what is there; harvest nothing first.")
    ] = False,
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write JUnit XML, too.", show_default=False)
    ] = None,
    as_object: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
    rules: Annotated[
        bool, typer.Option("--rules", help="Say which rules there are, and their parameters.")
    ] = False,
) -> int:
    """Check a cohort against rules; what breaks them is told, and kept in the dataset as a table.

    Where CONFIG has a [select], headers of it that the dataset lacks are harvested first. Exit status 3:
    a rule is broken whose severity is at or above `fail_on`.
    """
    if rules:
        typer.echo(told_rules())
        return 0
    if config is None:
        raise ConfigError("name a configuration, or say --rules to see which rules there are")
    if only_new and against is None:
        raise ConfigError("--only-new needs --against: say what findings are new to")
    audit = load_audit(config)
    check_rules(audit)
    if audit.selects and not no_crawl and not crawl_first(audit.crawl):
        return INTERRUPTED
    earlier = None if against is None else read_previous(against, audit.crawl.dataset, audit.name)
    result = run_audit(audit, _Begun().say)
    comparison = None if earlier is None else compare(result.table(), earlier, audit.settings.examples)
    told = as_json(result, comparison)
    result.keep(json_bytes(told))
    if junit is not None:
        _write(junit, as_junit(result, comparison if only_new else None))
    if as_object:
        typer.echo(json.dumps(told))
    else:
        _Shown(Console(highlight=False), result, comparison).write()
    failed = result.failed if not only_new or comparison is None else _has_new(result, comparison)
    return 3 if failed else 0


def _has_new(result: AuditResult, comparison: Comparison) -> bool:
    return any(change.new and result.counts(change.severity) for change in comparison.changes)


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--junit: {file}: {error.strerror or error}") from error


class _Begun:
    """Says on a terminal's stderr which rule is being checked."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)

    def say(self, name: str) -> None:
        """One rule begins; the line of the one before it is written over."""
        if self._console.is_terminal:
            sys.stderr.write(f"\r\x1b[Kchecking {printable(name, 60)} ")
            sys.stderr.flush()


@dataclass(frozen=True, slots=True)
class _Shown:
    """An audit for a person."""

    console: Console
    result: AuditResult
    comparison: Comparison | None

    def write(self) -> None:
        """The rules in a table, then examples of what breaks them, then where all of it is."""
        if sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K")
        print_ = self.console.print
        print_(Text(_cohort(self.result.cohort)))
        print_(self._table())
        for outcome in self.result.outcomes:
            if outcome.examples:
                print_(self._examples(outcome), soft_wrap=True)
        for outcome in self.result.outcomes:
            if outcome.skipped is not None:
                print_(Text(f"not checked: {outcome.name}: {outcome.skipped}"))
        if self.comparison is not None:
            print_(Text(f"new, gone, still: compared with {self.comparison.against}"))
        print_(Text(f"findings: {self.result.findings}"), soft_wrap=True)
        verdict = "broken rules" if self.result.failed else "passed"
        print_(Text(f"{verdict} (fail_on = {self.result.fail_on!r}), {span(self.result.seconds)}"))

    def _table(self) -> Table:
        table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        for name in ("severity", "rule"):
            table.add_column(name, no_wrap=True)
        for name in ("violations", "of", "share", *(("new", "gone", "still") if self.comparison else ())):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("", no_wrap=True)
        changes = {change.rule: change for change in self.comparison.changes} if self.comparison else {}
        for outcome in self.result.outcomes:
            style = _COLOURS[outcome.severity] if outcome.findings else "dim"
            change = changes.get(outcome.name)
            numbers = (change.new, change.gone, change.still) if change else (0, 0, 0)
            table.add_row(
                Text(outcome.severity, style),
                Text(printable(outcome.name, 40), style),
                "-" if outcome.skipped else f"{outcome.violations:,}",
                "" if outcome.checked is None else f"{outcome.checked:,}",
                "" if outcome.share is None else _percent(outcome.share),
                *((f"{number:,}" for number in numbers) if self.comparison else ()),
                Text(outcome.unit, "dim"),
            )
        return table

    def _examples(self, outcome: RuleOutcome) -> Text:
        text = Text.assemble((outcome.name, f"bold {_COLOURS[outcome.severity]}"), f"  {outcome.title}\n")
        for finding in outcome.examples:
            text.append(f"  {printable(finding.problem, _LONGEST)}")
            text.append(f"  {_where(finding)}\n", "dim")
        if outcome.findings > len(outcome.examples):
            text.append(f"  and {outcome.findings - len(outcome.examples):,} more\n", "dim")
        return text


def _where(finding: Finding) -> str:
    parts = [
        finding.collection_id,
        finding.subject if finding.subject != finding.instance_url else None,
        count(finding.instances, "instance") if finding.instances > 1 else None,
        finding.instance_url,
    ]
    return " ".join(printable(part, 2 * _LONGEST) for part in parts if part)


def _cohort(cohort: CohortSize) -> str:
    held = f"{count(cohort.studies, 'study')}" if cohort.studies == 1 else f"{cohort.studies:,} studies"
    return (
        f"{count(cohort.instances, 'instance')} of {count(cohort.series, 'series')}, {held}, "
        f"{count(cohort.collections, 'collection')}; {size(cohort.bytes)}"
    )


def _percent(share: float) -> str:
    """A share that is neither all nor nothing is never told as all or nothing."""
    if 0 < share < 0.0001:
        return "<0.01%"
    if 0.9999 < share < 1:
        return ">99.99%"
    return f"{share:.2%}"
