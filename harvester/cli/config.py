"""`harvester config`: checks a configuration and shows its values."""

import json
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from harvester.audits import load_audit
from harvester.catalog import open_catalog
from harvester.cli.options import JsonOption, show
from harvester.config import CrawlConfig, load, read_toml
from harvester.config.reference import json_schema, keys, to_toml
from harvester.errors import ConfigError
from harvester.messages import count, size

EPILOG: Final = (
    "Examples: `harvester config lung-ct.toml`, `harvester config --schema > harvester.schema.json`"
)


def command(
    config: Annotated[
        Path | None,
        typer.Argument(metavar="CONFIG", help="The TOML file of a crawl or an audit.", show_default=False),
    ] = None,
    *,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of a crawl's file, for editors.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check a configuration; print the value of every key, which keys are defaults, and what is selected.

    Nothing is fetched from buckets.
    """
    if schema:
        typer.echo(json.dumps(json_schema(), indent=2))
        return
    if config is None:
        raise ConfigError("give a configuration file, or --schema")
    document = read_toml(config)
    audit = load_audit(config) if {"audit", "rules"} & document.keys() else None
    settings = load(config) if audit is None else audit.crawl
    if as_json:
        typer.echo(json.dumps(settings.model_dump(mode="json")))
        return
    for line in _lines(settings, document):
        show(line)
    if audit is not None:
        show(f"\n# rules: {', '.join(rule.label for rule in audit.rules)}")
    if audit is None or audit.selects:
        with open_catalog(settings) as catalog:
            selected = catalog.summary().total
            show(
                f"\n# {catalog.name}: {count(selected.series, 'series')}, "
                f"{count(selected.instances, 'instance')}, {size(selected.size)}"
            )


def _lines(settings: CrawlConfig, document: dict[str, Any]) -> list[str]:
    lines, current = [], ""
    for key in keys():
        if key.table != current:
            if getattr(settings, key.table) is None:
                continue
            current = key.table
            lines += ["", f"[{current}]"]
            if current == "select":
                lines += [f"{name} = {to_toml(values)}" for name, values in settings.select.columns.items()]
        table = settings if not key.table else getattr(settings, key.table)
        given = document if not key.table else document.get(key.table, {})
        value = to_toml(getattr(table, key.name))
        if value:
            lines.append(f"{key.name} = {value}" + ("" if key.name in given else "  # default"))
    return lines
