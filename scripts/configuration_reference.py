"""The text of docs/configuration.md, which scripts/reference_pages.py writes."""

from itertools import groupby

from harvester.config.reference import Key, keys

INTRODUCTION = """\
# Configuration

<!-- Written by scripts/reference_pages.py from the models: change harvester/config, then run it. -->

A crawl is a TOML file with these tables. `harvester init` writes one, `harvester config CONFIG` checks it and
prints the value of every key, and `harvester config --schema` prints a JSON Schema for editors. An audit has
`[audit]` and `[[rules]]` besides: [audits](audits.md).
"""
TEXTS = {
    "": "Before the first table:",
    "source": "The catalog of series, and the cloud that is read.",
    "select": "The series to harvest. All keys must hold. Any other key is a column of the catalog, such as\n"
    '`collection_id = ["nlst"]` or `Modality = "CT"`: the series\' value must be one of these.',
    "limits": "How hard the crawl works: [limits](limits.md) has the reasons.",
    "frames": "The frame index of compressed multi-frame objects.",
    "schedule": "When `harvester schedule` runs it: [schedules](schedules.md).",
}


def configuration_reference() -> str:
    """The page, in Markdown."""
    for key in keys():
        if not key.meaning or not key.example:
            name = ".".join(filter(None, (key.table, key.name)))
            raise SystemExit(f"harvester/config/reference.py: {name} has no meaning or no example")
    parts = [INTRODUCTION]
    for table, group in groupby(keys(), key=lambda key: key.table):
        if table:
            parts.append(f"## `[{table}]`\n")
        parts.append(f"{TEXTS[table]}\n")
        parts.append(
            "| key | type | default | | example |\n|---|---|---|---|---|\n" + "".join(map(_row, group))
        )
    return "\n".join(parts)


def _row(key: Key) -> str:
    default = "required" if key.default == "required" else f"`{key.default}`" if key.default else "none"
    return f"| `{key.name}` | {key.kind} | {default} | {key.meaning} | `{key.example}` |\n"
