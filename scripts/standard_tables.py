#!/usr/bin/env python
"""Makes the table of the standard that `harvester conformance` uses, from public machine-readable tables.

Types, paths, modules and SOP classes come from the installed highdicom, whose repository names the edition in
src/highdicom/_standard/README.md; module clauses, functional group usage, Enumerated Values, Defined Terms,
regular conditions and numbers of items from the JSON files of innolitics/dicom-standard (its repository, or
the wheel `dicom-standard`), or from the present table. Only facts are taken over: keywords, types, values,
expressions and table numbers, no text.

    scripts/standard_tables.py --edition 2026b
    scripts/standard_tables.py --edition 2026b --innolitics dicom-standard/standard
"""

import argparse
import gzip
import json
import re
from collections import defaultdict
from collections.abc import Container, Iterable
from html.parser import HTMLParser
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydicom.datadict import keyword_for_tag
from standard_conditions import Resolve, condition, forbidden, forbids

OUTPUT = Path(__file__).parent.parent / "harvester/audits/conformance/standard.json.gz"
STRENGTH = ("1", "2", "1C", "2C", "3", "None")
COMMON = 20
COMMON_IN_SEQUENCE = 3
MULTI_FRAME = "multi-frame-functional-groups"
GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
IN_SEQUENCE = (
    r" (?:shall be (?:included|present)|(?:is|are) ?permitted) ?in (?:this|the) Sequence(?! if| unless|,)"
)
ITEMS = {
    "Only (?:a single|one) Item": "1",
    "(?:A single|One) Item": "1",
    "Zero or one Item": "0-1",
    "One or two Items": "1-2",
    "Two or more Items": "2-n",
    "Two Items": "2",
    "One or more Items": "1-n",
}
"""Beginnings of sentences about the number of items of a sequence, each with the VM that it means."""
Values = tuple[str, tuple[str, ...]]
Place = tuple[str, tuple[str, ...]]
Facts = dict[str, Any]
"""`values`, `condition`, `exclusive` and `items` of an attribute, as far as its description has them."""


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
            self.values.append(text.replace(" _", "_"))


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


def described(folders: Iterable[Path]) -> dict[Place, Facts]:
    """Facts of the descriptions by module (for functional group macros: `""`) and path."""
    descriptions: dict[Place, str] = {}
    for name, module in (("module_to_attributes.json", "moduleId"), ("macro_to_attributes.json", "")):
        for row in load(name, folders):
            place = (row[module] if module else "", keyword_path(row["path"]))
            descriptions.setdefault(place, row["description"])
    top = {path[0] for module, path in descriptions if module and len(path) == 1}
    found: dict[Place, Facts] = {}
    for (module, path), description in descriptions.items():
        if path and (facts := facts_of(description, resolver(module, path, descriptions, top))):
            found[module, path] = facts
    return found | common_facts(found)


def common_facts(found: dict[Place, Facts]) -> dict[Place, Facts]:
    """Facts that an attribute has in all of many places, as those of macros do; their module is `*`.

    The place is the keyword, or the keyword with that of the sequence that holds it.
    """
    common: dict[tuple[str, ...], list[Facts]] = defaultdict(list)
    for (_, path), facts in found.items():
        for place in (path[-1:], path[-2:]) if len(path) > 1 else (path,):
            common[place].append(facts)
    return {
        ("*", place): facts[0]
        for place, facts in common.items()
        if len(facts) >= (COMMON if len(place) == 1 else COMMON_IN_SEQUENCE)
        and all(one == facts[0] for one in facts)
    }


def resolver(module: str, path: tuple[str, ...], places: Container[Place], top: Container[str]) -> Resolve:
    """Finds the attributes that the condition of an attribute names: beside it, or at the top level."""

    def resolve(keyword: str) -> str | None:
        if (module, (*path[:-1], keyword)) in places or (len(path) == 1 and keyword in top):
            return keyword
        if keyword not in top or any(
            (module, (*path[:n], keyword)) in places for n in range(1, len(path) - 1)
        ):
            return None
        return f"root.{keyword}"

    return resolve


def facts_of(description: str, resolve: Resolve) -> Facts:
    """What a description says."""
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", description))
    expression = condition(text, resolve)
    facts = {
        "values": listed_values(description),
        "condition": expression and expression.text,
        "exclusive": forbids(text) and (expression is None or expression.exact),
        "forbidden": forbidden(text, resolve),
        "items": number_of_items(text),
    }
    return {name: fact for name, fact in facts.items() if fact}


def number_of_items(text: str) -> str:
    """How many items a sequence may have: a VM, or `=` and the keyword of the attribute that counts them."""
    counted = re.search(
        r"number of Items (?:included )?(?:in this Sequence )?shall (?:equal|be identical to|match) "
        r"the value of ?[^(]*\((\w{4}),\s?(\w{4})\)",
        text,
    )
    if counted is not None:
        return f"={keyword_for_tag(int(counted[1] + counted[2], 16))}"
    return next((vm for start, vm in ITEMS.items() if re.search(start + IN_SEQUENCE, text)), "")


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
        """Add a tree of `{keyword: [type, facts, children]}`; return its number."""
        node = []
        for keyword, (kind, facts, children) in attributes.items():
            node.append([keyword, kind, self.add(children) if children else None, facts])
        key = json.dumps(node)
        if key not in self._numbers:
            self._numbers[key] = len(self.rows)
            self.rows.append(node)
        return self._numbers[key]


def tree(module: str, rows: Iterable[dict[str, Any]], described_facts: dict[Place, Facts]) -> dict[str, Any]:
    """The attributes of a module by keyword, nested; of two types of one attribute the weaker."""
    root: dict[str, Any] = {}
    for row in rows:
        level = root
        for step in row["path"]:
            level = level.setdefault(step, ["3", {}, {}])[2]
        path = (*row["path"], row["keyword"])
        places = [(module, path), *(("", path[n:]) for n in range(len(path)) if is_macro(path, n))]
        if module.endswith(f"-{MULTI_FRAME}"):  # one of each IOD, with its functional groups
            places.append((MULTI_FRAME, path))
        if len(path) > 1:
            places += [("*", path[-2:]), ("*", path[-1:])]
        facts = next((described_facts[place] for place in places if place in described_facts), {})
        kind = row["type"] if row["type"] in STRENGTH else "3"
        known = level.get(row["keyword"])
        if known is None:
            level[row["keyword"]] = known = [kind, {}, {}]
        known[0] = max(known[0], kind, key=STRENGTH.index)
        known[1] = {
            name: fact for name, fact in facts.items() if name in ("values", "items") or "C" in known[0]
        }
    return root


def is_macro(path: tuple[str, ...], start: int) -> bool:
    """Whether the rest of a path can be that of a functional group macro."""
    return start == 1 and path[0] in GROUPS


def clause(link: str) -> str:
    """`.../part03/sect_C.7.html#table_C.7-1` as `Table C.7-1`."""
    name = link.rpartition("#")[2]
    return name.replace("table_", "Table ").replace("sect_", "Section ")


def group_sequences(folders: Iterable[Path]) -> dict[str, set[str]]:
    """The sequence of each functional group macro."""
    roots: dict[str, set[str]] = defaultdict(set)
    for row in load("macro_to_attributes.json", folders):
        roots[row["macroId"]].add(keyword_path(row["path"])[0])
    return roots


def group_usages(folders: Iterable[Path]) -> dict[str, dict[str, str]]:
    """For each IOD the usage of its functional groups, by the keyword of the macro's sequence."""
    roots = group_sequences(folders)
    usages: dict[str, dict[str, str]] = defaultdict(dict)
    for row in load("ciod_to_func_group_macros.json", folders):
        for keyword in roots.get(row["macroId"], ()):
            usages[row["ciodId"]][keyword] = row["usage"]
    return usages


def inclusions(folders: Iterable[Path]) -> dict[str, str]:
    """Conditions of modules and functional groups of usage C, by `IOD/module` or `IOD/keyword`."""
    roots = group_sequences(folders)
    found = {}
    for name in ("ciod_to_modules.json", "ciod_to_func_group_macros.json"):
        for row in load(name, folders):
            expression = condition(row["conditionalStatement"] or "", lambda keyword: keyword)
            names = (row["moduleId"],) if "moduleId" in row else roots.get(row["macroId"], ())
            if row["usage"] == "C" and expression is not None:
                found.update({f"{row['ciodId']}/{one}": expression.text for one in names})
    return found


def present_facts(table: dict[str, Any]) -> dict[Place, Facts]:
    """The facts of the present table, by module and path."""
    found: dict[Place, Facts] = {}

    def walk(module: str, number: int, path: tuple[str, ...]) -> None:
        for keyword, _, items, facts in table["nodes"][number]:
            if facts:
                found[module, (*path, keyword)] = facts
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
        facts, groups = described(arguments.innolitics), group_usages(arguments.innolitics)
        conditions = inclusions(arguments.innolitics)
        rows = load("modules.json", arguments.innolitics)
        clauses = {row["id"]: clause(row["linkToStandard"]) for row in rows}
    else:
        present = json.loads(gzip.decompress(OUTPUT.read_bytes()))
        facts, groups = present_facts(present), present["groups"]
        conditions = present["conditions"]
        clauses = {name: text for name, (text, _) in present["modules"].items()}
    nodes = Nodes()
    table = {
        "edition": arguments.edition,
        "source": f"highdicom {version('highdicom')}, innolitics/dicom-standard",
        "classes": classes,
        "iods": {iod: [[row["key"], row["usage"]] for row in rows] for iod, rows in iods.items()},
        "groups": groups,
        "conditions": conditions,
        "modules": {
            name: [clauses.get(name, ""), nodes.add(tree(name, rows, facts))]
            for name, rows in sorted(modules.items())
        },
        "nodes": nodes.rows,
    }
    content = json.dumps(table, separators=(",", ":"), sort_keys=True).encode()
    OUTPUT.write_bytes(gzip.compress(content, mtime=0))
    print(f"{OUTPUT}: {len(modules)} modules, {len(nodes.rows)} nodes, {OUTPUT.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
