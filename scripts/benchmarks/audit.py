"""An audit of a synthetic dataset with all built-in rules: seconds of each rule, and peak memory."""

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb

from harvester.audits import AuditResult, load_audit, run_audit

HERE = Path(__file__).parent


def made(folder: Path, instances: int) -> Path:
    """Write a dataset in IDC's shape and compact it, as is usual before many queries."""
    dataset = folder / "dataset"
    command = [sys.executable, str(HERE / "made_dataset.py"), str(dataset), "--instances", str(instances)]
    subprocess.run(command, check=True)
    program = [sys.executable, "-c", "from harvester.cli import main; main()"]
    subprocess.run([*program, "compact", "-d", str(dataset)], check=True)
    return dataset


def audited(dataset: Path, folder: Path) -> tuple[AuditResult, float]:
    """Audit everything; return the result and the seconds it took."""
    config = folder / "audit.toml"
    catalog = dataset.with_name(f"{dataset.name}.catalog.parquet")
    cohort = f"[source]\ncatalog = '{catalog}'\n[select]\n" if catalog.exists() else ""
    config.write_text(f"dataset = '{dataset}'\n{cohort}")
    started = time.perf_counter()
    result = run_audit(load_audit(config))
    return result, time.perf_counter() - started


def main() -> None:
    """Audit several times, and print times and memory."""
    parser = argparse.ArgumentParser(prog="scripts/bench audit", description=__doc__)
    parser.add_argument("--dataset", type=Path, help="a dataset; default: a synthetic one")
    parser.add_argument("--instances", type=int, default=1_000_000, help="of the synthetic dataset")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    print(
        f"commit {commit.stdout.strip() or 'unknown'}, Python {platform.python_version()}, "
        f"DuckDB {duckdb.__version__}, {os.cpu_count()} cores, median of {arguments.runs} runs"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dataset = (arguments.dataset or made(folder, arguments.instances)).resolve()
        parts = sum(1 for _ in (dataset / "instances").rglob("*.parquet"))
        results = [audited(dataset, folder) for _ in range(arguments.runs)]
    result = results[-1][0]
    size = result.cohort
    print(f"{size.instances:,} instances of {size.series:,} series in {parts:,} parts")
    for number, outcome in enumerate(result.outcomes):
        seconds = statistics.median(one.outcomes[number].seconds for one, _ in results)
        told = outcome.skipped or f"{outcome.violations:,} violations"
        print(f"  {outcome.name:28} {seconds:6.2f} s  {told}")
    print(f"  {'the whole audit':28} {statistics.median(spent for _, spent in results):6.2f} s")
    used = resource.getrusage(resource.RUSAGE_SELF)
    processor = (used.ru_utime + used.ru_stime) / arguments.runs
    print(f"  processor time of a run      {processor:6.2f} s")
    most = used.ru_maxrss * 1024
    print(f"  peak memory                  {most / 1e9:6.2f} GB")


if __name__ == "__main__":
    main()
