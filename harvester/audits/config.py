"""The TOML file of an audit: a cohort, `[audit]` and `[[rules]]`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harvester.audits.rules import BUILT_IN, make_rule
from harvester.audits.rules.base import Rule
from harvester.audits.vocabulary import Severity
from harvester.config import CrawlConfig, crawl_config, read_toml
from harvester.errors import ConfigError
from harvester.messages import did_you_mean, invalid_setting

_CRAWL: Final = tuple(CrawlConfig.model_fields)
_TABLES: Final = (*_CRAWL, "audit", "rules")


class AuditSettings(BaseModel):
    """[audit]: what makes the audit fail, how many examples it shows, and its memory limit.

    `fail_on` is the lowest severity that gives exit status 3: `info`, `warning`, `error` or `never`.
    `examples` is how many findings of a rule are shown. `every_rule` adds the built-in rules that
    `[[rules]]` does not name; without `[[rules]]` all of them run. `memory` limits the database.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    fail_on: Literal[Severity, "never"] = "error"
    examples: int = Field(default=5, ge=0, le=100)
    every_rule: bool = False
    memory: str = Field(default="2500MB", pattern=r"^[0-9]+(MB|GB)$")


@dataclass(frozen=True, slots=True)
class AuditConfig:
    """A checked configuration of an audit.

    Attributes:
        name: The name of its file, without the suffix.
        crawl: Its dataset and cohort, as in a crawl.
        selects: Whether it has a `[select]`; without one the whole dataset is audited as it is.
        settings: `[audit]`.
        rules: In the order in which they run.
    """

    name: str
    crawl: CrawlConfig
    selects: bool
    settings: AuditSettings
    rules: tuple[Rule, ...]


def load_audit(path: Path | str) -> AuditConfig:
    """Read and check the TOML file of an audit.

    Args:
        path: The file. Relative paths in it are resolved as in a crawl's configuration.

    Raises:
        ConfigError: One line with the file, the key, the error and the nearest valid names.
    """
    return audit_config(Path(path), read_toml(Path(path)))


def audit_config(path: Path, document: dict[str, Any]) -> AuditConfig:
    """Check the content of an audit's TOML file.

    Args:
        path: The file, for messages and relative paths.
        document: Its content.

    Raises:
        ConfigError: As `load_audit`.
    """
    for key in document:
        if key not in _TABLES:
            raise ConfigError(f"{path}: {key}: unknown key{did_you_mean(key, _TABLES)}")
    crawl = crawl_config(path, {key: value for key, value in document.items() if key in _CRAWL})
    settings = _settings(path, document.get("audit", {}))
    rules = _rules(path, document.get("rules", []), every_rule=settings.every_rule)
    return AuditConfig(path.stem, crawl, "select" in document, settings, rules)


def _settings(path: Path, table: Any) -> AuditSettings:
    try:
        return AuditSettings.model_validate(table)
    except ValidationError as error:
        problem = invalid_setting(error, lambda _: AuditSettings.model_fields, "audit")
        raise ConfigError(f"{path}: {problem}") from None


def _rules(path: Path, tables: Any, *, every_rule: bool) -> tuple[Rule, ...]:
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigError(f"{path}: rules: expected tables; write each as [[rules]]")
    rules = [make_rule(table, f"{path}: rules[{number}]") for number, table in enumerate(tables, 1)]
    if every_rule or not rules:
        given = {rule.kind for rule in rules}
        rules += [rule.model_validate({}) for rule in BUILT_IN if rule.kind not in given]
    names: set[str] = set()
    for rule in rules:
        if rule.label in names:
            raise ConfigError(f"{path}: rules: two are called {rule.label!r}; give one of them another name")
        names.add(rule.label)
    return tuple(rules)
