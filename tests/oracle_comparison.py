"""Compares a row of `instances` with pydicom's reading of the same file."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pydicom import datadict
from pydicom._dicom_dict import RepeatersDictionary

PIXEL_DATA = {0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData", 0x7FE00010: "PixelData"}
REPEATER_TAGS = {entry[4]: mask.replace("x", "0").upper() for mask, entry in RepeatersDictionary.items()}
UNDEFINED = 0xFFFFFFFF
SEQUENCE_DELIMITER = b"\xfe\xff\xdd\xe0\0\0\0\0"
HARVEST_COLUMNS = (
    "preamble",
    "header_bytes",
    "pixel_data_offset",
    "pixel_data_keyword",
    "encapsulated",
    "basic_offset_table",
    "extended_offset_table",
)


@dataclass(frozen=True, slots=True)
class ExpectedOther:
    """One entry of `OtherElements`; `texts` is None if the value is not text."""

    path: str
    tag: str
    creator: str | None = None
    texts: tuple[str | None, ...] | None = None
    needed: bool = True


@dataclass(frozen=True, slots=True)
class ExpectedBulk:
    """One entry of `bulk_data`: `data` as pydicom read it, `open_ended` if its length is undefined."""

    path: str
    vr: str
    data: bytes
    open_ended: bool = False

    @property
    def length(self) -> int:
        """Bytes of the value."""
        return len(self.data)


@dataclass(slots=True)
class ExpectedRow:
    """The row that the contract requires; paths have keywords, or tags where there is no keyword.

    `loose` are elements for which the contract leaves the place open (any of column, bulk, other or
    invalid will do; where it is empty: `ignored`), `pydicom_refuses` those whose value pydicom raises
    on; none is compared. `repeated`
    stand twice at the top level: pydicom keeps the last, so that the row has to hold the other elsewhere.
    `content` is the file, inflated where it is deflated: offsets count in it.
    """

    columns: dict[str, Any] = field(default_factory=dict)
    other: list[ExpectedOther] = field(default_factory=list)
    bulk: list[ExpectedBulk] = field(default_factory=list)
    invalid: list[str] = field(default_factory=list)
    loose: list[str] = field(default_factory=list)
    pydicom_refuses: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    content: bytes = b""
    deflated: bool = False
    size: int = 0
    preamble: str = "none"
    header_bytes: int = 0
    pixel_data_offset: int | None = None
    pixel_data_keyword: str | None = None
    encapsulated: bool | None = None
    basic_offset_table: bool | None = None
    extended_offset_table: bool | None = None
    cut_in_table: bool = False


def differences(expected: ExpectedRow, row: dict[str, Any]) -> list[str]:
    """The differences of a row (a `to_pylist()` entry) from pydicom and the contract."""
    found: list[str] = []
    for name in HARVEST_COLUMNS:
        if name == "basic_offset_table" and expected.cut_in_table:
            continue
        wanted, got = getattr(expected, name), row.get(name)
        compressed_end = expected.deflated and expected.encapsulated is None and name == "header_bytes"
        if got != wanted and not (compressed_end and got == expected.size):
            found.append(f"{name}: expected {wanted!r}, row has {got!r}")
    skipped = {as_tags(path) for path in (*expected.loose, *expected.ignored, *expected.pydicom_refuses)}
    keywords = {name: value for name, value in row.items() if _is_keyword(name)}
    found += _compare_items(expected.columns, keywords, "", skipped)
    found += _compare_other(expected, row, skipped)
    found += _compare_bulk(expected, row, skipped)
    invalid = {as_tags(entry["path"]): entry["path"] for entry in row.get("invalid_elements") or ()}
    wanted_invalid = {as_tags(path): path for path in expected.invalid}
    for key in wanted_invalid.keys() - invalid.keys():
        found.append(f"invalid_elements: {wanted_invalid[key]} missing")
    for key in invalid.keys() - wanted_invalid.keys() - skipped - set(map(as_tags, expected.repeated)):
        found.append(f"invalid_elements: {invalid[key]} not expected")
    return found


def losses(expected: ExpectedRow, row: dict[str, Any]) -> list[str]:
    """The elements that are missing in the row, and the bulk entries with wrong positions."""
    found: list[str] = []
    named = {
        as_tags(entry["path"])
        for column in ("OtherElements", "bulk_data", "invalid_elements")
        for entry in row.get(column) or ()
    }
    in_columns = {as_tags(path) for path, value in _leaves(row, "") if value not in (None, [])}
    places = named | in_columns
    wanted = [path for path, value in _leaves(expected.columns, "") if value not in (None, [])]
    wanted += [other.path for other in expected.other if other.needed]
    wanted += [bulk.path for bulk in expected.bulk]
    wanted += [*expected.invalid, *expected.loose, *expected.pydicom_refuses]
    found += [f"{path} is nowhere in the row" for path in wanted if as_tags(path) not in places]
    found += [
        f"{path} stands twice, and once in the row"
        for path in expected.repeated
        if as_tags(path) not in named
    ]
    values = {as_tags(bulk.path): bulk for bulk in expected.bulk}
    for entry in row.get("bulk_data") or ():
        bulk = values.get(as_tags(entry["path"]))
        if bulk is None or entry["offset"] is None:
            continue
        start, length = entry["offset"], entry["length"]
        if bulk.open_ended and (length is None or length == UNDEFINED):
            length = bulk.length
        held = expected.content[start : start + length]
        if held != bulk.data and not (bulk.open_ended and held == bulk.data + SEQUENCE_DELIMITER):
            found.append(f"bulk_data: {bulk.path} points at [{start}, +{length}], which is not its value")
    return found


def _is_keyword(name: str) -> bool:
    # Not by the first letter's case: there is a keyword dBdt (0018,1318).
    return datadict.tag_for_keyword(name) is not None or name in REPEATER_TAGS


def as_tags(path: str) -> str:
    """A path with every keyword turned into its tag, so that both spellings are equal."""

    def tag(match: re.Match[str]) -> str:
        name = match.group()
        if re.fullmatch(r"[0-9A-Fa-f]{8}", name):
            return name.upper()
        number = datadict.tag_for_keyword(name)
        return REPEATER_TAGS.get(name, name) if number is None else f"{number:08X}"

    return re.sub(r"(?<![\w\[])\w+", tag, path)


def _compare_items(wanted: dict[str, Any], got: dict[str, Any], prefix: str, skipped: set[str]) -> list[str]:
    found: list[str] = []
    for name in sorted(wanted.keys() | got.keys()):
        path = prefix + name
        if as_tags(path) in skipped:
            continue
        expected, actual = wanted.get(name), got.get(name)
        if _is_items(expected) or (expected in (None, []) and _is_items(actual)):
            if expected is None or actual is None or len(expected) != len(actual):
                count = tuple(None if value is None else len(value) for value in (expected, actual))
                found.append(f"{path}: expected {count[0]} items, row has {count[1]}")
                continue
            for i, (one, other) in enumerate(zip(expected, actual, strict=True)):
                found += _compare_items(one, other or {}, f"{path}[{i}].", skipped)
        elif not _same(expected, actual):
            found.append(f"{path}: expected {_short(expected)}, row has {_short(actual)}")
    return found


def _is_items(value: Any) -> bool:
    """Whether a value is a sequence's items, and not a list of person names."""
    if not isinstance(value, list) or not any(isinstance(item, dict) for item in value):
        return False
    return all(item is None or (isinstance(item, dict) and "Alphabetic" not in item) for item in value)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return type(one) is type(other) and bool(one == other)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:100]}... ({len(text)} characters)"


def _compare_other(expected: ExpectedRow, row: dict[str, Any], skipped: set[str]) -> list[str]:
    found: list[str] = []
    entries = {as_tags(entry["path"]): entry for entry in row.get("OtherElements") or ()}
    if len(entries) != len(row.get("OtherElements") or ()):
        found.append("OtherElements: a path stands there twice")
    wanted = {as_tags(other.path): other for other in expected.other}
    for key, other in wanted.items():
        entry = entries.get(key)
        if entry is None:
            if other.needed:
                found.append(f"OtherElements: {other.path} missing")
            continue
        if entry["Tag"] != other.tag:
            found.append(f"OtherElements: {other.path} has Tag {entry['Tag']!r}")
        if other.creator is not None and entry["Creator"] != other.creator:
            found.append(f"OtherElements: {other.path} expected {other.creator!r}, has {entry['Creator']!r}")
        if other.texts is not None and key not in skipped:
            data = tuple((text or "").strip(" \0") or None for text in entry["Data"] or ())
            if data != other.texts and not (not any(data) and not any(other.texts)):
                found.append(
                    f"OtherElements: {other.path} expected {_short(other.texts)}, has {_short(data)}"
                )
    unexpected = entries.keys() - wanted.keys() - skipped
    found += [f"OtherElements: {entries[key]['path']} not expected" for key in sorted(unexpected)]
    return found


def _compare_bulk(expected: ExpectedRow, row: dict[str, Any], skipped: set[str]) -> list[str]:
    found: list[str] = []
    entries = {as_tags(entry["path"]): entry for entry in row.get("bulk_data") or ()}
    wanted = {as_tags(bulk.path): bulk for bulk in expected.bulk}
    for key, bulk in wanted.items():
        if key not in entries:
            found.append(f"bulk_data: {bulk.path} ({bulk.vr}, {bulk.length} bytes) missing")
        elif entries[key]["length"] != bulk.length and not bulk.open_ended:
            found.append(f"bulk_data: {bulk.path} is {bulk.length} long, row has {entries[key]['length']}")
    pixel_data = {as_tags(name) for name in PIXEL_DATA.values()}
    unexpected = entries.keys() - wanted.keys() - skipped - pixel_data
    found += [f"bulk_data: {entries[key]['path']} not expected" for key in sorted(unexpected)]
    return found


def _leaves(item: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in item.items():
        if not _is_keyword(name):
            continue
        yield prefix + name, value
        if _is_items(value):
            for i, inner in enumerate(value):
                yield from _leaves(inner or {}, f"{prefix}{name}[{i}].")
