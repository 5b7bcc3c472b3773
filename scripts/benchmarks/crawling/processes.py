"""Two worker processes compared with one, without the server's share of the cores."""

import os
import shutil
import statistics
from dataclasses import dataclass
from pathlib import Path

from crawling import nginx
from crawling.computed_tomography import made_series
from crawling.cpu import configure, harvest, make_bucket


@dataclass(frozen=True)
class Figures:
    """One crawl: CPU seconds of client and server, and wall seconds."""

    client: float
    server: float
    wall: float


def run(home: Path, instances: int, runs: int) -> None:
    """Print both rates and their ratio.

    On two cores there is no third one for nginx. One process has core 1 for itself, and nginx core 0. Two
    processes have both cores, and nginx runs on them, too: the CPU seconds that it used there, by
    /proc, are taken from the two cores' time, half from each.
    """
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    paths = make_bucket(home / "root", instances, made_series)
    ones, twos = [], []
    for _ in range(runs):
        with nginx.serving(home / "root", home / "nginx") as bucket:
            configuration = configure(home, bucket.quiet, paths, processes=1)
            ones.append(_figures(configuration, bucket, (1,), instances))
        with nginx.serving(home / "root", home / "nginx", core=None) as bucket:
            configuration = configure(home, bucket.quiet, paths, processes=2)
            twos.append(_figures(configuration, bucket, (0, 1), instances))
    shutil.rmtree(home)
    one = statistics.median(instances / each.wall for each in ones)
    two = statistics.median(instances / (each.wall - each.server / 2) for each in twos)
    print(f"\nProcesses, {instances} CT instances, start included, medians of {runs}")
    for name, figures in (("one", ones), ("two", twos)):
        client, server, wall = (
            statistics.median(getattr(each, what) for each in figures)
            for what in ("client", "server", "wall")
        )
        print(
            f"  {name}   {instances / wall:7.0f} instances/s by the clock; CPU of an instance:"
            f" client {client / instances * 1e6:5.0f} us, server {server / instances * 1e6:4.0f} us"
        )
    by_cpu = 2 * statistics.median(a.client for a in ones) / statistics.median(b.client for b in twos)
    print(f"  by the client's CPU alone, two processes have {by_cpu:.2f} times the rate of one")
    print(f"  two without the server's share of their cores: {two:7.0f} instances/s, {two / one:.2f}x one")


def _figures(configuration: Path, bucket: nginx.Bucket, cores: tuple[int, ...], expected: int) -> Figures:
    before = _cpu_of(bucket.processes())
    spent = harvest(configuration, cores, expected)
    return Figures(spent.cpu, _cpu_of(bucket.processes()) - before, spent.wall)


def _cpu_of(processes: list[int]) -> float:
    ticks = 0
    for process in processes:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
