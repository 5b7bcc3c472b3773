"""Conformance of instances to their IOD (PS3.3), checked by SQL over a dataset."""

from harvester.audits.conformance.check import (
    FINDING_COLUMNS,
    ConformanceOptions,
    ConformanceResult,
    check_dataset,
    check_table,
)
from harvester.audits.conformance.checks import Check, Selection
from harvester.audits.conformance.one_object import check_object

__all__ = [
    "FINDING_COLUMNS",
    "Check",
    "ConformanceOptions",
    "ConformanceResult",
    "Selection",
    "check_dataset",
    "check_object",
    "check_table",
]
