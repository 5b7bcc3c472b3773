"""An audit for other programs: one JSON object, and JUnit XML as continuous integration reads it."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final
from xml.etree import ElementTree as ET

from harvester.audits.comparison import Comparison
from harvester.audits.findings import Finding, RuleOutcome
from harvester.audits.run import AuditResult

# XML 1.0 2.2 has no other characters, not even escaped; surrogates and most controls are none.
_NOT_XML: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_MOST_TEXT: Final = 2000
_MOST_EXAMPLES: Final = 100


def as_json(result: AuditResult, comparison: Comparison | None = None) -> dict[str, Any]:
    """The audit as one object of plain values: what is printed by `--json` and kept beside the findings.

    Args:
        result: The audit.
        comparison: With an earlier one.
    """
    told: dict[str, Any] = {
        "audit": result.name,
        "dataset": result.dataset,
        "findings": result.findings,
        "started_at": result.started_at.isoformat(),
        "seconds": round(result.seconds, 3),
        "fail_on": result.fail_on,
        "failed": result.failed,
        "cohort": asdict(result.cohort),
        "rules": [_rule(outcome) for outcome in result.outcomes],
    }
    if comparison is not None:
        told["comparison"] = asdict(comparison) | {
            name: getattr(comparison, name) for name in ("new", "gone", "still")
        }
    return told


def _rule(outcome: RuleOutcome) -> dict[str, Any]:
    return {
        **{name: value for name, value in asdict(outcome).items() if name != "examples"},
        "share": outcome.share,
        "examples": [asdict(one) for one in outcome.examples],
    }


def as_junit(result: AuditResult, comparison: Comparison | None = None) -> str:
    """The audit as JUnit XML: a test case for each rule, which fails if its findings count.

    Args:
        result: The audit.
        comparison: With an earlier one; then only new findings fail a case.
    """
    new = None if comparison is None else {change.rule: change for change in comparison.changes}
    suite = ET.Element("testsuite", {"name": _plain(f"harvester audit {result.name}")})
    failures = skipped = 0
    for outcome in result.outcomes:
        case = ET.SubElement(
            suite,
            "testcase",
            {
                "classname": _plain(result.name),
                "name": _plain(outcome.name),
                "time": f"{outcome.seconds:.3f}",
            },
        )
        if outcome.skipped is not None:
            skipped += 1
            ET.SubElement(case, "skipped", {"message": _plain(outcome.skipped)})
            continue
        text = _summary(outcome)
        examples = outcome.examples
        fails = outcome.findings > 0 and result.counts(outcome.severity)
        if new is not None:
            change = new.get(outcome.name)
            fails = fails and change is not None and change.new > 0
            if change is not None:
                text += f"; {change.new:,} new, {change.gone:,} gone, {change.still:,} still there"
                examples = change.examples or examples
        told = "\n".join([text, *map(_line, examples[:_MOST_EXAMPLES])])
        if fails:
            failures += 1
            failure = ET.SubElement(case, "failure", {"type": outcome.severity, "message": _plain(text)})
            failure.text = _plain(told)
        elif outcome.findings:
            ET.SubElement(case, "system-out").text = _plain(told)
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
    return f"{outcome.violations:,}{of} ({outcome.unit}), {outcome.severity}: {outcome.title}"


def _line(finding: Finding) -> str:
    where = finding.instance_url if finding.instance_url != finding.subject else None
    return " ".join(
        printable(text) for text in (finding.subject, finding.problem, f"x{finding.instances}", where) if text
    )


def printable(text: str, longest: int = _MOST_TEXT) -> str:
    """A text on one line, without what moves a cursor or turns the reading direction, of bounded length."""
    plain = _CONTROLS.sub("\ufffd", " ".join(text.split()))
    return plain if len(plain) <= longest else plain[: longest - 1] + "…"


def _plain(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)


def dumped(told: Mapping[str, Any]) -> bytes:
    """The object as a JSON file."""
    return json.dumps(told, indent=1, allow_nan=False).encode() + b"\n"
