"""The results of a check: findings, counts, and what was not checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from harvester.audits.conformance.checks import Check

FINDING_COLUMNS: Final = pa.schema(
    [
        ("SOPInstanceUID", pa.string()),
        ("instance_url", pa.string()),
        ("SOPClassUID", pa.string()),
        ("path", pa.string()),
        ("keyword", pa.string()),
        ("kind", pa.string()),
        ("type", pa.string()),
        ("module", pa.string()),
        ("clause", pa.string()),
        ("severity", pa.string()),
    ]
)
"""One row per finding; docs/conformance.md describes the columns."""

_SUMMARY: Final = ("path", "kind", "type", "module", "clause", "severity")


@dataclass(frozen=True, slots=True)
class Count:
    """Findings of one check in one collection.

    Attributes:
        sop_class_uid: The SOP class.
        collection_id: The collection.
        check: The check.
        instances: Instances with such a finding.
        findings: All such findings.
        instance_url: One of the instances.
    """

    sop_class_uid: str
    collection_id: str | None
    check: Check
    instances: int
    findings: int
    instance_url: str | None


@dataclass(frozen=True, slots=True)
class ConformanceResult:
    """The result of a check.

    Attributes:
        edition: The edition of PS3.3.
        instances: Checked instances by SOP class.
        counts: Findings by SOP class, collection and check.
        unchecked: What was not checked, by SOP class and attribute: `condition` (it has no written condition,
            or a header cannot decide it) or `presence` (the dataset does not record empty elements).
    """

    edition: str
    instances: Mapping[str, int]
    counts: tuple[Count, ...]
    unchecked: Mapping[tuple[str, str], str]

    def total(self, severity: str | None = None) -> int:
        """Count of findings, of one severity or of all."""
        return sum(one.findings for one in self.counts if severity in (None, one.check.severity))

    def summary(self) -> pa.Table:
        """The counts as a table: a row per SOP class, collection, attribute and kind."""
        rows = [
            {
                "SOPClassUID": one.sop_class_uid,
                "collection_id": one.collection_id,
                **{name: getattr(one.check, name) for name in _SUMMARY},
                "instances": one.instances,
                "findings": one.findings,
                "instance_url": one.instance_url,
            }
            for one in self.counts
        ]
        texts = [(name, pa.string()) for name in ("SOPClassUID", "collection_id", *_SUMMARY)]
        numbers = [("instances", pa.int64()), ("findings", pa.int64()), ("instance_url", pa.string())]
        return pa.Table.from_pylist(rows, schema=pa.schema([*texts, *numbers]))
