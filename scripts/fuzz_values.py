#!/usr/bin/env python
"""Compares the values of mutated headers with those that pydicom and dcmtk's dcmdump read.

The mutations know the structure: they change values, lengths, value representations and tags of elements,
repeat, remove and exchange elements, and wrap them in items. Where harvester has a value in a column and both
others read another one, or lacks an element that both read, this is a finding: exit status 1 and a file with
the bytes. Elements on which the two others disagree, and those in `invalid_elements`, are not compared.
"""

import argparse
import datetime as dt
import io
import logging
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
from pydicom.datadict import dictionary_VR

from harvester.dicom import Header, HeaderColumns, HeaderParser
from harvester.dicom.dictionary import attribute, name_of
from harvester.errors import ObjectError

TEXTS = (b"A", b"a b ", b" x", b"A\\B", b"N/A", b"")
VALUES = {
    "DA": (b"20240131", b"2024.01.31", b"2024-01-31", b"202401", b"20240131-20240201", b"2024 1 1"),
    "TM": (b"101112", b"10:11:12", b"1011", b"101112.1234567", b"10.11.12", b"251112", b"101160"),
    "DT": (b"20240131101112", b"2024-01-31T10:11:12", b"20240131+0100", b"2024+0100", b"2024.01.31"),
    "DS": (b"1.5", b"1\\2", b"NaN", b"1e5", b"1,5", b" 1 ", b"1_0", b"0x10"),
    "IS": (b"5", b"5.0", b"5.5", b"+5", b"1e3", b"99999999999", b"1_0"),
    "AS": (b"030Y", b"30", b"abcd"),
}
SHORT = ("AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UI")
LONG = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
TAGS = (
    *(0x00080005, 0x00080012, 0x00080020, 0x0008002A, 0x00080030, 0x00080050, 0x00080060, 0x00080070),
    *(0x00081030, 0x00100010, 0x00100020, 0x00101010, 0x00180050, 0x00181030, 0x00189701, 0x00200013),
    *(0x00201041, 0x00280010, 0x00280030, 0x00280120, 0x00281050, 0x00324000, 0x00400310),
)
SEQUENCES = (0x00081140, 0x00082218, 0x00400275, 0x00409210)
SYNTAXES = {"explicit": "1.2.840.10008.1.2.1", "implicit": "1.2.840.10008.1.2"}
DUMPED = re.compile(r"^\((?P<tag>[0-9a-f]{4},[0-9a-f]{4})\) (?P<vr>\S\S) (?P<value>.*?) +# +\S+, ?\d+ \S+$")
COMPARED = frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "SH", "ST", "TM", "UI", "US"})


def main() -> int:
    """Parse the command line, search, and say how many cases there were."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--seconds", type=float, default=60, help="how long to search (60)")
    options.add_argument("--cases", type=int, help="how many cases to try, whatever the time")
    options.add_argument("--seed", type=int, default=0, help="of the random mutations (0)")
    options.add_argument("--findings", type=Path, default=Path(tempfile.gettempdir()), help="where they go")
    given = options.parse_args()
    if shutil.which("dcmdump") is None:
        sys.exit("dcmdump is missing: install Debian's dcmtk")
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    outcomes: Counter[str] = Counter()
    began, cases, status = time.monotonic(), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        for raw in mutated(given.seed):
            if (time.monotonic() - began >= given.seconds) if given.cases is None else cases >= given.cases:
                break
            cases += 1
            found = compared(raw, Path(folder) / "case.dcm", outcomes)
            for what in found:
                print(f"case {cases}: {what}", file=sys.stderr)
            if found:
                given.findings.mkdir(parents=True, exist_ok=True)
                path = given.findings / f"value-{given.seed}-{cases}.dcm"
                path.write_bytes(raw)
                print(f"  its bytes: {path}", file=sys.stderr)
                status = 1
    counts = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common())
    print(f"{cases} cases in {time.monotonic() - began:.0f} s ({counts})")
    return status


def mutated(seed: int) -> Iterator[bytes]:
    """Endlessly many headers with irregular structure and values; the same for the same seed."""
    pick = random.Random(seed)  # noqa: S311  no secret
    while True:
        encoding = pick.choice(tuple(SYNTAXES))
        elements = _data_set(pick, encoding, depth=2)
        uid = SYNTAXES[encoding].encode()
        meta = _element(0x00020010, "UI", uid + b"\0" * (len(uid) % 2), "explicit")
        yield bytes(128) + b"DICM" + meta + b"".join(elements)


def _data_set(pick: random.Random, encoding: str, depth: int) -> list[bytes]:
    tags = sorted(pick.sample(TAGS, pick.randrange(3, 9)))
    elements = [_random_element(pick, tag, encoding) for tag in tags]
    if depth:
        for tag in pick.sample(SEQUENCES, pick.randrange(2)):
            items = (_item(pick, encoding, depth - 1) for _ in range(pick.randrange(1, 3)))
            content = b"".join(items)
            elements.append(_element(tag, "SQ", content, encoding))
    if pick.random() < 0.3:
        _break(pick, elements)
    return elements


def _break(pick: random.Random, elements: list[bytes]) -> None:
    """Break a rule of the encoding."""
    index = pick.randrange(len(elements))
    kind = pick.randrange(5)
    if kind == 0:
        elements.insert(index, elements[pick.randrange(len(elements))])
    elif kind == 1:
        elements[index] = elements[index][:4] + pick.choice((b"  ", b"ZZ", b"\0\0")) + elements[index][6:]
    elif kind == 2:
        elements.insert(index, bytes(8 * pick.randrange(1, 4)))
    elif kind == 3:
        elements.insert(index, b"\xfe\xff" + pick.choice((b"\x0d\xe0", b"\xdd\xe0")) + bytes(4))
    else:
        elements[index] = elements[index][:6] + struct.pack("<H", pick.randrange(20)) + elements[index][8:]


def _item(pick: random.Random, encoding: str, depth: int) -> bytes:
    content = b"".join(_data_set(pick, encoding, depth))
    if pick.random() < 0.4:
        return b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + content + b"\xfe\xff\x0d\xe0\0\0\0\0"
    return b"\xfe\xff\x00\xe0" + struct.pack("<L", len(content)) + content


def _random_element(pick: random.Random, tag: int, encoding: str) -> bytes:
    vr = dictionary_VR(tag).split(" ")[0]
    if pick.random() < 0.05:
        vr = pick.choice(SHORT)
    value = struct.pack("<H", pick.randrange(1 << 16)) if vr == "US" else pick.choice(VALUES.get(vr, TEXTS))
    return _element(tag, vr, value + b" " * (len(value) % 2), encoding)


def _element(tag: int, vr: str, value: bytes, encoding: str) -> bytes:
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    if encoding == "implicit":
        return head + struct.pack("<L", len(value)) + value
    if vr in LONG:
        return head + vr.encode() + struct.pack("<HL", 0, len(value)) + value
    return head + vr.encode() + struct.pack("<H", len(value)) + value


def compared(raw: bytes, path: Path, outcomes: Counter[str]) -> list[str]:
    """Values that harvester reads differently from both pydicom and dcmdump."""
    row = _row(raw)
    if row is None:
        outcomes["refused"] += 1
        return []
    theirs = _by_pydicom(raw)
    path.write_bytes(raw)
    dumped = _by_dcmdump(path)
    if theirs is None or dumped is None:
        outcomes["not read by the others"] += 1
        return []
    found = []
    doubtful = {entry["path"] for entry in row["invalid_elements"]}
    for tag, text in theirs.items():
        name = name_of(tag)
        if dumped.get(tag) != text or name in doubtful or "" in doubtful:
            outcomes["value without two witnesses" if name not in doubtful else "value in doubt"] += 1
            continue
        ours = row.get(name)
        texts = None if ours is None or ours == [] else _canonical(ours)
        outcomes["value compared"] += 1
        if texts != _expected(tag, text) or (texts is None and name not in row["empty_elements"]):
            found.append(f"{name}: {ours!r}, pydicom and dcmdump have {text!r}")
    return found


def _row(raw: bytes) -> dict[str, Any] | None:
    try:
        header = HeaderParser(len(raw)).feed(raw)
        if not isinstance(header, Header):
            raise TypeError(f"more than the whole file is wanted: {header}")
        columns = HeaderColumns()
        columns.append(header)
    except ObjectError:
        return None
    return {name: array[0].as_py() for name, array in columns.finish().items()}


def _by_pydicom(raw: bytes) -> dict[int, str] | None:
    """The top-level values of the compared VRs, as they are written."""
    try:
        data_set = pydicom.dcmread(io.BytesIO(raw), force=True)
        found = {}
        for tag in data_set.keys():  # noqa: SIM118  its values are decoded on the way else
            element = data_set.get_item(tag)
            vr, value = element.VR, element.value
            if vr is None and attribute(int(tag)) is not None:
                vr = dictionary_VR(tag)
            if vr == dictionary_VR(tag) and vr in COMPARED and isinstance(value, bytes):
                text = str(int.from_bytes(value, "little")) if vr == "US" else value.decode("latin-1")
                if vr != "US" or len(value) == 2:
                    found[int(tag)] = text.rstrip(" \0")
    except Exception:  # noqa: BLE001  whatever it raises, it has not read the file
        return None
    return found


def _by_dcmdump(path: Path) -> dict[int, str] | None:
    """The same by dcmdump: top-level elements have no indent."""
    command = ["dcmdump", "-q", "+L", "-Un", "+E", str(path)]
    try:
        done = subprocess.run(command, check=False, capture_output=True, timeout=5)
    except subprocess.TimeoutExpired:  # it never ends on some broken sequences
        return None
    if done.returncode:
        return None
    found: dict[int, str] = {}
    for line in done.stdout.decode("latin-1").splitlines():
        match = DUMPED.match(line)
        if match is None:
            continue
        text = match["value"]
        text = text[1:-1] if text.startswith("[") and text.endswith("]") else text
        text = "" if text == "(no value available)" else text
        found[int(match["tag"].replace(",", ""), 16)] = text.rstrip(" \0")
    return found


def _canonical(value: Any) -> Any:
    return [_canonical(one) for one in value] if isinstance(value, list) else str(value)


def _expected(tag: int, text: str) -> Any:
    """The text as the column holds it, read in the simplest way that is right for a valid value."""
    vr, entry = dictionary_VR(tag), attribute(tag)
    unsplit = vr in ("LT", "ST")
    parts = [text] if unsplit else [part.rstrip(" \0") for part in text.split("\\")]
    if vr != "AS":  # PS3.5 6.2: four characters, without padding
        parts = [part if unsplit else part.lstrip(" \0") for part in parts]
    values = [_converted(vr, part) for part in parts]
    if parts == [""]:
        return None
    return values if entry is not None and entry.many else values[0]


def _converted(vr: str, text: str) -> str:  # noqa: PLR0911  one for each VR
    if not text:
        return "None"
    if vr == "DS":
        return str(float(text))
    if vr == "IS":
        return str(int(float(text)))
    if vr == "DA":
        digits = text.replace(".", "")
        return f"{digits[:4]}-{digits[4:6]}-{digits[6:]}"
    if vr == "TM":
        digits = text.replace(":", "").partition(".")[0].ljust(6, "0")
        return f"{digits[:2]}:{digits[2:4]}:{digits[4:].replace('60', '59')}"
    if vr == "DT":
        return _moment(text)
    return text


def _moment(text: str) -> str:
    digits, sign, offset = re.fullmatch(r"(\d+)([+-]?)(\d*)", text).groups()  # type: ignore[union-attr]
    month, day, rest = digits[4:6] or "01", digits[6:8] or "01", digits[8:].ljust(6, "0")
    moment = f"{digits[:4]}-{month}-{day} {rest[:2]}:{rest[2:4]}:{rest[4:]}"
    if not sign:
        return moment
    minutes = (int(offset[:2]) * 60 + int(offset[2:])) * (-1 if sign == "+" else 1)

    return str(dt.datetime.fromisoformat(moment) + dt.timedelta(minutes=minutes))


if __name__ == "__main__":
    sys.exit(main())
