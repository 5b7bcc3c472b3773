"""One side: crawls once, and says how far it was when, and what all of its processes had used of the CPU."""

import json
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import anyio

from harvester.config import CrawlConfig
from harvester.demo.synthetic_bucket import SyntheticBucket
from harvester.engine.crawl import crawl
from harvester.engine.shard import CrawlProgress
from harvester.engine.workers.memory import keep_small

LOOK_SECONDS = 0.05
# What lies between is the harvest alone: all workers are at work, and none waits for the last shards.
BETWEEN = (0.2, 0.9)


@dataclass(frozen=True)
class Mark:
    """How far a crawl was at some time: seconds of the clock and of the CPU since it was started."""

    clock: float
    cpu: float
    instances: int


@dataclass(frozen=True)
class Side:
    """One crawl, seen from inside: four marks, the last one when it had ended."""

    first: Mark
    early: Mark
    late: Mark
    ended: Mark

    @property
    def rate(self) -> float:
        """Instances a second, while all workers are at work."""
        return (self.late.instances - self.early.instances) / (self.late.clock - self.early.clock)

    @property
    def cost(self) -> float:
        """CPU seconds an instance, meanwhile."""
        return (self.late.cpu - self.early.cpu) / (self.late.instances - self.early.instances)


def tree_cpu() -> float:
    """CPU seconds of this process and of all below it, as the operating system counts them.

    Those of processes that have ended are their parents', once these have waited for them.
    """
    children: dict[int, list[int]] = {}
    spent: dict[int, float] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has ended
            children.setdefault(int(fields[1]), []).append(int(folder.name))
            spent[int(folder.name)] = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    total, below = 0.0, [os.getpid()]
    while below:
        process = below.pop()
        total += spent.get(process, 0.0)
        below += children.get(process, [])
    return total


async def measured(config: CrawlConfig, instances: int) -> Side:
    """Crawl, and take note of the time at the first instance, early, late and at the end."""
    progress, started = CrawlProgress(), time.perf_counter()
    marks: list[Mark] = []

    def mark() -> None:
        marks.append(Mark(time.perf_counter() - started, tree_cpu(), progress.instances))

    async def look() -> None:
        for wanted in (1, *(int(part * instances) for part in BETWEEN)):
            while progress.instances < wanted:  # noqa: ASYNC110  a crawl's progress is read, not told
                await anyio.sleep(LOOK_SECONDS)
            mark()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look)
        result = await crawl(config, progress)
        tasks.cancel_scope.cancel()
    mark()
    if (result.instances, result.failures) != (instances, 0):
        raise SystemExit(f"{result.instances} of {instances} instances, {result.failures} failures")
    if len(marks) != len(BETWEEN) + 2 or marks[1].instances == marks[2].instances:
        raise SystemExit(f"{instances} instances are too few to be measured; take more")
    return Side(*marks)


def main() -> None:
    """Crawl so many instances at an endpoint with an engine into a new dataset; say in JSON how it went."""
    engine, endpoint, instances = sys.argv[1], sys.argv[2], int(sys.argv[3])
    keep_small()  # as the program itself does
    with tempfile.TemporaryDirectory(prefix="harvester-cluster-") as folder:
        catalog = Path(folder) / "catalog.parquet"
        SyntheticBucket(instances).write_catalog(catalog)
        config = {
            "dataset": f"{folder}/data",
            "source": {"catalog": str(catalog), "endpoint": endpoint},
            "limits": {"processes": 2, "engine": engine},
        }
        found = anyio.run(measured, CrawlConfig.model_validate(config), instances)
    sys.stdout.write(json.dumps(asdict(found)))
