"""What an audit's TOML file may say: a cohort, how strict the audit is, and its rules."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harvester.audits.rules import BUILT_IN, make_rule
from harvester.audits.rules.base import Rule, Severity
from harvester.config import CrawlConfig, crawl_config, read_toml
from harvester.errors import ConfigError
from harvester.messages import did_you_mean, one_line

_CRAWL: Final = tuple(CrawlConfig.model_fields)
_TABLES: Final = (*_CRAWL, "audit", "rules")


class AuditSettings(BaseModel):
    """[audit]: when it counts as failed, what it shows, how much memory it may take.

    `fail_on` is the least severity of a finding that makes the exit status 3: `info`, `warning`, `error`, or
    `never`. `examples` is how many of a rule's findings are shown. `every_rule` adds the built-in rules that
    `[[rules]]` does not name; without any `[[rules]]` they are all checked. `memory` bounds the database.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    fail_on: Severity | Literal["never"] = "error"
    examples: int = Field(default=5, ge=0, le=100)
    every_rule: bool = False
    memory: str = Field(default="2500MB", pattern=r"^[0-9]+(MB|GB)$")


@dataclass(frozen=True, slots=True)
class AuditConfig:
    """A whole audit.

    Attributes:
        name: What its records are called: its file, without the ending.
        crawl: Its dataset and cohort, as a crawl's.
        selects: Whether there is a cohort to harvest and to hold the dataset against; else all of the
            dataset is audited as it is.
        settings: `[audit]`.
        rules: In the order in which they are checked.
    """

    name: str
    crawl: CrawlConfig
    selects: bool
    settings: AuditSettings
    rules: tuple[Rule, ...]


def load_audit(path: Path | str) -> AuditConfig:
    """Read and check an audit's TOML file.

    Args:
        path: The file. Relative paths in it are resolved as those of a crawl's.

    Raises:
        ConfigError: One line: the file, the key, what is wrong and the nearest valid names.
    """
    path = Path(path)
    document = read_toml(path)
    for key in document:
        if key not in _TABLES:
            raise ConfigError(f"{path}: {key}: unknown key{did_you_mean(key, _TABLES)}")
    crawl = crawl_config(path, {key: value for key, value in document.items() if key in _CRAWL})
    settings = _settings(path, document.get("audit", {}))
    return AuditConfig(
        name=path.stem,
        crawl=crawl,
        selects="select" in document,
        settings=settings,
        rules=_rules(path, document.get("rules", []), every_rule=settings.every_rule),
    )


def _settings(path: Path, table: Any) -> AuditSettings:
    try:
        return AuditSettings.model_validate(table)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        key = ".".join(("audit", *(str(step) for step in problem["loc"][:1])))
        if problem["type"] == "extra_forbidden":
            hint = did_you_mean(str(problem["loc"][-1]), AuditSettings.model_fields)
            raise ConfigError(f"{path}: {key}: unknown key{hint}") from None
        if problem["type"] == "literal_error":
            options = ("info", "warning", "error", "never")
            hint = did_you_mean(str(problem["input"]), options)
            raise ConfigError(
                f"{path}: {key}: {one_line(repr(problem['input']))[:60]} is not valid{hint}"
            ) from None
        raise ConfigError(f"{path}: {key}: {one_line(problem['msg'])}") from None


def _rules(path: Path, tables: Any, *, every_rule: bool) -> tuple[Rule, ...]:
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigError(f"{path}: rules: expected tables; write each as [[rules]]")
    rules = [make_rule(table, f"{path}: rules[{number}]") for number, table in enumerate(tables, 1)]
    if every_rule or not rules:
        given = {rule.kind for rule in rules}
        rules += [rule.model_validate({}) for rule in BUILT_IN if rule.kind not in given]
    names: set[str] = set()
    for rule in rules:
        if rule.called in names:
            raise ConfigError(
                f"{path}: rules: two are called {rule.called!r}; give one of them a name of its own"
            )
        names.add(rule.called)
    return tuple(rules)
