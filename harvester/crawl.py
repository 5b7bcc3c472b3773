"""The engine: a configuration in, a dataset out."""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import anyio

from harvester.bucket_listing import BucketName, FoundObjects, choose_buckets, list_buckets
from harvester.catalog import open_catalog
from harvester.config import CrawlConfig, LimitsConfig
from harvester.dataset import Commit, Dataset
from harvester.dicom import WalkLimits
from harvester.errors import ungrouped
from harvester.fetch import HeaderFetcher, Windows
from harvester.foresight import Foresight
from harvester.harvest import Progress, ShardHarvest
from harvester.model import Plan, Shard
from harvester.plan import make_plan, make_shards
from harvester.store.base import Store
from harvester.store.open import open_store
from harvester.store.retry import RetryPolicy

_logger = logging.getLogger("harvester")

# So that the end of one, where few objects are left, does not leave the network idle.
_SHARDS_AT_ONCE: Final = 2


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
    with ungrouped():
        # Abandoned when interrupted: it may be waiting for a catalog's server.
        plan, bucket_totals = await anyio.to_thread.run_sync(
            _plan, config, limit_series, abandon_on_cancel=True
        )
        counts = [one.instance_count for shard in plan.shards for one in shard.series]
        if None not in counts:
            progress.expected_instances = sum(count or 0 for count in counts)
        dataset = Dataset.create(config.dataset)
        with dataset.lock() as lock:
            swept = dataset.sweep(lock)
            if swept:
                message = "%s: removed %d files that an interrupted crawl left"
                _logger.info(message, dataset.location, len(swept))
            done = _Done.of(dataset.commits(), plan)
            progress.skipped = done.instances + done.failures
            dataset.save_plan(plan)
            work = _Work(plan.name, list(done.remaining(plan, config.limits)), bucket_totals)
            await _harvest(config, dataset, work, progress)
    return CrawlResult(
        dataset=config.dataset,
        series=len(counts),
        instances=progress.instances,
        failures=progress.failures + done.failures,
        skipped=progress.skipped,
        requests=progress.requests,
        bytes_fetched=progress.bytes_fetched,
        seconds=time.monotonic() - started,
    )


def _plan(config: CrawlConfig, limit_series: int | None) -> tuple[Plan, Mapping[BucketName, int]]:
    with open_catalog(config) as catalog:
        return make_plan(catalog.series(limit_series), config.limits), catalog.bucket_totals()


@dataclass(frozen=True, slots=True)
class _Work:
    """What is left of a plan, and how many objects the buckets hold in which it lies."""

    crawl: str
    shards: list[Shard]
    bucket_totals: Mapping[BucketName, int]


@dataclass(frozen=True, slots=True)
class _Done:
    """What of a plan is in the dataset already, whichever crawl brought it there."""

    series: frozenset[str]
    instances: int
    failures: int

    @classmethod
    def of(cls, commits: Iterable[Commit], plan: Plan) -> "_Done":
        wanted = {series.key for shard in plan.shards for series in shard.series}
        found: set[str] = set()
        instances = failures = 0
        for commit in commits:
            here = wanted.intersection(commit.series)
            found |= here
            counts = [commit.counts[key] for key in here if key in commit.counts]
            instances += sum(count[0] for count in counts)
            failures += sum(count[1] for count in counts)
        return cls(frozenset(found), instances, failures)

    def remaining(self, plan: Plan, limits: LimitsConfig) -> Iterator[Shard]:
        """The plan's shards without the series that are done."""
        for shard in plan.shards:
            series = tuple(one for one in shard.series if one.key not in self.series)
            if len(series) == len(shard.series):
                yield shard
            else:
                # Under another name: parts of what was committed under this one must not be replaced.
                yield from make_shards(series, limits)


async def _harvest(config: CrawlConfig, dataset: Dataset, work: _Work, progress: Progress) -> None:
    limits = config.limits
    async with open_store(
        endpoint=config.source.endpoint,
        concurrency=limits.concurrency,
        timeout_seconds=limits.timeout_seconds,
        retry=RetryPolicy(attempts=limits.attempts),
    ) as store:
        fetcher = HeaderFetcher(
            store,
            Windows(limits.first_window_bytes, limits.read_ahead_bytes),
            WalkLimits(header_bytes=limits.max_header_bytes),
            foresight=Foresight(limits.first_window_bytes),
        )
        found = await _list_buckets(work, store, limits)
        progress.requests += found.requests
        queue = iter(work.shards)

        async def harvest_some() -> None:
            for shard in queue:
                listed = replace(shard, series=tuple(found.fill(series) for series in shard.series))
                writer = dataset.shard_writer(work.crawl, shard.name)
                await ShardHarvest(listed, fetcher, writer, progress, limits.concurrency).run()

        async with anyio.create_task_group() as tasks:
            for _ in range(_SHARDS_AT_ONCE):
                tasks.start_soon(harvest_some)


async def _list_buckets(work: _Work, store: Store, limits: LimitsConfig) -> FoundObjects:
    """List whole buckets where that asks less often than a listing of each series."""
    listings = choose_buckets((one for shard in work.shards for one in shard.series), work.bucket_totals)
    for listing in listings:
        _logger.info("%s: listing most of the bucket, in %d pieces", listing.bucket.url, len(listing.pieces))
    return await list_buckets(listings, store, concurrency=max(1, limits.concurrency // 4))
