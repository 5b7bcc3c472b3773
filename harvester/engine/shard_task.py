"""The task of a worker process (one shard), the worker's settings, and what runs tasks."""

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Literal

import anyio

from harvester.config import LimitsConfig
from harvester.dataset import Dataset
from harvester.dicom.frames import Effort
from harvester.engine.carry_over import find_reusable_rows
from harvester.engine.retry_failed import RetriedFailures, find_failed
from harvester.engine.shard import CrawlProgress, HarvestOptions, ShardHarvest, ShardResult
from harvester.errors import DatasetError
from harvester.fetch.frame_index import FrameSearch
from harvester.fetch.headers import HeaderFetcher, Windows
from harvester.fetch.series_listing import list_series
from harvester.fetch.window_predictor import WindowPredictor
from harvester.model import ListedObject, Shard
from harvester.store.open import OpenedStore, StoreSettings, open_store
from harvester.store.resilience.retrying_store import RetryPolicy

_GARBAGE_THRESHOLDS: Final = (100_000, 50, 50)


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What a worker needs to run tasks; can be pickled.

    Attributes:
        dataset: Directory or URL of the dataset, which exists.
        limits: Ceilings of each process; `requests_per_second` is that of the whole crawl.
        endpoint: Replaces the clouds' addresses.
        processes: How many processes share `requests_per_second`.
        replica_schemes: Schemes of the clouds that share the reads of objects which lie in both.
        effort: How far to search for frame indexes; None: no search.
        token: Token of the crawl's lock; needed for a dataset in a bucket.
        ca_bundle: A file of certificates to trust besides the system's.
        credentials: Whether requests are signed; see `StoreSettings`.
        requester_pays: Whether signed requests may be billed to the owner of the credentials.
    """

    dataset: str
    limits: LimitsConfig
    endpoint: str | None = None
    processes: int = 1
    replica_schemes: tuple[str, ...] = ()
    effort: Effort | None = None
    token: str | None = None
    ca_bundle: str | None = None
    credentials: Literal["none", "environment"] = "none"
    requester_pays: bool = False


@dataclass(frozen=True, slots=True)
class ShardTask:
    """A shard to harvest; can be pickled.

    Attributes:
        crawl: Name of the crawl, which is its plan's.
        shard: What to harvest.
        retry: Which failures of a committed shard to retry; None: harvest the shard itself.
        given_up: URLs of objects that become failures without being read.
        trial: Commit nothing; the task only tests whether the process survives.
        known: Objects (`canonical_url`) that have a row already although a listing may name them.
        reusable_parts: Parts with rows of earlier versions of the shard's series.
    """

    crawl: str
    shard: Shard
    retry: Literal["all", "transient"] | None = None
    given_up: frozenset[str] = frozenset()
    trial: bool = False
    known: frozenset[str] = frozenset()
    reusable_parts: tuple[str, ...] = ()


@dataclass(slots=True)
class TaskRunner:
    """Runs the tasks of one process with one store and one fetcher; made by `open_task_runner`."""

    settings: WorkerSettings
    store: OpenedStore
    dataset: Dataset
    fetcher: HeaderFetcher
    readers: anyio.Semaphore
    _running: list[ShardHarvest] = field(default_factory=list)
    _stop_seconds: float | None = None

    async def objects(self, task: ShardTask) -> list[ListedObject]:
        """List the objects that a task reads."""
        series = task.shard.series
        if task.retry is not None:
            series = (await anyio.to_thread.run_sync(failures_to_retry, self.dataset, task)).series
        return [listed for one in series for listed in (await list_series(one, self.store)).objects]

    async def harvest(self, task: ShardTask, progress: CrawlProgress) -> ShardResult:
        """Harvest one shard and commit it; after `stop`, commit the series that are complete.

        Args:
            task: What to harvest.
            progress: Updated while the task runs.

        Raises:
            DatasetError: The dataset cannot be written, or the failures to retry cannot be read.
        """
        retried = (
            await anyio.to_thread.run_sync(failures_to_retry, self.dataset, task) if task.retry else None
        )
        shard = task.shard if retried is None else Shard(task.shard.name, retried.series)
        name = f"{shard.name}-trial" if task.trial else shard.name
        writer = self.dataset.shard_writer(
            task.crawl, name, replacing=None if retried is None else retried.commit
        )
        effort = self.settings.effort
        reusable = None
        if task.reusable_parts:
            find = partial(
                find_reusable_rows,
                self.dataset,
                task.reusable_parts,
                shard.series,
                with_frames=effort is not None,
            )
            reusable = await anyio.to_thread.run_sync(find)
        options = HarvestOptions(
            retried,
            task.given_up,
            trial=task.trial,
            frames=None if effort is None else FrameSearch(self.store, effort),
            known=task.known,
            reusable=reusable,
        )
        self.store.expect(ref for series in shard.series for ref in series.locations)
        harvest = ShardHarvest(shard, self.fetcher, writer, progress, self.readers, options)
        if self._stop_seconds is not None:
            harvest.stop(self._stop_seconds)
        self._running.append(harvest)
        try:
            return await harvest.run()
        finally:
            self._running.remove(harvest)

    def stop(self, seconds: float) -> None:
        """Start no more series, and stop reading after `seconds`, in all tasks."""
        self._stop_seconds = seconds
        for harvest in self._running:
            harvest.stop(seconds)


def failures_to_retry(dataset: Dataset, task: ShardTask) -> RetriedFailures:
    """The failures that a task retries.

    Raises:
        DatasetError: The shard's commit or one of its parts cannot be read.
    """
    commit = dataset.find_commit(task.crawl, task.shard.name)
    if commit is None:
        raise DatasetError(f"{dataset.location}: the commit of shard {task.crawl}/{task.shard.name} is gone")
    return find_failed(dataset, commit, task.shard.series, transient_only=task.retry == "transient")


@asynccontextmanager
async def open_task_runner(settings: WorkerSettings) -> AsyncIterator[TaskRunner]:
    """A task runner with a store of its own, which is closed at the end.

    Raises:
        UserError: The dataset or the endpoint cannot be used as the settings say.
    """
    limits = settings.limits
    store_settings = StoreSettings(
        concurrency=limits.concurrency,
        requests_per_second=limits.requests_per_second,
        timeout_seconds=limits.timeout_seconds,
        retry=RetryPolicy(attempts=limits.attempts, patience_seconds=limits.patience_seconds),
        hedge=limits.hedge,
        processes=settings.processes,
        ca_bundle=settings.ca_bundle,
        credentials=settings.credentials,
        requester_pays=settings.requester_pays,
    )
    async with open_store(store_settings, endpoint=settings.endpoint) as store:
        fetcher = HeaderFetcher(
            store,
            Windows(limits.first_window_bytes, limits.read_ahead_bytes),
            limits.max_header_bytes,
            predictor=WindowPredictor(limits.first_window_bytes),
            copy_reader=store.copy_reader(settings.replica_schemes),
        )
        dataset = Dataset.open(settings.dataset, token=settings.token)
        readers = anyio.Semaphore(limits.concurrency, max_value=limits.concurrency, fast_acquire=True)
        yield TaskRunner(settings, store, dataset, fetcher, readers)


def collect_garbage_rarely() -> None:
    """Run Python's cyclic garbage collector rarely, and never on what is loaded now.

    Rows stay in lists until a part is full and hardly ever form cycles: the default thresholds cost a
    fifth of a harvest's time. Called at the entry of a process.
    """
    gc.freeze()
    gc.set_threshold(*_GARBAGE_THRESHOLDS)
