"""Conformance of instances to their IOD (PS3.3), checked by SQL over a dataset."""

from harvester.audits.conformance.check import check_dataset, check_table, dataset_findings
from harvester.audits.conformance.checks import Check, Selection
from harvester.audits.conformance.one_object import check_object
from harvester.audits.conformance.plans import ConformanceOptions
from harvester.audits.conformance.results import FINDING_COLUMNS, ConformanceResult

__all__ = [
    "FINDING_COLUMNS",
    "Check",
    "ConformanceOptions",
    "ConformanceResult",
    "Selection",
    "check_dataset",
    "check_object",
    "check_table",
    "dataset_findings",
]
