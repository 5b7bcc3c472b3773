"""Output of an audit for other programs: one JSON object, and JUnit XML for continuous integration."""

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

from harvester.audits.comparison import Comparison
from harvester.audits.findings import Finding, RuleOutcome
from harvester.audits.run import AuditResult
from harvester.catalog.database import literal

# XML 1.0 2.2 allows no other characters, not even escaped: no surrogates, and few controls.
_NOT_XML: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_MAX_TEXT: Final = 2000
_MAX_EXAMPLES: Final = 100


def as_json(result: AuditResult, comparison: Comparison | None = None) -> dict[str, Any]:
    """The audit as one object of plain values: printed by `--json`, and kept beside the findings.

    Args:
        result: The audit.
        comparison: With a previous audit.
    """
    document: dict[str, Any] = {
        "audit": result.name,
        "dataset": result.dataset,
        "findings": result.findings or None,
        "started_at": result.started_at.isoformat(),
        "seconds": round(result.seconds, 3),
        "fail_on": result.fail_on,
        "failed": result.failed,
        "cohort": asdict(result.cohort),
        "rules": [asdict(outcome) | {"share": outcome.share} for outcome in result.outcomes],
    }
    if comparison is not None:
        counts = {name: getattr(comparison, name) for name in ("new", "gone", "still")}
        document["comparison"] = asdict(comparison) | counts
    return document


def as_junit(result: AuditResult, comparison: Comparison | None = None) -> str:
    """The audit as JUnit XML: one test case per rule, which fails on findings that count.

    Args:
        result: The audit.
        comparison: With a previous audit; then only new findings fail a case.
    """
    changes = None if comparison is None else {change.rule: change for change in comparison.changes}
    suite = ET.Element("testsuite", {"name": _xml_text(f"harvester audit {result.name}")})
    failures = skipped = 0
    for outcome in result.outcomes:
        names = {"classname": _xml_text(result.name), "name": _xml_text(outcome.name)}
        case = ET.SubElement(suite, "testcase", {**names, "time": f"{outcome.seconds:.3f}"})
        if outcome.skipped is not None:
            skipped += 1
            ET.SubElement(case, "skipped", {"message": _xml_text(outcome.skipped)})
            continue
        summary = _summary(outcome)
        examples = outcome.examples
        fails = result.fails(outcome)
        if changes is not None:
            change = changes.get(outcome.name)
            fails = fails and change is not None and change.new > 0
            if change is not None:
                summary += f"; {change.new:,} new, {change.gone:,} gone, {change.still:,} still there"
                examples = change.examples or examples
        text = _xml_text("\n".join([summary, *map(_line, examples[:_MAX_EXAMPLES])]))
        if fails:
            failures += 1
            attributes = {"type": str(outcome.level), "message": _xml_text(summary)}
            ET.SubElement(case, "failure", attributes).text = text
        elif outcome.findings:
            ET.SubElement(case, "system-out").text = text
    suite.attrib |= {
        "tests": str(len(result.outcomes)),
        "failures": str(failures),
        "errors": "0",
        "skipped": str(skipped),
        "time": f"{result.seconds:.3f}",
        "timestamp": result.started_at.strftime("%Y-%m-%dT%H:%M:%S"),
    }
    ET.indent(suite)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(suite, encoding="unicode") + "\n"


def _summary(outcome: RuleOutcome) -> str:
    of = "" if outcome.checked is None else f" of {outcome.checked:,}"
    limit = "" if outcome.at_most is None else f", at most {outcome.at_most}"
    return f"{outcome.violations:,}{of} ({outcome.unit}){limit}, {outcome.severity}: {outcome.title}"


def _line(finding: Finding) -> str:
    where = finding.instance_url if finding.instance_url != finding.subject else None
    parts = (finding.subject, finding.problem, f"x{finding.instances}", where)
    return " ".join(printable(text) for text in parts if text)


def show_command(config: Path | str, rule: str) -> str:
    """The command that prints all findings of a rule."""
    return f"harvester audit {shlex.quote(str(config))} --show {shlex.quote(rule)}"


def findings_sql(location: str, rule: str) -> str:
    """The SQL (DuckDB) that returns all findings of a rule."""
    return f"SELECT * FROM {literal(location)} WHERE rule = {literal(rule)} ORDER BY instances DESC, subject"


def printable(text: str, longest: int = _MAX_TEXT) -> str:
    """A text on one line, of bounded length, without control characters and bidirectional overrides."""
    plain = _CONTROLS.sub("\ufffd", " ".join(text.split()))
    return plain if len(plain) <= longest else plain[: longest - 1] + "…"


def _xml_text(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)


def json_bytes(document: Mapping[str, Any]) -> bytes:
    """The object as the content of a JSON file."""
    return json.dumps(document, indent=1, allow_nan=False).encode() + b"\n"
