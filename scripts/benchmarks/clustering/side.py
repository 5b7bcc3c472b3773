"""Crawls once with one engine, and prints its progress and the CPU time of all its processes."""

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

SAMPLE_SECONDS = 0.05
# Between these shares all workers harvest, and none waits for the last shards.
BETWEEN = (0.2, 0.9)


@dataclass(frozen=True)
class Mark:
    """The progress of a crawl at one time: wall and CPU seconds since its start, and instances."""

    clock: float
    cpu: float
    instances: int


@dataclass(frozen=True)
class Side:
    """One crawl: four marks, the last one at its end."""

    first: Mark
    early: Mark
    late: Mark
    ended: Mark

    @property
    def rate(self) -> float:
        """Instances per second while all workers harvest."""
        return (self.late.instances - self.early.instances) / (self.late.clock - self.early.clock)

    @property
    def cost(self) -> float:
        """CPU seconds per instance in the same time."""
        return (self.late.cpu - self.early.cpu) / (self.late.instances - self.early.instances)


def tree_cpu() -> float:
    """CPU seconds of this process and its descendants, as the operating system counts them.

    The time of an ended process counts for its parent once the parent has waited for it.
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
    """Crawl, and take marks at the first instance, early, late and at the end."""
    progress, started = CrawlProgress(), time.perf_counter()
    marks: list[Mark] = []

    def mark() -> None:
        marks.append(Mark(time.perf_counter() - started, tree_cpu(), progress.instances))

    async def sample() -> None:
        for wanted in (1, *(int(part * instances) for part in BETWEEN)):
            while progress.instances < wanted:  # noqa: ASYNC110  a crawl's progress has no event
                await anyio.sleep(SAMPLE_SECONDS)
            mark()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sample)
        result = await crawl(config, progress)
        tasks.cancel_scope.cancel()
    mark()
    if (result.instances, result.failures) != (instances, 0):
        raise SystemExit(f"{result.instances} of {instances} instances, {result.failures} failures")
    if len(marks) != len(BETWEEN) + 2 or marks[1].instances == marks[2].instances:
        raise SystemExit(f"{instances} instances are too few to measure; use more")
    return Side(*marks)


def main() -> None:
    """Crawl `instances` objects of an endpoint with an engine into a new dataset; print the marks as JSON."""
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
