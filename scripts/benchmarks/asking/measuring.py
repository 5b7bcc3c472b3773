"""Measures seconds, bytes and files of a query, and the peak memory of a program."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from harvester.query import run_query

Rows = list[tuple[Any, ...]]

_LONG = 8.0


@dataclass(frozen=True)
class Answer:
    """The rows of a query, unordered, and its seconds: a median, or those of one run."""

    rows: Rows
    seconds: float
    once: bool = False


def measured(ask: Callable[[], Rows], runs: int) -> Answer:
    """Run once to warm up, then `runs` times; only once if that takes long."""
    started = time.perf_counter()
    rows = sorted(ask(), key=repr)
    seconds = time.perf_counter() - started
    if seconds > _LONG:
        return Answer(rows, seconds, once=True)
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        ask()
        times.append(time.perf_counter() - started)
    return Answer(rows, statistics.median(times))


def rows_of(connection: duckdb.DuckDBPyConnection, sql: str) -> Rows:
    """All rows of a query of a dataset."""
    batches = run_query(connection, sql).batches()
    return [tuple(row.values()) for batch in batches for row in batch.to_pylist()]


def first_answer(dataset: Path, runs: int) -> tuple[float, float]:
    """Seconds in new processes: from open_dataset to the first result, and of a whole `harvester sql`."""
    program = (
        "import sys, time; from harvester.query import open_dataset; started = time.perf_counter();"
        " open_dataset(sys.argv[1]).execute('SELECT 1').fetchall(); print(time.perf_counter() - started)"
    )
    command = [str(Path(sys.executable).with_name("harvester")), "sql", "-d", str(dataset), "SELECT 1"]
    opened, whole = [], []
    for number in range(runs + 1):
        told = subprocess.run(
            [sys.executable, "-c", program, str(dataset)], capture_output=True, text=True, check=True
        )
        started = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True)
        if number:
            opened.append(float(told.stdout))
            whole.append(time.perf_counter() - started)
    return statistics.median(opened), statistics.median(whole)


def peak_of(process: subprocess.Popen[str]) -> int:
    """Wait for a process; return its peak memory in MB (Linux)."""
    peak = 0
    while process.poll() is None:
        told = Path(f"/proc/{process.pid}/status").read_text()
        peak = max([peak, *(int(line.split()[1]) for line in told.splitlines() if line.startswith("VmHWM:"))])
        time.sleep(0.05)
    return peak // 1024


@dataclass(frozen=True)
class Scan:
    """What a query read: files out of `of_files`, bytes, and the rows that it kept."""

    files: int
    of_files: int
    bytes: int
    rows: int


def scanned(connection: duckdb.DuckDBPyConnection, sql: str) -> Scan:
    """Measure one query over instances by DuckDB's plan and the kernel's counters."""
    before = _bytes_read()
    text = connection.execute(f"EXPLAIN (ANALYZE, FORMAT json) {sql}").fetchall()[0][1]
    after = _bytes_read()
    (scan,) = [one for one in _operators(json.loads(text)) if "Total Files Read" in one.get("extra_info", {})]
    told = scan["extra_info"]
    files = int(told["Total Files Read"])
    of_files = int(told.get("Scanning Files", f"/{files}").partition("/")[2])
    return Scan(files, of_files, after - before, int(scan["operator_cardinality"]))


def _operators(node: dict[str, Any]) -> list[dict[str, Any]]:
    return [node, *(one for child in node["children"] for one in _operators(child))]


def _bytes_read() -> int:
    """Bytes that this process has read so far, from the disk or the page cache (Linux)."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.partition(":")[2]) for line in lines if line.startswith("rchar:"))
