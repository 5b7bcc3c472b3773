"""Instances per second and bytes, compared with usual clients, on a mixed bucket with and without latency."""

import contextlib
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from crawling import child, mixed_bucket, nginx
from crawling.cpu import configure, harvest
from crawling.idiom_clients import IDIOMS, THREADS

LINK = child.HERE.parent / "reading" / "link.py"
PACKAGES = ("google.cloud.storage", "smart_open", "s3fs", "boto3", "obstore", "fw_file_rs")
ONE_WAY_SECONDS = 0.010
GIGABIT = 125_000_000  # bytes a second
SHARE = 20  # a usual client reads 1/SHARE of the objects: its rate does not depend on their number


@dataclass(frozen=True)
class Figures:
    """Rate, bytes and CPU seconds of one client."""

    per_second: float
    bytes_each: float
    cpu_each: float


def are_installed() -> bool:
    """Whether the other clients are installed."""
    try:
        return all(importlib.util.find_spec(name) is not None for name in PACKAGES)
    except ModuleNotFoundError:
        return False


@dataclass(frozen=True)
class Setting:
    """The clients' cores, and the connection by which they reach the server at `address`."""

    name: str
    address: str
    cores: tuple[int, ...] = (1,)


@contextlib.contextmanager
def far(address: str, *program: object) -> Iterator[str]:
    """Run a relay to this address and return its own; the program gets the port and then its arguments."""
    path, *arguments = program
    command = [sys.executable, str(path), address.rpartition(":")[2], *map(str, arguments)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {0}),  # noqa: PLW1509
    ) as relay:
        try:
            if relay.stdout is None:
                raise RuntimeError("the relay says nothing")
            yield f"http://127.0.0.1:{int(relay.stdout.readline())}"
        finally:
            relay.terminate()


def run(home: Path, instances: int, runs: int) -> None:
    """Print the figures of each client and of harvester, and their ratios."""
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    stored = mixed_bucket.write(home / "root", mixed_bucket.mixed_objects(max(1, instances // 100)))
    paths = [one.path for one in stored]
    few = paths[: max(100, len(paths) // SHARE // 100 * 100)]
    mean = statistics.fmean(one.size for one in stored)
    print(
        f"\nUsual clients, {THREADS} threads and {len(few)} instances each;"
        f" harvester {len(paths)}, start included;"
        f" in percent {mixed_bucket.PROPORTIONS},"
        f" {mean / 1e6:.2f} MB each; medians of {runs}"
    )
    with nginx.serving(home / "root", home / "nginx") as bucket:
        near = bucket.logging
        away = f"{ONE_WAY_SECONDS * 2e3:.0f} ms away"
        one_core = "clients on one core, the server on another"
        _compare(home, bucket, Setting(f"loopback, {one_core}", near), (paths, few), runs)
        with far(near, child.HERE / "relay.py", ONE_WAY_SECONDS) as address:
            _compare(home, bucket, Setting(f"{away}, {one_core}", address), (paths, few), runs)
        with far(near, LINK, ONE_WAY_SECONDS, GIGABIT) as address:
            setting = Setting(f"{away} over a link of 1 Gbit/s, clients on both cores", address, (0, 1))
            _compare(home, bucket, setting, (paths, few), runs)
    shutil.rmtree(home)


def _compare(
    home: Path, bucket: nginx.Bucket, setting: Setting, of: tuple[list[str], list[str]], runs: int
) -> None:
    print(f"  {setting.name}")
    paths, few = of
    measured: dict[str, list[Figures]] = {name: [] for name in ("harvester", *IDIOMS)}
    configuration = configure(home, setting.address, paths, processes=len(setting.cores))
    (home / "few.txt").write_text("\n".join(few))
    for _ in range(runs):
        before = _bytes_sent(bucket)
        spent = harvest(configuration, setting.cores, len(paths))
        sent = _bytes_sent(bucket) - before
        measured["harvester"].append(
            Figures(len(paths) / spent.wall, sent / len(paths), spent.cpu / len(paths))
        )
        for name in IDIOMS:
            before = _bytes_sent(bucket)
            program = [
                sys.executable,
                str(child.HERE / "idiom_clients.py"),
                name,
                setting.address,
                str(home / "few.txt"),
            ]
            spent_by = json.loads(child.run(program, cores=setting.cores).output)
            sent = _bytes_sent(bucket) - before
            measured[name].append(
                Figures(len(few) / spent_by["seconds"], sent / len(few), spent_by["cpu"] / len(few))
            )
    ours = _median(measured["harvester"])
    for name, figures in measured.items():
        median = _median(figures)
        line = f"    {name:32} {median.per_second:8.1f} instances/s {median.bytes_each:12,.0f} bytes each"
        line += f" {median.cpu_each * 1e6:8,.0f} us CPU"
        if name != "harvester":
            faster, fewer = ours.per_second / median.per_second, median.bytes_each / ours.bytes_each
            less = median.cpu_each / ours.cpu_each
            line += (
                f"   harvester: {faster:6.1f}x as fast, 1/{fewer:.0f} of the bytes, 1/{less:.1f} of the CPU"
            )
        print(line)


def _median(figures: list[Figures]) -> Figures:
    return Figures(
        statistics.median(one.per_second for one in figures),
        statistics.median(one.bytes_each for one in figures),
        statistics.median(one.cpu_each for one in figures),
    )


def _bytes_sent(bucket: nginx.Bucket) -> int:
    return sum(one.sent for one in bucket.requests())
