"""Audits: rules over a dataset, from a TOML file, and what breaks them as a table of findings."""

from harvester.audit.findings import FINDING_COLUMNS, Finding, RuleOutcome
from harvester.audit.rule import SEVERITIES, Rule
from harvester.audit.rules import BUILT_IN, parameters
from harvester.audit.run import AUDITS, AuditResult, CohortSize, check_own_rules, run_audit
from harvester.audit.settings import AuditConfig, AuditSettings, load_audit

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
    "check_own_rules",
    "load_audit",
    "parameters",
    "run_audit",
]
