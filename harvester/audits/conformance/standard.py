"""The tables of PS3.3: the attributes that each IOD requires, by module and path."""

import gzip
import json
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, Final

from harvester.dicom.dictionary import BINARY_VRS, attributes_by_keyword

GROUP_SEQUENCES: Final = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_STRENGTH: Final = ("3", "2C", "1C", "2", "1")


@dataclass(frozen=True, slots=True)
class Values:
    """The values that a module lists for an attribute.

    Attributes:
        enumerated: Whether no other value is allowed (PS3.5 6.3); else they are Defined Terms.
        texts: The values.
        position: Of the value that they are for, from 1; 0: all values.
        condition: When they apply, as in `expressions`; empty: always.
        clause: Where the standard lists them; empty: the table of the module.
    """

    enumerated: bool
    texts: tuple[str, ...]
    position: int = 0
    condition: str = ""
    clause: str = ""


@dataclass(frozen=True, slots=True)
class Requirement:
    """What one module says of an attribute.

    Attributes:
        type: `1`, `1C`, `2`, `2C` or `3` (PS3.5 7.4).
        module: The module, such as `general-series`.
        usage: Of the module in the IOD: `M`, `C` or `U`.
        clause: The table of the module in PS3.3.
        condition: When Type 1C or 2C applies, as in `expressions`; empty: not in the table.
        exclusive: Whether the attribute shall be absent if the condition is false (PS3.5 7.4.2).
        forbidden: When the attribute shall be absent; empty: as `exclusive` says.
    """

    type: str
    module: str
    usage: str
    clause: str
    condition: str = ""
    exclusive: bool = False
    forbidden: str = ""


@dataclass(slots=True)
class Attribute:
    """An attribute of an IOD at one place.

    Attributes:
        keyword: Its keyword.
        requirements: One per module that has it.
        values: The lists of values that apply, each with the module that has it.
        sources: The tables of its items, each with the module that has it.
        item_counts: How many items a sequence may have: one VM, or `=` and the keyword of the attribute that
            counts them, per requirement; empty: any number.
    """

    keyword: str
    requirements: list[Requirement] = field(default_factory=list)
    values: list[tuple[Values, Requirement]] = field(default_factory=list)
    sources: list[tuple[int, Requirement]] = field(default_factory=list)
    item_counts: list[str] = field(default_factory=list)
    _items: "Level | None" = None

    @property
    def items(self) -> "Level":
        """The attributes of its items, if it is a sequence."""
        if self._items is None:
            self._items = {}
            for number, source in self.sources:
                _add(self._items, number, source)
        return self._items


Level = dict[str, Attribute]


@dataclass(frozen=True, slots=True)
class Iod:
    """An IOD of PS3.3 annex A.

    Attributes:
        name: Such as `ct-image`.
        modules: Usage by module.
        attributes: Those of all modules, by keyword.
        groups: Usage of its functional groups, by the keyword of their sequence.
        conditions: Of modules and functional groups of usage C, by module or keyword.
    """

    name: str
    modules: dict[str, str]
    attributes: Level
    groups: dict[str, str]
    conditions: dict[str, str]


@lru_cache(maxsize=1)
def tables() -> dict[str, Any]:
    """The tables as scripts/standard_tables.py wrote them."""
    content = files("harvester.audits.conformance").joinpath("standard.json.gz").read_bytes()
    loaded: dict[str, Any] = json.loads(gzip.decompress(content))
    return loaded


def edition() -> str:
    """The edition of PS3.3, such as `2026b`."""
    return str(tables()["edition"])


def iod_name(sop_class_uid: str) -> str | None:
    """The IOD of a SOP class; None if the tables do not have the class."""
    name: str | None = tables()["classes"].get(sop_class_uid)
    return name


@lru_cache(maxsize=256)
def iod(name: str) -> Iod:
    """The IOD of a name."""
    data = tables()
    modules = {module: usage for module, usage in data["iods"][name] if module in data["modules"]}
    attributes: Level = {}
    for module, usage in modules.items():
        clause, number = data["modules"][module]
        _add(attributes, number, Requirement("", module, usage, f"PS3.3 {clause}".strip()))
    conditions = {
        key.rpartition("/")[2]: expression
        for key, expression in data["conditions"].items()
        if key.startswith(f"{name}/")
    }
    return Iod(name, modules, attributes, data["groups"].get(name, {}), conditions)


def _add(level: Level, number: int, source: Requirement) -> None:
    """Add the attributes of one table to a level."""
    for keyword, kind, items, facts in tables()["nodes"][number]:
        attribute = level.setdefault(keyword, Attribute(keyword))
        requirement = Requirement(
            kind if kind in _STRENGTH else "3",
            source.module,
            source.usage,
            source.clause,
            facts.get("condition", ""),
            facts.get("exclusive", False),
            facts.get("forbidden", ""),
        )
        attribute.requirements.append(requirement)
        if "values" in facts:
            listed, texts = facts["values"]
            attribute.values.append((Values(listed == "E", tuple(texts)), requirement))
        attribute.item_counts.append(facts.get("items", ""))
        if items is not None:
            attribute.sources.append((items, source))


def weakest(attribute: Attribute) -> Requirement:
    """The requirement of an attribute in an item: where several modules define the item, the weakest."""
    return min(attribute.requirements, key=lambda one: _STRENGTH.index(one.type))


def strongest(requirements: list[Requirement]) -> Requirement:
    """The requirement that counts at the top level, where all modules apply."""
    return max(requirements, key=lambda one: _STRENGTH.index(one.type))


@lru_cache(maxsize=1)
def type_1_attributes() -> dict[str, tuple[str, ...]]:
    """The top-level attributes of Type 1 that have a column, by SOP class; without classes that have none."""
    known = attributes_by_keyword()

    @cache
    def of_iod(name: str) -> tuple[str, ...]:
        return tuple(
            attribute.keyword
            for attribute in iod(name).attributes.values()
            if any(one.type == "1" and one.usage == "M" for one in attribute.requirements)
            and (entry := known.get(attribute.keyword.lower())) is not None
            and not entry.repeating
            and not any(vr in entry.vr for vr in BINARY_VRS)
            # Macros of content items apply by Value Type (PS3.3 C.17.3).
            and not any(one.module == "sr-document-content" for one in attribute.requirements)
        )

    return {uid: names for uid, name in tables()["classes"].items() if (names := of_iod(name))}
