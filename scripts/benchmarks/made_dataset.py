"""Not a benchmark: writes a synthetic dataset in IDC's shape, of any size, for the other benchmarks."""

import argparse
import time
from pathlib import Path

from making.dataset import make_dataset


def main() -> None:
    """Write the dataset and print its size."""
    parser = argparse.ArgumentParser(prog="scripts/bench made_dataset", description=__doc__)
    parser.add_argument("target", type=Path, help="the directory to create")
    parser.add_argument("--instances", type=int, default=10_000_000)
    parser.add_argument("--collections", type=int, help="number of collections; default: all")
    parser.add_argument("--shard-instances", type=int, default=2000, help="maximum instances per part")
    parser.add_argument("--processes", type=int, default=0, help="0: one per core")
    arguments = parser.parse_args()
    started = time.perf_counter()
    made = make_dataset(
        arguments.target,
        arguments.instances,
        collections=arguments.collections,
        shard_instances=arguments.shard_instances,
        processes=arguments.processes,
    )
    print(
        f"{arguments.target}: {made.instances:,} instances, {made.failures:,} failures"
        f" in {made.parts:,} parts, written in {time.perf_counter() - started:.0f} s"
    )


if __name__ == "__main__":
    main()
