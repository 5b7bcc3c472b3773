"""Runs a crawl: from a configuration to committed shards in a dataset."""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Final, TypeAlias

import anyio

from harvester.catalog import Catalog, open_catalog
from harvester.catalog.clouds import schemes_of
from harvester.config import CrawlConfig, LimitsConfig, check_count
from harvester.config.operating_system import cpu_seconds
from harvester.dataset import Compaction, Dataset, Lock
from harvester.dataset.plans import SpooledShards, spool
from harvester.engine.bucket_listing import BucketName, FoundObjects, choose_buckets, list_buckets
from harvester.engine.commonest_failure import commonest_failure
from harvester.engine.compaction import compact_crawled
from harvester.engine.increment import CommittedSeries, Done, Increment
from harvester.engine.plan import in_order, make_shards, plan_name
from harvester.engine.poison_tasks import PoisonTaskIsolation
from harvester.engine.run_record import RunRecord
from harvester.engine.shard import CrawlProgress, ShardResult
from harvester.engine.shard_task import (
    ShardTask,
    TaskRunner,
    WorkerSettings,
    open_task_runner,
)
from harvester.engine.workers.choose import processes_for, start_crawl_workers
from harvester.engine.workers.processes import ThisProcess, Workers
from harvester.errors import ungrouped
from harvester.messages import count, size, span
from harvester.model import Plan, Shard
from harvester.store.telemetry import Telemetry

_logger = logging.getLogger("harvester")

# After a stop is requested: how long started series are read, and how long the crawl may take to commit.
_READING_SECONDS: Final = 5.0
_STOPPING_SECONDS: Final = 15.0

_Totals: TypeAlias = Mapping[BucketName, int]


@dataclass(frozen=True, slots=True)
class CrawlOptions:
    """Options of a run beside the configuration.

    Attributes:
        limit_series: Harvest only this number of the selected series, the first ones.
        retry_failed: Retry the failures of the selected series, and harvest nothing else.
        compact: Merge small parts at the end, if they are as many as `limits.compact_parts` says.
    """

    limit_series: int | None = None
    retry_failed: bool = False
    compact: bool = True

    def __post_init__(self) -> None:
        check_count("limit_series", self.limit_series)


_DEFAULT_OPTIONS: Final = CrawlOptions()


@dataclass(frozen=True, slots=True)
class CrawlResult:
    """Result of a crawl.

    Attributes:
        dataset: Directory or URL of the dataset.
        series: Number of selected series.
        instances: Rows of `instances` written by this run.
        failures: Rows of `failures` of the selected series, earlier runs' included.
        skipped: Objects that earlier runs had harvested.
        requests: Requests sent, retries included.
        bytes_fetched: Bytes of response bodies received.
        seconds: From the start to the last commit; without the merging of small parts.
        stopped: Whether the crawl was stopped before it was done.
        carried: Instances whose earlier row was reused because a revision left the object unchanged.
        commonest_failure: The commonest reason and its message, if every object failed.
        compaction: The merging of small parts at the end; None: there was none, or it failed.
    """

    dataset: str
    series: int
    instances: int
    failures: int
    skipped: int
    requests: int
    bytes_fetched: int
    seconds: float
    stopped: bool = False
    carried: int = 0
    commonest_failure: str | None = None
    compaction: Compaction | None = None

    def summary(self) -> str:
        """The result in a few lines, for a person."""
        series, seconds = count(self.series, "series"), span(self.seconds)
        lines = [f"nothing to harvest in {series} ({seconds})"]
        if self.instances or self.stopped or self.commonest_failure or (self.failures and self.requests):
            rate = f"{self.instances / (self.seconds or 1):,.0f} a second"
            spent = f"{count(self.requests, 'request')}, {size(self.bytes_fetched)}"
            lines = [f"{count(self.instances, 'instance')} of {series} in {seconds} ({rate}), {spent}"]
        if self.carried:
            lines.append(f"{count(self.carried, 'instance')} of them copied from unrevised rows")
        if self.skipped:
            lines.append(f"{count(self.skipped, 'object')} skipped, harvested before")
        if self.commonest_failure:
            lines.append(f"every object failed; the commonest reason: {self.commonest_failure}")
        if self.failures:
            lines.append(
                f"{count(self.failures, 'failure')}: harvester sql -d {self.dataset} "
                '"SELECT reason, count(*) FROM failures GROUP BY ALL"'
            )
        if self.compaction is not None:
            merged = f"{count(self.compaction.parts_before, 'part')} became {self.compaction.parts_after:,}"
            lines.append(f"compacted: {merged} in {span(self.compaction.seconds)}")
        lines.append(f"dataset: {self.dataset}")
        return "\n".join(lines)


async def crawl(
    config: CrawlConfig,
    progress: CrawlProgress,
    options: CrawlOptions = _DEFAULT_OPTIONS,
    *,
    stop: anyio.Event | None = None,
) -> CrawlResult:
    """Harvest the selection of a configuration into its dataset; committed series are kept.

    Args:
        config: What to harvest, from where, into which dataset.
        progress: Updated while the crawl runs.
        options: See `CrawlOptions`.
        stop: When set, the crawl finishes started series, commits them and ends within seconds.

    Raises:
        UserError: The selection, the catalog or the dataset cannot be used as configured.
        WorkerError: Worker processes cannot be started.
    """
    run = _Run(config, progress, options, stop or anyio.Event())
    with ungrouped(), ExitStack() as held:
        await run.until_stopped(held)
        result = await anyio.to_thread.run_sync(run.conclude)
        return await anyio.to_thread.run_sync(run.compacted, result)


@dataclass(slots=True)
class _Run:
    """One run of a crawl, from the catalog to the last commit."""

    config: CrawlConfig
    progress: CrawlProgress
    options: CrawlOptions
    stop: anyio.Event
    before: Done = field(default_factory=Done)
    series: int = 0
    _started: float = field(default_factory=time.monotonic)
    _started_at: datetime = field(default_factory=partial(datetime.now, UTC))
    _processes: int = 1
    _cpu_before: float = field(default_factory=cpu_seconds)
    _telemetry: Telemetry = field(default_factory=Telemetry)
    _dataset: Dataset | None = None
    _lock: Lock | None = None
    _increment: Increment = field(default_factory=Increment)
    _plan: Plan = field(default_factory=lambda: Plan("", ()))
    _workers: Workers | None = None

    async def until_stopped(self, held: ExitStack) -> None:
        """Crawl; after a stop, wait for started work, and cancel what takes too long."""
        async with anyio.create_task_group() as tasks:

            async def cancel_after_stop() -> None:
                await self.stop.wait()
                if self._workers is not None:
                    await self._workers.stop(_READING_SECONDS)
                    await anyio.sleep(_STOPPING_SECONDS)
                tasks.cancel_scope.cancel()

            tasks.start_soon(cancel_after_stop)
            await self._crawl(held)
            tasks.cancel_scope.cancel()

    def conclude(self) -> CrawlResult:
        """Remove the remains of dead workers, count the committed rows, save the run record."""
        dataset, workers, before = self._dataset, self._workers, self.before
        after, commonest = before, None
        if dataset is not None and self._lock is not None and workers is not None:
            if workers.deaths or self.stop.is_set():
                dataset.sweep(self._lock)
            after = Done.of(CommittedSeries.of(dataset.commits()), self._plan).plus(self._increment.elsewhere)
            dataset.checkpoint(self._lock)
            if after.failures and not after.instances:
                commonest = commonest_failure(dataset, self._plan.name)
        result = CrawlResult(
            dataset=self.config.dataset,
            series=self.series,
            instances=after.instances - before.instances,
            failures=after.failures,
            skipped=before.instances + (0 if self.options.retry_failed else before.failures),
            requests=self.progress.requests,
            bytes_fetched=self.progress.bytes_fetched,
            seconds=time.monotonic() - self._started,
            stopped=self.stop.is_set(),
            carried=self.progress.carried,
            commonest_failure=commonest,
        )
        if dataset is not None and workers is not None:
            RunRecord(
                crawl=self._plan.name,
                config=self.config,
                started_at=self._started_at,
                seconds=result.seconds,
                processes=self._processes,
                totals=asdict(result),
                telemetry=self._telemetry.merged(workers.telemetry),
                deaths=tuple(workers.deaths),
                cpu_seconds=None if self.config.limits.scheduler else cpu_seconds() - self._cpu_before,
            ).save(dataset)
        return result

    def compacted(self, result: CrawlResult) -> CrawlResult:
        """Merge the small parts, if they are many."""
        least_parts = self.config.limits.compact_parts if self.options.compact else 0
        if self._dataset is None or self._lock is None or result.stopped or not least_parts:
            return result
        done = compact_crawled(self._dataset, self._lock, least_parts, self.progress, self.stop)
        return replace(result, compaction=done, stopped=self.stop.is_set())

    async def _crawl(self, held: ExitStack) -> None:
        # A thread may be waiting for a catalog's server: a stop leaves it behind.
        in_thread = partial(anyio.to_thread.run_sync, abandon_on_cancel=True)
        limits, limit_series = self.config.limits, self.options.limit_series
        catalog = await in_thread(open_catalog, self.config)
        with catalog:
            processes = self._processes = processes_for(catalog, limit_series, limits)
            async with start_crawl_workers(limits, processes, self.progress) as pool:
                shards = await in_thread(_planned_shards, catalog, limit_series, limits)
                self._plan = Plan(plan_name(shards.names), shards)
                self.series, self.progress.expected_instances = shards.series, shards.instances
                dataset = self._dataset = Dataset.create(self.config.dataset)
                lock = self._lock = await anyio.to_thread.run_sync(held.enter_context, dataset.lock())
                dataset = self._dataset = dataset.under(lock)
                swept = await in_thread(dataset.sweep, lock)
                if swept:
                    message = "%s: removed %d files that an interrupted crawl left"
                    _logger.info(message, dataset.location, len(swept))
                self._increment = Increment(
                    dataset, lock, whole=limit_series is None and not self.options.retry_failed
                )
                self.before = await in_thread(self._increment.begin, catalog, self._plan)
                self.progress.skipped = self.before.instances
                if self.options.retry_failed:
                    self.progress.failures = self.before.failures
                else:
                    self.progress.skipped += self.before.failures
                await in_thread(dataset.save_plan, self._plan)
                totals = await in_thread(catalog.bucket_totals)
                settings = WorkerSettings(
                    dataset.location,
                    limits,
                    self.config.source.endpoint,
                    processes,
                    replica_schemes=schemes_of(self.config.source.provider),
                    effort=self.config.frames.index,
                    token=lock.token,
                    ca_bundle=self.config.source.ca_bundle,
                    credentials=self.config.source.credentials,
                    requester_pays=self.config.source.requester_pays,
                )
                async with open_task_runner(settings) as runner:
                    if pool is None:
                        self._workers = ThisProcess(runner, self.progress)
                    else:
                        pool.begin(settings, lock.descriptor)
                        self._workers = pool
                    try:
                        await self._harvest(runner, self._workers, totals)
                    finally:
                        self._telemetry = runner.store.telemetry()

    async def _harvest(self, runner: TaskRunner, workers: Workers, totals: _Totals) -> None:
        """Harvest the rest of the plan, or retry failures."""
        isolation = PoisonTaskIsolation(
            workers, runner.objects, partial(_committed, runner.dataset, self.progress)
        )
        if self.options.retry_failed:
            tasks = await anyio.to_thread.run_sync(self._failed, runner.dataset)
            await self._run_tasks(isolation, iter(tasks))
            return
        self._plan = await self._increment.relist(self._plan, runner.store, self.config.limits)
        self.progress.requests += self._increment.requests
        self.before = self._increment.done
        await anyio.to_thread.run_sync(self._find_predecessors)
        found = FoundObjects(runner.dataset.storage.spill)
        try:
            await self._list_buckets(runner, totals, found)
            self.progress.requests += found.requests
            transient = await self._run_tasks(isolation, self._tasks(found))
        finally:
            found.close()
        retries = [replace(task, retry="transient", given_up=frozenset()) for task in transient]
        if retries and not self.stop.is_set():
            _logger.info("retrying transient failures in %d shards", len(retries))
            await self._run_tasks(isolation, iter(retries))

    def _remaining(self) -> Iterator[Shard]:
        return self.before.remaining(self._plan, self.config.limits)

    def _find_predecessors(self) -> None:
        if next(self._remaining(), None) is not None:
            self._increment.find_predecessors()

    async def _list_buckets(self, runner: TaskRunner, totals: _Totals, found: FoundObjects) -> None:
        """List whole buckets where that takes fewer requests than a listing of each series."""
        if not totals:
            return
        series = (one for shard in self._remaining() for one in shard.series)
        listings = await anyio.to_thread.run_sync(choose_buckets, series, totals)
        for listing in listings:
            message = "%s: listing most of the bucket, in %d pieces"
            _logger.debug(message, listing.bucket.url, len(listing.pieces))
        await list_buckets(listings, runner.store, found, concurrency=self.config.limits.listing_concurrency)

    def _tasks(self, found: FoundObjects) -> Iterator[ShardTask]:
        for shard in self._remaining():
            listed = replace(shard, series=tuple(found.fill(series) for series in shard.series))
            yield ShardTask(
                self._plan.name,
                listed,
                known=self._increment.known_of(listed),
                reusable_parts=self._increment.predecessors_of(listed),
            )

    def _failed(self, dataset: Dataset) -> list[ShardTask]:
        """Tasks that retry the failures of selected series, one for each commit that has some."""
        failed = {
            key for commit in dataset.commits() for key in commit.series if commit.counts.get(key, (0, 0))[1]
        }
        selected = {
            series.key: series
            for shard in self._plan.shards
            for series in shard.series
            if series.key in failed
        }
        tasks = []
        for commit in dataset.commits() if selected else ():
            keys = [key for key in commit.series if key in selected and commit.counts.get(key, (0, 0))[1]]
            if keys:
                shard = Shard(commit.shard, tuple(selected[key] for key in keys))
                tasks.append(ShardTask(commit.crawl, shard, retry="all"))
        return tasks

    async def _run_tasks(self, isolation: PoisonTaskIsolation, queue: Iterator[ShardTask]) -> list[ShardTask]:
        """Run tasks, as many at the same time as the workers take; return those with transient failures."""
        transient: list[ShardTask] = []
        places = anyio.Semaphore(isolation.workers.places)

        async def run(task: ShardTask) -> None:
            try:
                results = await isolation.harvest(task)
            finally:
                places.release()
            transient.extend(done for done, result in results if result.may_pass)

        async with anyio.create_task_group() as tasks:
            await places.acquire()
            for task in queue:
                await isolation.workers.wait_for_place()
                if self.stop.is_set():
                    break
                tasks.start_soon(run, task)
                await places.acquire()
        return transient


async def _committed(dataset: Dataset, progress: CrawlProgress, task: ShardTask) -> ShardResult | None:
    """The result of a task committed before its worker died, which is then counted; None if it was not."""
    if task.retry is not None or task.trial:
        return None
    commit = await anyio.to_thread.run_sync(dataset.find_commit, task.crawl, task.shard.name)
    if commit is None:
        return None
    progress.series += len(commit.series)
    progress.instances += commit.instances
    progress.failures += commit.failures
    return ShardResult(len(commit.series), may_pass=commit.failures)


def _planned_shards(catalog: Catalog, limit: int | None, limits: LimitsConfig) -> SpooledShards:
    """The shards of a selection, spooled to disk: a million series do not fit into memory."""
    series = catalog.series(limit)
    return spool(make_shards(series if catalog.is_ordered else in_order(series), limits))
