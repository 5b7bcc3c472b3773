"""The engine: a configuration in, a dataset out."""

import logging
import resource
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Final, TypeAlias

import anyio

from harvester.catalog import Catalog, open_catalog
from harvester.catalog.clouds import schemes_of
from harvester.config import CrawlConfig, LimitsConfig
from harvester.dataset import Dataset, Lock
from harvester.dataset.plans import SpooledShards, spool
from harvester.dicom import HeaderColumns
from harvester.engine.bucket_listing import BucketName, FoundObjects, choose_buckets, list_buckets
from harvester.engine.increment import CommittedSeries, Done, Increment
from harvester.engine.plan import in_order, make_shards, plan_name
from harvester.engine.poison_tasks import PoisonTaskIsolation
from harvester.engine.row_buffer import Columns
from harvester.engine.run_record import RunRecord
from harvester.engine.shard import Outcome, Progress
from harvester.engine.shard_task import Harvester, ShardTask, WorkerSettings, failures_of, open_harvester
from harvester.engine.workers.choose import processes_for, workers_elsewhere
from harvester.engine.workers.processes import ThisProcess, Workers
from harvester.errors import ungrouped
from harvester.fetch.series_listing import expand
from harvester.model import ListedObject, Plan, Shard
from harvester.store.base import Store
from harvester.store.telemetry import Telemetry

_logger = logging.getLogger("harvester")

# When a crawl is told to stop: how long what was begun is read, and when it is given up.
_READING_SECONDS: Final = 5.0
_STOPPING_SECONDS: Final = 15.0


_Totals: TypeAlias = Mapping[BucketName, int]


class StopRequest:
    """Asks a crawl to finish what is in flight, commit it and end."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    @property
    def made(self) -> bool:
        """Whether it was asked."""
        return self._event.is_set()

    def make(self) -> None:
        """Ask; within a few seconds the crawl ends. A catalog that is being read is left at once."""
        self._event.set()

    async def wait(self) -> None:
        """Return when it was asked."""
        await self._event.wait()


@dataclass(frozen=True, slots=True)
class CrawlOptions:
    """What a crawl is told besides its configuration.

    Attributes:
        limit_series: Harvest only so many of the selected series, the first ones.
        retry_failed: Take the failures of the selected series again, and nothing else.
        columns: Makes what takes the headers of one part; must be importable by its name.
    """

    limit_series: int | None = None
    retry_failed: bool = False
    columns: Columns = HeaderColumns


_DEFAULT_OPTIONS: Final = CrawlOptions()


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
        stopped: Whether it was asked to stop before it was done.
        carried: How many of the instances were not read: a revision left their objects as they were.
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


async def crawl(
    config: CrawlConfig,
    progress: Progress,
    options: CrawlOptions = _DEFAULT_OPTIONS,
    *,
    stop: StopRequest | None = None,
) -> CrawlResult:
    """Harvest what a configuration selects into its dataset; what is committed there already is kept.

    Args:
        config: What to harvest, from where, into which dataset.
        progress: Is counted up while the crawl runs.
        options: What else there is to say.
        stop: Ends the crawl early.

    Raises:
        UserError: The selection, the catalog or the dataset is not what the configuration says.
        WorkerError: Worker processes cannot be started.
    """
    run = _Run(config, progress, options, stop or StopRequest())
    with ungrouped(), ExitStack() as held:
        await run.until_stopped(held)
        return await anyio.to_thread.run_sync(run.conclude)


def cpu_seconds() -> float:
    """What this process and its children that have ended have used of the cores."""
    spent = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in spent)


@dataclass(slots=True)
class _Run:
    """One crawl, from the catalog to the last commit."""

    config: CrawlConfig
    progress: Progress
    options: CrawlOptions
    stop: StopRequest
    before: Done = field(default_factory=Done)
    series: int = 0
    _started: float = field(default_factory=time.monotonic)
    _started_at: datetime = field(default_factory=partial(datetime.now, UTC))
    _used: int = 1
    _cpu_before: float = field(default_factory=cpu_seconds)
    _telemetry: Telemetry = field(default_factory=Telemetry)
    _dataset: Dataset | None = None
    _lock: Lock | None = None
    _increment: Increment = field(default_factory=Increment)
    _plan: Plan = field(default_factory=lambda: Plan("", ()))
    _workers: Workers | None = None

    async def until_stopped(self, held: ExitStack) -> None:
        """Crawl; when asked to stop, end what is in flight, or leave what is not worth waiting for."""
        async with anyio.create_task_group() as tasks:

            async def heed() -> None:
                await self.stop.wait()
                if self._workers is not None:
                    await self._workers.stop(_READING_SECONDS)
                    await anyio.sleep(_STOPPING_SECONDS)
                tasks.cancel_scope.cancel()

            tasks.start_soon(heed)
            await self._crawl(held)
            tasks.cancel_scope.cancel()

    def conclude(self) -> CrawlResult:
        """Remove what dead workers left, count what is there, and keep a record of the run."""
        dataset, workers, before = self._dataset, self._workers, self.before
        after = before
        if dataset is not None and self._lock is not None and workers is not None:
            if workers.deaths or self.stop.made:
                dataset.sweep(self._lock)
            after = Done.of(CommittedSeries.of(dataset.commits()), self._plan).plus(self._increment.elsewhere)
            dataset.checkpoint(self._lock)
        result = CrawlResult(
            dataset=self.config.dataset,
            series=self.series,
            instances=after.instances - before.instances,
            failures=after.failures,
            skipped=before.instances + (0 if self.options.retry_failed else before.failures),
            requests=self.progress.requests,
            bytes_fetched=self.progress.bytes_fetched,
            seconds=time.monotonic() - self._started,
            stopped=self.stop.made,
            carried=self.progress.carried,
        )
        if dataset is not None and workers is not None:
            RunRecord(
                crawl=self._plan.name,
                config=self.config,
                started_at=self._started_at,
                seconds=result.seconds,
                processes=self._used,
                totals=asdict(result),
                telemetry=self._telemetry.merged(workers.telemetry),
                deaths=tuple(workers.deaths),
                cpu_seconds=None if self.config.limits.scheduler else cpu_seconds() - self._cpu_before,
            ).save(dataset)
        return result

    async def _crawl(self, held: ExitStack) -> None:
        # Threads are abandoned when interrupted: they may be waiting for a catalog's server.
        in_thread = partial(anyio.to_thread.run_sync, abandon_on_cancel=True)
        catalog = await in_thread(open_catalog, self.config)
        with catalog:
            processes = self._used = processes_for(catalog, self.options.limit_series, self.config.limits)
            async with workers_elsewhere(self.config.limits, processes, self.progress) as pool:
                shards = await in_thread(_planned, catalog, self.options.limit_series, self.config.limits)
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
                    dataset, lock, whole=self.options.limit_series is None and not self.options.retry_failed
                )
                self._count(await in_thread(self._increment.begin, catalog, self._plan))
                await in_thread(dataset.save_plan, self._plan)
                totals = await in_thread(catalog.bucket_totals)
                settings = WorkerSettings(
                    dataset.location,
                    self.config.limits,
                    self.config.source.endpoint,
                    processes,
                    self.options.columns,
                    spread=schemes_of(self.config.source.provider),
                    effort=self.config.frames.index,
                    token=lock.token,
                )
                async with open_harvester(settings) as harvester:
                    if pool is None:
                        self._workers = ThisProcess(harvester, self.progress)
                    else:
                        pool.begin(settings, lock.descriptor)
                        self._workers = pool
                    try:
                        await self._harvest(harvester, self._workers, totals)
                    finally:
                        self._telemetry = harvester.store.telemetry()

    def _count(self, before: Done) -> None:
        self.before = before
        self.progress.skipped = before.instances + before.failures

    async def _harvest(self, harvester: Harvester, workers: Workers, totals: _Totals) -> None:
        """Harvest what is left of the plan; or take again what failed."""
        survival = PoisonTaskIsolation(
            workers, partial(_objects, harvester), partial(_committed, harvester.dataset)
        )
        if self.options.retry_failed:
            tasks = await anyio.to_thread.run_sync(self._failed, harvester.dataset)
            await self._each(survival, iter(tasks))
            return
        self._plan = await self._increment.relist(self._plan, harvester.store, self.config.limits)
        self.progress.requests += self._increment.requests
        self.before = self._increment.done
        await anyio.to_thread.run_sync(self._look_back)
        found = FoundObjects(harvester.dataset.storage.spill)
        try:
            await _list_buckets(self._remaining, totals, harvester.store, found, self.config.limits)
            self.progress.requests += found.requests
            landed = await self._each(survival, self._tasks(found))
        finally:
            found.close()
        again = [replace(task, again="transient", given_up=frozenset()) for task in landed]
        if again and not self.stop.made:
            _logger.info("taking again what failed in %d shards and may pass", len(again))
            await self._each(survival, iter(again))

    def _remaining(self) -> Iterator[Shard]:
        return self.before.remaining(self._plan, self.config.limits)

    def _look_back(self) -> None:
        if next(self._remaining(), None) is not None:
            self._increment.look_back()

    def _tasks(self, found: FoundObjects) -> Iterator[ShardTask]:
        for shard in self._remaining():
            listed = replace(shard, series=tuple(found.fill(series) for series in shard.series))
            yield ShardTask(
                self._plan.name,
                listed,
                known=self._increment.known_of(listed),
                earlier=self._increment.earlier_than(listed),
            )

    def _failed(self, dataset: Dataset) -> list[ShardTask]:
        """The commits that have failures of selected series."""
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
                tasks.append(ShardTask(commit.crawl, shard, again="all"))
        return tasks

    async def _each(self, survival: PoisonTaskIsolation, queue: Iterator[ShardTask]) -> list[ShardTask]:
        """Bring all tasks home; those are returned that have failures which may pass."""
        failed: list[ShardTask] = []

        places = anyio.Semaphore(survival.workers.places)

        async def bring_home(task: ShardTask) -> None:
            try:
                landed = await survival.harvest(task)
            finally:
                places.release()
            failed.extend(done for done, outcome in landed if outcome.may_pass)

        async with anyio.create_task_group() as tasks:
            await places.acquire()
            for task in queue:
                await survival.workers.place()
                if self.stop.made:
                    break
                tasks.start_soon(bring_home, task)
                await places.acquire()
        return failed


async def _objects(harvester: Harvester, task: ShardTask) -> Sequence[ListedObject]:
    """What a task will read."""
    series = task.shard.series
    if task.again is not None:
        series = (await anyio.to_thread.run_sync(failures_of, harvester.dataset, task)).series
    return [listed for one in series for listed in (await expand(one, harvester.store)).objects]


async def _committed(dataset: Dataset, task: ShardTask) -> Outcome | None:
    """What came of a task whose worker died after its commit, if it did."""
    if task.again is not None or task.trial:
        return None
    commit = await anyio.to_thread.run_sync(dataset.find_commit, task.crawl, task.shard.name)
    return None if commit is None else Outcome(len(commit.series), may_pass=commit.failures)


async def _list_buckets(
    shards: Callable[[], Iterable[Shard]],
    totals: _Totals,
    store: Store,
    found: FoundObjects,
    limits: LimitsConfig,
) -> None:
    """List whole buckets where that asks less often than a listing of each series."""
    if not totals:
        return
    listings = await anyio.to_thread.run_sync(
        choose_buckets, (one for shard in shards() for one in shard.series), totals
    )
    for listing in listings:
        _logger.debug("%s: listing most of the bucket, in %d pieces", listing.bucket.url, len(listing.pieces))
    await list_buckets(listings, store, found, concurrency=max(1, limits.concurrency // 4))


def _planned(catalog: Catalog, limit: int | None, limits: LimitsConfig) -> SpooledShards:
    """The shards of a selection, on a disk: of a million series none is held in memory."""
    series = catalog.series(limit)
    return spool(make_shards(series if catalog.is_ordered else in_order(series), limits))
