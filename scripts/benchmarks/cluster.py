"""Two workers of a Dask cluster against two processes, on made-up objects; start and end left out."""

import argparse
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import anyio

from harvester.config import CrawlConfig
from harvester.crawl import crawl
from harvester.harvest import Progress
from harvester.store.demo.made import MadeBucket, made_server

LOOK_SECONDS = 0.1


async def rate(config: CrawlConfig, instances: int) -> float:
    """Instances a second between a fifth and nine tenths of them; progress is told twice a second or more."""
    progress, times = Progress(), {}

    async def look() -> None:
        while True:
            times[time.perf_counter()] = progress.instances
            await anyio.sleep(LOOK_SECONDS)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look)
        result = await crawl(config, progress)
        tasks.cancel_scope.cancel()
    if result.instances != instances:
        raise SystemExit(f"{result.instances} of {instances} instances")
    within = [(at, done) for at, done in times.items() if 0.2 * instances <= done <= 0.9 * instances]
    return (within[-1][1] - within[0][1]) / (within[-1][0] - within[0][0])


def main() -> None:
    """Alternate between the two, so that both see the same machine."""
    parser = argparse.ArgumentParser(prog="scripts/bench cluster", description=__doc__)
    parser.add_argument("--instances", type=int, default=40_000)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    rates: dict[str, list[float]] = {"processes": [], "dask": []}
    with made_server(arguments.instances) as address:
        for _ in range(arguments.runs):
            for engine, found in rates.items():
                with tempfile.TemporaryDirectory(prefix="harvester-cluster-") as folder:
                    catalog = Path(folder) / "catalog.parquet"
                    MadeBucket(arguments.instances).write_catalog(catalog)
                    config = {
                        "dataset": f"{folder}/data",
                        "source": {"catalog": str(catalog), "endpoint": address.endpoint},
                        "limits": {"processes": 2, "engine": engine},
                    }
                    found.append(anyio.run(rate, CrawlConfig.model_validate(config), arguments.instances))
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    print(f"commit {commit.stdout.strip()}, {arguments.instances:,} instances, medians of {arguments.runs}")
    for engine, found in rates.items():
        print(f"  {engine:<10} {statistics.median(found):7,.0f} instances a second")
    ratios = [one / other for one, other in zip(rates["dask"], rates["processes"], strict=True)]
    print(f"  dask is {statistics.median(ratios):.2f} times as fast as processes")


if __name__ == "__main__":
    main()
