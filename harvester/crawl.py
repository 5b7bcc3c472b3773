"""The engine: a configuration in, a dataset out."""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import anyio

from harvester.catalog import open_catalog
from harvester.config import CrawlConfig
from harvester.dataset import Commit, Dataset
from harvester.dicom import WalkLimits
from harvester.fetch import HeaderFetcher, Windows
from harvester.harvest import Progress, ShardHarvest
from harvester.model import Plan, Series, Shard
from harvester.plan import make_plan
from harvester.store.open import open_store
from harvester.store.retry import RetryPolicy

_logger = logging.getLogger("harvester")

_SHARDS_AT_ONCE = 2  # so that the end of one, where few objects are left, does not leave the network idle


@dataclass(frozen=True, slots=True)
class CrawlResult:
    """What a crawl did.

    Attributes:
        dataset: Where the rows are.
        series: How many series the configuration selects.
        instances: Rows of `instances` written by this run.
        failures: Rows of `failures` that these series have, earlier runs' included.
        skipped: Objects that earlier runs had harvested already.
        requests: Requests sent, retries included.
        bytes_fetched: Bytes of bodies received.
        seconds: From the start to the last commit.
    """

    dataset: str
    series: int
    instances: int
    failures: int
    skipped: int
    requests: int
    bytes_fetched: int
    seconds: float


async def crawl(config: CrawlConfig, progress: Progress, *, limit_series: int | None = None) -> CrawlResult:
    """Harvest what a configuration selects into its dataset; what is committed there already is kept.

    Args:
        config: What to harvest, from where, into which dataset.
        progress: Is counted up while the crawl runs.
        limit_series: Harvest only so many of the selected series, the first ones.

    Raises:
        UserError: The selection, the catalog or the dataset is not what the configuration says.
    """
    started = time.monotonic()
    with open_catalog(config) as catalog:
        plan = make_plan(catalog.series(limit_series), config.limits)
        if limit_series is None:
            progress.expected_instances = catalog.summary().total.instances
    dataset = Dataset.create(config.dataset)
    with dataset.lock() as lock:
        swept = dataset.sweep(lock)
        if swept:
            _logger.info("%s: removed %d files that an interrupted crawl left", dataset.location, len(swept))
        done = _Done.of(dataset.commits(), plan)
        progress.skipped = done.instances + done.failures
        dataset.save_plan(plan)
        await _harvest(config, dataset, plan.name, list(done.remaining(plan)), progress)
    return CrawlResult(
        dataset=config.dataset,
        series=sum(len(shard.series) for shard in plan.shards),
        instances=progress.instances,
        failures=progress.failures + done.failures,
        skipped=progress.skipped,
        requests=progress.requests,
        bytes_fetched=progress.bytes_fetched,
        seconds=time.monotonic() - started,
    )


@dataclass(frozen=True, slots=True)
class _Done:
    """What of a plan is in the dataset already, whichever crawl brought it there."""

    series: frozenset[str]
    instances: int
    failures: int

    @classmethod
    def of(cls, commits: Iterator[Commit], plan: Plan) -> "_Done":
        wanted = {series.key for shard in plan.shards for series in shard.series}
        found: set[str] = set()
        instances = failures = 0
        for commit in commits:
            here = wanted.intersection(commit.series)
            if here:
                found |= here
                instances += commit.instances
                failures += commit.failures
        return cls(frozenset(found), instances, failures)

    def remaining(self, plan: Plan) -> Iterator[Shard]:
        """The plan's shards without the series that are done."""
        for shard in plan.shards:
            series: Sequence[Series] = tuple(one for one in shard.series if one.key not in self.series)
            if series:
                yield Shard(shard.name, tuple(series))


async def _harvest(
    config: CrawlConfig, dataset: Dataset, crawl_name: str, shards: list[Shard], progress: Progress
) -> None:
    limits = config.limits
    retry = RetryPolicy(attempts=limits.attempts)
    async with open_store(
        endpoint=config.source.endpoint, concurrency=limits.concurrency, retry=retry
    ) as store:
        fetcher = HeaderFetcher(
            store,
            Windows(limits.first_window_bytes, limits.read_ahead_bytes),
            WalkLimits(header_bytes=limits.max_header_bytes),
        )
        queue = iter(shards)

        async def work() -> None:
            for shard in queue:
                writer = dataset.shard_writer(crawl_name, shard.name)
                await ShardHarvest(shard, fetcher, writer, progress, limits.concurrency).run()

        async with anyio.create_task_group() as tasks:
            for _ in range(_SHARDS_AT_ONCE):
                tasks.start_soon(work)
