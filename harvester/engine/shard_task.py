"""What a process harvests with: its own store, parser and part writer; a task in, a commit out."""

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Literal

import anyio

from harvester.config import LimitsConfig
from harvester.dataset import Dataset
from harvester.dicom import HeaderColumns, WalkLimits
from harvester.dicom.frames import Effort
from harvester.engine.carry_over import find_earlier
from harvester.engine.retry_failed import RetriedFailures, find_failed
from harvester.engine.row_buffer import Columns
from harvester.engine.shard import HarvestOptions, Outcome, Progress, ShardHarvest
from harvester.errors import DatasetError
from harvester.fetch.frame_index import FrameSearch
from harvester.fetch.headers import HeaderFetcher, Windows
from harvester.fetch.window_predictor import WindowPredictor
from harvester.model import Shard
from harvester.store.open import OpenedStore, StoreSettings, open_store
from harvester.store.resilience.retrying_store import RetryPolicy

_GARBAGE_THRESHOLDS: Final = (100_000, 50, 50)


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What a worker needs to know; it can be pickled.

    Attributes:
        dataset: Where the dataset is, which exists.
        token: Of the lock under which the crawl writes; only a dataset in a bucket asks for it.
        limits: Ceilings, each process's; `requests_per_second` is of the whole crawl.
        endpoint: Replaces the clouds' addresses.
        processes: How many processes share the requests of a second.
        columns: Makes what takes the headers of one part.
        spread: The schemes of the clouds between which objects that lie in both are divided.
        effort: How far to go to find where the frames of an object lie; None: not at all.
    """

    dataset: str
    limits: LimitsConfig
    endpoint: str | None = None
    processes: int = 1
    columns: Columns = HeaderColumns
    spread: tuple[str, ...] = ()
    effort: Effort | None = None
    token: str | None = None


@dataclass(frozen=True, slots=True)
class ShardTask:
    """One piece of work; it can be pickled.

    Attributes:
        crawl: The crawl's name, which is its plan's.
        shard: What to harvest.
        again: Not the shard's objects but its failures, all or those that may pass: it is done already.
        given_up: Addresses of objects that are failures before they are read.
        trial: Only to see whether the process survives.
        known: Objects (`canonical_url`) that have a row already, and that a listing may find again.
        earlier: Parts that hold rows of earlier versions of its series.
    """

    crawl: str
    shard: Shard
    again: Literal["all", "transient"] | None = None
    given_up: frozenset[str] = frozenset()
    trial: bool = False
    known: frozenset[str] = frozenset()
    earlier: tuple[str, ...] = ()


@dataclass(slots=True)
class Harvester:
    """One process's share of a crawl; make it by `open_harvester`."""

    settings: WorkerSettings
    store: OpenedStore
    dataset: Dataset
    fetcher: HeaderFetcher
    _at_work: list[ShardHarvest] = field(default_factory=list)
    _stopping: float | None = None

    async def harvest(self, task: ShardTask, progress: Progress) -> Outcome:
        """Harvest one shard and commit it, or as many of its series as are whole when told to stop.

        Args:
            task: What to harvest.
            progress: Is counted up as it goes.

        Raises:
            DatasetError: The dataset cannot be written, or what is taken again cannot be read.
        """
        again = await anyio.to_thread.run_sync(failures_of, self.dataset, task) if task.again else None
        shard = task.shard if again is None else Shard(task.shard.name, again.series)
        name = f"{shard.name}-trial" if task.trial else shard.name
        writer = self.dataset.shard_writer(
            task.crawl, name, replacing=None if again is None else again.commit
        )
        effort = self.settings.effort
        frames = None if effort is None else FrameSearch(self.store, effort)
        earlier = None
        if task.earlier:
            look = partial(
                find_earlier, self.dataset, task.earlier, shard.series, with_frames=effort is not None
            )
            earlier = await anyio.to_thread.run_sync(look)
        terms = HarvestOptions(
            again,
            task.given_up,
            trial=task.trial,
            columns=self.settings.columns,
            frames=frames,
            known=task.known,
            earlier=earlier,
        )
        concurrency = self.settings.limits.concurrency
        work = ShardHarvest(shard, self.fetcher, writer, progress, concurrency, terms)
        if self._stopping is not None:
            work.stop(self._stopping)
        self._at_work.append(work)
        try:
            return await work.run()
        finally:
            self._at_work.remove(work)

    def stop(self, seconds: float) -> None:
        """Let all shards begin no more series, and read no longer than so many seconds."""
        self._stopping = seconds
        for work in self._at_work:
            work.stop(seconds)


def failures_of(dataset: Dataset, task: ShardTask) -> RetriedFailures:
    """The failures that a task takes again.

    Raises:
        DatasetError: The shard's commit or one of its parts cannot be read.
    """
    commit = dataset.find_commit(task.crawl, task.shard.name)
    if commit is None:
        raise DatasetError(
            f"{dataset.location}: shard {task.shard.name} of {task.crawl} has no commit any more"
        )
    return find_failed(dataset, commit, task.shard.series, transient_only=task.again == "transient")


@asynccontextmanager
async def open_harvester(settings: WorkerSettings) -> AsyncIterator[Harvester]:
    """A harvester with its own store, which is closed at the end.

    Raises:
        UserError: The dataset or the endpoint is not what the settings say.
    """
    limits = settings.limits
    asking = StoreSettings(
        concurrency=limits.concurrency,
        requests_per_second=limits.requests_per_second,
        timeout_seconds=limits.timeout_seconds,
        retry=RetryPolicy(attempts=limits.attempts, patience_seconds=limits.patience_seconds),
        hedge=limits.hedge,
        processes=settings.processes,
    )
    async with open_store(asking, endpoint=settings.endpoint) as store:
        fetcher = HeaderFetcher(
            store,
            Windows(limits.first_window_bytes, limits.read_ahead_bytes),
            WalkLimits(header_bytes=limits.max_header_bytes),
            predictor=WindowPredictor(limits.first_window_bytes),
            copy_reader=store.copy_reader(settings.spread),
        )
        yield Harvester(settings, store, Dataset.open(settings.dataset, token=settings.token), fetcher)


def collect_garbage_rarely() -> None:
    """Let Python look for cycles seldom, and never among what is loaded by now; a process's entry says it.

    Rows are held in lists until a part is full, and there are hardly any cycles: looking through them
    again and again takes a fifth of a harvest's time.
    """
    gc.freeze()
    gc.set_threshold(*_GARBAGE_THRESHOLDS)


def harvest_shard(settings: WorkerSettings, task: ShardTask) -> tuple[Outcome, Progress]:
    """Harvest one shard in this process, from opening a store to the commit; for schedulers of others.

    Whoever calls this holds the dataset's lock, or knows that nobody else writes.

    Raises:
        UserError: The dataset or the endpoint is not what the settings say.
    """

    async def run() -> tuple[Outcome, Progress]:
        progress = Progress()
        async with open_harvester(settings) as harvester:
            return await harvester.harvest(task, progress), progress

    return anyio.run(partial(run))
