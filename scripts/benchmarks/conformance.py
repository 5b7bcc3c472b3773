"""Conformance of a synthetic dataset: time, memory, and CPU against dciodvfy."""

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb
from conformance_agreement import dciodvfy
from pydicom.data import get_testdata_file

from harvester.audits.conformance import check_dataset

HERE = Path(__file__).parent


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


def dciodvfy_cpu(times: int = 5) -> float:
    """Seconds of CPU that dciodvfy takes for a small CT or MR image."""
    files = [get_testdata_file(name) for name in ("CT_small.dcm", "MR_small.dcm")]
    before = os.times()
    for file in files * times:
        subprocess.run([str(dciodvfy()), "-new", str(file)], capture_output=True, check=False, timeout=120)
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return spent / (times * len(files))


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(prog="scripts/bench conformance", description=__doc__)
    parser.add_argument("--dataset", type=Path, help="a dataset; without it, one is made")
    parser.add_argument("--instances", type=int, default=1_000_000, help="of the one that is made")
    arguments = parser.parse_args()
    print(f"Python {platform.python_version()}, DuckDB {duckdb.__version__}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as name:
        measure(arguments.dataset or made(Path(name), arguments.instances))


if __name__ == "__main__":
    main()
