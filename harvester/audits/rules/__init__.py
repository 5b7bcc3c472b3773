"""The registry of rules, and how a `[[rules]]` table becomes a rule."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from harvester.audits.rules.base import Rule
from harvester.audits.rules.completeness import (
    CompleteSeries,
    CompleteStudies,
    Failures,
    MissingSeries,
    UniqueInstances,
)
from harvester.audits.rules.conformance import Conformance
from harvester.audits.rules.consistency import ConsistentSeries
from harvester.audits.rules.encoding import DualPersonality, OffsetTable, TransferSyntax
from harvester.audits.rules.geometry import RegularVolume
from harvester.audits.rules.plausibility import PlausibleDates
from harvester.audits.rules.privacy import DeidentificationLeftovers, PrivateElements
from harvester.audits.rules.references import ReferencedInstances
from harvester.audits.rules.sql import SqlRule
from harvester.audits.rules.values import AllowedValues, RequiredAttributes, ValidValues, ValueRanges
from harvester.errors import ConfigError
from harvester.messages import did_you_mean, invalid_setting, one_line

BUILT_IN: Final[tuple[type[Rule], ...]] = (
    Failures,
    CompleteSeries,
    MissingSeries,
    CompleteStudies,
    UniqueInstances,
    RequiredAttributes,
    Conformance,
    AllowedValues,
    ValueRanges,
    ValidValues,
    PlausibleDates,
    ConsistentSeries,
    RegularVolume,
    OffsetTable,
    TransferSyntax,
    DualPersonality,
    ReferencedInstances,
    PrivateElements,
    DeidentificationLeftovers,
)
"""In the order in which they run and are reported."""

_BY_NAME: Final[dict[str, type[Rule]]] = {rule.kind: rule for rule in BUILT_IN} | {SqlRule.kind: SqlRule}


def make_rule(table: Mapping[str, Any], where: str) -> Rule:
    """Make the rule that a `[[rules]]` table describes.

    Args:
        table: Its `rule`, the name of a rule (optional beside `sql`), and its parameters.
        where: The name of the table in messages.

    Raises:
        ConfigError: The rule or a parameter is unknown, or a value is invalid.
    """
    given = dict(table)
    kind = given.pop("rule", "sql" if "sql" in given else None)
    if kind is None:
        raise ConfigError(f"{where}.rule: missing; name one of {', '.join(_BY_NAME)}")
    rule = _BY_NAME.get(kind) if isinstance(kind, str) else None
    if rule is None:
        hint = did_you_mean(str(kind), _BY_NAME)
        raise ConfigError(f"{where}.rule: there is no rule {one_line(repr(kind))[:60]}{hint}")
    try:
        return rule.model_validate(given)
    except ValidationError as error:
        problem = invalid_setting(error, lambda _: parameters(rule), noun="parameter")
        raise ConfigError(f"{where} ({kind}): {problem}") from None


def parameters(rule: type[Rule]) -> dict[str, Any]:
    """The parameters of a rule by their names in a configuration, with pydantic's fields."""
    return {field.alias or name: field for name, field in rule.model_fields.items()}
