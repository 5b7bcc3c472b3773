"""Writes docs/configuration.md from the configuration's models; with --check, compares it with them."""

import argparse
import difflib
import sys
from itertools import groupby
from pathlib import Path

from harvester.config.reference import Key, keys

PAGE = Path(__file__).parents[1] / "docs" / "configuration.md"
INTRODUCTION = """\
# Configuration

<!-- Written by scripts/configuration_reference.py from the models: change harvester/config, then run it. -->

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


def main() -> int:
    """Write the page, or compare it; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the page is outdated")
    text = configuration_reference()
    if not parser.parse_args().check:
        PAGE.write_text(text, encoding="utf-8")
        return 0
    found = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    if found == text:
        return 0
    print(
        "\n".join(
            difflib.unified_diff(found.splitlines(), text.splitlines(), str(PAGE), "now", "", "", 1, "")
        )
    )
    print("run: .venv/bin/python scripts/configuration_reference.py")
    return 1


def configuration_reference() -> str:
    """The page, in Markdown."""
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


if __name__ == "__main__":
    sys.exit(main())
