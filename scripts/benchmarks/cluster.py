"""Two workers of a Dask cluster compared with two processes: rate, CPU per instance, start."""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

from clustering.side import Mark, Side
from crawling import child

from harvester.demo.synthetic_server import synthetic_server_process

ENGINES = ("processes", "dask")
HERE = str(Path(__file__).parent)
# Started without a main module, as the program itself, which each worker would load again.
ENTRY = f"import sys; sys.path.insert(0, {HERE!r}); from clustering.side import main; main()"


def run(engine: str, instances: int, endpoint: str) -> tuple[Side, child.Spent]:
    """Run one engine in its own process, and measure all processes that it starts."""
    spent = child.run([sys.executable, "-c", ENTRY, engine, endpoint, str(instances)])
    marks = json.loads(spent.output)
    return Side(**{name: Mark(**mark) for name, mark in marks.items()}), spent


def print_medians(sides: dict[str, list[tuple[Side, child.Spent]]]) -> None:
    """Print the medians of both engines, and their ratios run by run."""
    rows = {
        "instances per second": lambda one, _: one.rate,
        "CPU per instance, us": lambda one, _: 1e6 * one.cost,
        "to the first instance, s": lambda one, _: one.first.clock,
        "... its CPU, s": lambda one, _: one.first.cpu,
        "the whole program, s": lambda _, spent: spent.wall,
        "... and all its CPU, s": lambda _, spent: spent.cpu,
    }
    print(f"  {'':26}" + "".join(f"{engine:>12}" for engine in ENGINES))
    for name, figure in rows.items():
        medians = [statistics.median(figure(*one) for one in sides[engine]) for engine in ENGINES]
        print(f"  {name:26}" + "".join(f"{value:12,.{2 if value < 100 else 0}f}" for value in medians))
    pairs = list(zip(*(sides[engine] for engine in ENGINES), strict=True))
    clock = sorted(dask.rate / local.rate for (local, _), (dask, _) in pairs)
    cpu = sorted(dask.cost / local.cost for (local, _), (dask, _) in pairs)
    print(
        f"  dask is {statistics.median(clock):.2f} times as fast ({clock[0]:.2f} to {clock[-1]:.2f})"
        f" for {statistics.median(cpu):.2f} times the CPU ({cpu[0]:.2f} to {cpu[-1]:.2f})"
    )


def main() -> None:
    """Alternate between the engines, so that both run under the same load."""
    parser = argparse.ArgumentParser(prog="scripts/bench cluster", description=__doc__)
    parser.add_argument("--instances", type=int, default=60_000)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    sides: dict[str, list[tuple[Side, child.Spent]]] = {engine: [] for engine in ENGINES}
    with synthetic_server_process(arguments.instances) as address:
        for number in range(arguments.runs):
            for engine in ENGINES if number % 2 == 0 else ENGINES[::-1]:
                sides[engine].append(run(engine, arguments.instances, address.endpoint))
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    print(
        f"commit {commit.stdout.strip()}, {arguments.instances:,} instances, two workers each and their"
        f" server on the same cores; medians of {arguments.runs}"
    )
    print_medians(sides)


if __name__ == "__main__":
    main()
