"""`harvester audit`: checks a cohort against rules."""

import inspect
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import pyarrow.compute as pc
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harvester.audits import (
    BUILT_IN,
    AuditConfig,
    AuditResult,
    CohortSize,
    Finding,
    Rule,
    RuleOutcome,
    check_rules,
    load_audit,
    parameters,
    run_audit,
)
from harvester.audits.comparison import LATEST, Comparison, compare, read_previous
from harvester.audits.output import as_json, as_junit, findings_sql, json_bytes, printable, show_command
from harvester.audits.rules.sql import SqlRule
from harvester.cli.crawl import crawl_missing
from harvester.cli.options import JsonOption, table_width
from harvester.dataset.output_file import replaced_file, require_writable
from harvester.errors import ConfigError
from harvester.messages import count, did_you_mean, size, span

EPILOG: Final = (
    "Examples: `harvester audit slides.toml`, "
    "`harvester audit release.toml --against latest --only-new`, `harvester audit --rules`"
)
_COLOURS: Final = {"error": "red", "warning": "yellow", "info": "cyan"}
_LONGEST_PROBLEM: Final = 160
# Parameters of every rule: docs/audits.md describes them once.
_COMMON_PARAMETERS: Final = frozenset(Rule.model_fields) - {"modality", "sop_class_uid"} | {
    "Modality",
    "SOPClassUID",
}


def command(  # noqa: PLR0913  one for each option
    config: Annotated[
        Path | None,
        typer.Argument(metavar="CONFIG", help="The TOML file of an audit.", show_default=False),
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
        bool, typer.Option("--only-new", help="With --against: only new findings fail the audit.")
    ] = False,
    no_crawl: Annotated[
        bool, typer.Option("--no-crawl", help="Audit the dataset as it is; harvest nothing first.")
    ] = False,
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write JUnit XML.", show_default=False)
    ] = None,
    as_object: JsonOption = False,
    rules: Annotated[bool, typer.Option("--rules", help="List the rules and their parameters.")] = False,
    show: Annotated[
        str | None,
        typer.Option(
            metavar="RULE",
            help="Print all findings of a rule in the latest audit; nothing is harvested or checked.",
            show_default=False,
        ),
    ] = None,
) -> int:
    """Check a cohort against rules; print violations, and save them in the dataset as a table.

    If CONFIG has a [select], headers that the dataset lacks are harvested first. Exit status 3: a rule whose
    severity is at or above `fail_on` is violated.
    """
    if rules:
        typer.echo(list_rules())
        return 0
    if config is None:
        raise ConfigError("give a configuration file, or list the rules with --rules")
    if only_new and against is None:
        raise ConfigError("--only-new needs --against, the audit to compare with")
    audit = load_audit(config)
    if show is not None:
        return _show(audit, show, as_object=as_object)
    if junit is not None:
        require_writable(junit, option="--junit")
    check_rules(audit)
    if audit.selects and not no_crawl:
        crawl_missing(audit.crawl)
    earlier = None if against is None else read_previous(against, audit.crawl.dataset, audit.name)
    result = run_audit(audit, _print_rule_name)
    comparison = None if earlier is None else compare(result.table(), earlier, audit.settings.examples)
    document = as_json(result, comparison)
    result.keep(json_bytes(document))
    if junit is not None:
        with replaced_file(junit, option="--junit") as stream:
            stream.write(as_junit(result, comparison if only_new else None))
    if as_object:
        typer.echo(json.dumps(document))
        if result.not_kept is not None:
            typer.echo(printable(result.place), err=True)
    else:
        _Summary(Console(highlight=False, width=table_width()), config, result, comparison).print()
    failed = result.failed if not only_new or comparison is None else _has_new(result, comparison)
    return 3 if failed else 0


def _has_new(result: AuditResult, comparison: Comparison) -> bool:
    failing = {outcome.name for outcome in result.outcomes if result.fails(outcome)}
    return any(change.new and change.rule in failing for change in comparison.changes)


def list_rules() -> str:
    """All rules in Markdown: what each requires, its severity, the unit it counts and its parameters."""
    rules: list[type[Rule]] = [*BUILT_IN, SqlRule]
    return "\n\n".join(map(_rule_as_markdown, rules))


def _rule_as_markdown(rule: type[Rule]) -> str:
    fields = parameters(rule)
    units = {"series": "series", "study": "studies"}.get(rule.unit, f"{rule.unit}s")
    shows = f" Shows {', '.join(f'`{column}`' for column in rule.columns)}." if rule.columns else ""
    lines = [
        f"### `{rule.kind}`",
        "",
        inspect.getdoc(rule) or "",
        "",
        f"Severity `{fields['severity'].default}`; counts {units}.{shows}",
    ]
    own = [f"`{name}`{_default(field)}" for name, field in fields.items() if name not in _COMMON_PARAMETERS]
    if own:
        lines.append(f"Parameters: {', '.join(own)}.")
    return "\n".join(lines)


def _default(field: Any) -> str:
    value = field.default
    if field.is_required():
        return " (required)"
    if isinstance(value, (int, float, str)) and not isinstance(value, bool) and len(str(value)) < 20:
        return f" (`{value}`)"
    return ""


def _print_rule_name(name: str) -> None:
    """Show on a terminal which rule is being checked, on one line that the next rule overwrites."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[Kchecking {printable(name, 60)} ")
        sys.stderr.flush()


@dataclass(frozen=True, slots=True)
class _Summary:
    """Prints an audit for a person."""

    console: Console
    config: Path
    result: AuditResult
    comparison: Comparison | None

    def print(self) -> None:
        """Print a table of the rules, then examples of violations, then where all findings are."""
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
        print_(Text(printable(self.result.place)), soft_wrap=True)
        verdict = "broken rules" if self.result.failed else "passed"
        print_(Text(f"{verdict} (fail_on = {self.result.fail_on!r}), {span(self.result.seconds)}"))

    def _table(self) -> Table:
        table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        for name in ("severity", "rule"):  # on a narrow terminal a name or a number is folded, never cut
            table.add_column(name, overflow="fold")
        for name in ("violations", "of", "share", *(("new", "gone", "still") if self.comparison else ())):
            table.add_column(name, justify="right", overflow="fold")
        table.add_column("", overflow="fold")
        changes = {change.rule: change for change in self.comparison.changes} if self.comparison else {}
        for outcome in self.result.outcomes:
            style = _COLOURS[outcome.level] if outcome.level else "dim"
            change = changes.get(outcome.name)
            numbers = (change.new, change.gone, change.still) if change else (0, 0, 0)
            table.add_row(
                Text(outcome.level or ("tolerated" if outcome.findings else outcome.severity), style),
                Text(printable(outcome.name, 40), style),
                "-" if outcome.skipped else f"{outcome.violations:,}",
                "" if outcome.checked is None else f"{outcome.checked:,}",
                "" if outcome.share is None else _percent(outcome.share),
                *((f"{number:,}" for number in numbers) if self.comparison else ()),
                Text(outcome.unit, "dim"),
            )
        return table

    def _examples(self, outcome: RuleOutcome) -> Text:
        style = f"bold {_COLOURS[outcome.level]}" if outcome.level else "bold dim"
        limit = "" if outcome.at_most is None else f" (at most {outcome.at_most})"
        text = Text.assemble((printable(outcome.name, 100), style), f"  {printable(outcome.title)}{limit}\n")
        for finding in outcome.examples:
            text.append_text(_line(finding))
        if outcome.findings > len(outcome.examples):
            more = outcome.findings - len(outcome.examples)
            how = f": {show_command(self.config, outcome.name)}" if self.result.findings else ""
            text.append(f"  and {more:,} more{how}\n", "dim")
        return text


def _show(audit: AuditConfig, rule: str, *, as_object: bool) -> int:
    """Print the findings of a rule in the latest audit, and the SQL that reads them."""
    latest = read_previous(LATEST, audit.crawl.dataset, audit.name)
    names = [one.label for one in audit.rules]
    if rule not in names:
        raise ConfigError(f"--show {rule}: the audit has no such rule{did_you_mean(rule, names)}")
    rows = latest.findings.filter(pc.field("rule") == rule)
    rows = rows.sort_by([("instances", "descending"), ("subject", "ascending"), ("problem", "ascending")])
    if as_object:
        typer.echo(json.dumps(rows.to_pylist()))
        return 0
    console = Console(highlight=False, width=table_width())
    for batch in rows.to_batches(max_chunksize=1000):
        for row in batch.to_pylist():
            console.print(_line(Finding.from_row(row)), soft_wrap=True, end="")
    sql = findings_sql(latest.name, rule)
    console.print(Text(f"{count(rows.num_rows, 'finding')}; in DuckDB: {sql}"), soft_wrap=True)
    return 0


def _line(finding: Finding) -> Text:
    text = Text(f"  {printable(finding.problem, _LONGEST_PROBLEM)}")
    return text.append(f"  {_place(finding)}\n", "dim")


def _place(finding: Finding) -> str:
    parts = [
        finding.collection_id,
        finding.subject if finding.subject != finding.instance_url else None,
        count(finding.instances, "instance") if finding.instances > 1 else None,
        finding.instance_url,
    ]
    return " ".join(printable(part, 2 * _LONGEST_PROBLEM) for part in parts if part)


def _cohort(cohort: CohortSize) -> str:
    return (
        f"{count(cohort.instances, 'instance')} of {count(cohort.series, 'series')}, "
        f"{count(cohort.studies, 'study')}, {count(cohort.collections, 'collection')}; {size(cohort.bytes)}"
    )


def _percent(share: float) -> str:
    """A percentage that is 0 % or 100 % only for none or all."""
    if 0 < share < 0.0001:
        return "<0.01%"
    if 0.9999 < share < 1:
        return ">99.99%"
    return f"{share:.2%}"
