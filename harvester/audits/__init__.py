"""Audits: rules that check a dataset, read from a TOML file, and the findings they produce."""

from harvester.audits.config import AuditConfig, AuditSettings, load_audit
from harvester.audits.findings import FINDING_COLUMNS, Finding, RuleOutcome
from harvester.audits.rules import BUILT_IN, parameters
from harvester.audits.rules.base import Rule
from harvester.audits.run import AUDITS, AuditResult, CohortSize, check_rules, run_audit
from harvester.audits.vocabulary import SEVERITIES

__all__ = [
    "AUDITS",
    "BUILT_IN",
    "FINDING_COLUMNS",
    "SEVERITIES",
    "AuditConfig",
    "AuditResult",
    "AuditSettings",
    "CohortSize",
    "Finding",
    "Rule",
    "RuleOutcome",
    "check_rules",
    "load_audit",
    "parameters",
    "run_audit",
]
