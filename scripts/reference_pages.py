"""Writes the generated pages of docs/ from the program; with --check, compares them and writes nothing."""

import argparse
import difflib
import sys
from collections.abc import Iterator
from pathlib import Path

from command_reference import command_reference
from configuration_reference import configuration_reference

from harvester.cli.audit import list_rules

DOCS = Path(__file__).parents[1] / "docs"
RULES = "\n## Rules\n\n"  # the last section of docs/audits.md; the text before it is written by hand


def main() -> int:
    """Write the pages, or compare them; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a page is outdated")
    parser.add_argument("--docs", type=Path, default=DOCS, help="the folder (default: %(default)s)")
    options = parser.parse_args()
    outdated = False
    for path, text in pages(options.docs):
        found = path.read_text(encoding="utf-8") if path.exists() else ""
        if not options.check:
            path.write_text(text, encoding="utf-8")
        elif found != text:
            outdated = True
            lines = found.splitlines(), text.splitlines()
            print("\n".join(difflib.unified_diff(*lines, str(path), "now", "", "", 1, "")))
    if outdated:
        print("run: .venv/bin/python scripts/reference_pages.py")
    return int(outdated)


def pages(docs: Path) -> Iterator[tuple[Path, str]]:
    """Each page with its new text."""
    yield docs / "commands.md", command_reference()
    yield docs / "configuration.md", configuration_reference()
    audits = docs / "audits.md"
    by_hand = audits.read_text(encoding="utf-8").partition(RULES)[0]
    yield audits, f"{by_hand}{RULES}{list_rules()}\n"


if __name__ == "__main__":
    sys.exit(main())
