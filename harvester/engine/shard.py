"""Harvests one shard: lists its series, reads their headers, writes the parts and the commit."""

import logging
import time
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Final, TypeAlias

import anyio

from harvester.catalog.clouds import canonical_url
from harvester.dataset import Partition, ShardWriter
from harvester.dicom.frames import FrameIndex
from harvester.engine.batch_queue import BatchQueue
from harvester.engine.carry_over import ReusedRows
from harvester.engine.retry_failed import RetriedFailures, may_pass
from harvester.engine.row_buffer import RowBuffer
from harvester.errors import HarvestError, HeaderLimitError, UserError
from harvester.fetch.frame_index import FrameSearch
from harvester.fetch.headers import FetchedHeader, HeaderFetcher
from harvester.fetch.series_listing import ListedSeries, list_series, surplus
from harvester.fetch.window_predictor import ObjectTraits
from harvester.model import VERSION, Failure, ListedObject, Series, Shard
from harvester.store.cost import RequestCost

_logger = logging.getLogger("harvester")

_QueueItem: TypeAlias = tuple[ListedSeries, ListedObject]

_MODALITY: Final = 0x00080060

VERSIONS: Final = {"harvester": VERSION, "pydicom": version("pydicom"), "pyarrow": version("pyarrow")}


@dataclass(slots=True)
class CrawlProgress:
    """Counters of a crawl, readable at any time; `carried` counts the instances that were not read.

    While the crawl merges small parts at its end, `rows_to_compact` is not 0.
    """

    series: int = 0
    instances: int = 0
    failures: int = 0
    skipped: int = 0
    requests: int = 0
    bytes_fetched: int = 0
    carried: int = 0
    rows_compacted: int = 0
    rows_to_compact: int = 0
    expected_instances: int | None = None

    def spend(self, cost: RequestCost) -> None:
        """Add the cost of one object."""
        self.requests += cost.requests
        self.bytes_fetched += cost.bytes_fetched


@dataclass(frozen=True, slots=True)
class HarvestOptions:
    """Options of one shard's harvest.

    Attributes:
        retried: The failures to retry, if the shard is committed already.
        given_up: URLs of objects that become failures without being read: they killed a worker.
        trial: Commit nothing; the harvest only tests whether the process survives.
        frames: Finds frame indexes; None: no search.
        known: Objects (`canonical_url`) that have a row already.
        reusable: Rows of earlier versions of the series, reused for objects that were not revised.
    """

    retried: RetriedFailures | None = None
    given_up: frozenset[str] = frozenset()
    trial: bool = False
    frames: FrameSearch | None = None
    known: frozenset[str] = frozenset()
    reusable: ReusedRows | None = None


_DEFAULT_OPTIONS: Final = HarvestOptions()


@dataclass(frozen=True, slots=True)
class ShardResult:
    """Result of a shard's harvest.

    Attributes:
        series: How many of its series are committed now.
        may_pass: How many of their failures may succeed when retried.
        replaced: How many earlier failures were replaced.
    """

    series: int
    may_pass: int = 0
    replaced: int = 0


@dataclass(slots=True)
class ShardHarvest:
    """The harvest of one shard.

    Args:
        shard: What to harvest.
        fetcher: Reads headers.
        writer: Writes the parts and the commit.
        progress: Updated during the harvest; at the end it counts what was committed and all requests.
        readers: Bounds how many objects the process reads at the same time, in all of its shards.
        options: See `HarvestOptions`.
    """

    shard: Shard
    fetcher: HeaderFetcher
    writer: ShardWriter
    progress: CrawlProgress
    readers: anyio.Semaphore
    options: HarvestOptions = _DEFAULT_OPTIONS
    _rows: dict[Partition, RowBuffer] = field(default_factory=dict)
    _replaced: list[tuple[Partition, RowBuffer]] = field(default_factory=list)
    _failures: list[Failure] = field(default_factory=list)
    _writing: anyio.Lock = field(default_factory=anyio.Lock)
    _cost: RequestCost = field(default_factory=RequestCost)
    _counts: dict[str, tuple[int, int]] = field(default_factory=dict)
    _unread: dict[str, int] = field(default_factory=dict)
    _written: set[str] = field(default_factory=set)
    _reading: anyio.CancelScope | None = None
    _stop_seconds: float | None = None

    async def run(self) -> ShardResult:
        """Harvest the shard and commit it; after `stop`, commit the series that are complete.

        If cancelled before the commit, the parts that were written do not count.

        Raises:
            DatasetError: A part or the commit cannot be written.
        """
        started = time.monotonic()
        keys = [series.key for series in self.shard.series]
        retried = self.options.retried
        if retried is not None:  # the objects are counted anew
            self.progress.failures -= retried.replaced_rows(keys)
        with anyio.CancelScope() as self._reading:
            if self._stop_seconds is not None:
                self.stop(self._stop_seconds)
            await self._read_all()
        done = [key for key in keys if self._unread.get(key) == 0]
        dropped = frozenset(keys).difference(done)
        if dropped & self._written or not done:  # rows cannot be removed from a part that is written
            done, dropped = [], frozenset(keys)
        if self.options.reusable is not None and done:
            await self._reuse_rows(self.options.reusable, done)
        for partition, rows in [*self._rows.items(), *self._replaced] if done else ():
            await self._write(partition, rows, dropped)
        return await anyio.to_thread.run_sync(self._conclude, done, time.monotonic() - started)

    def stop(self, seconds: float) -> None:
        """Start no more series, and stop reading after `seconds`."""
        self._stop_seconds = seconds
        if self._reading is not None:
            self._reading.deadline = min(self._reading.deadline, anyio.current_time() + seconds)

    def _conclude(self, done: list[str], seconds: float) -> ShardResult:
        if self.options.trial or not done:
            self.writer.discard()
            done = []
        counts = {key: self._counts.get(key, (0, 0)) for key in done}
        self._uncount_all_but(counts)
        if not done:
            return ShardResult(0)
        failures = [one for one in self._failures if one.series is None or one.series.key in counts]
        retried = self.options.retried
        if retried is not None:
            failures = retried.with_earlier_attempts(failures)
            counts = {key: retried.counts(key, *count) for key, count in counts.items()}
        self.writer.write_failures(
            failures,
            harvester_version=VERSION,
            kept=None if retried is None else retried.remaining_rows(counts),
        )
        self.writer.commit(
            counts,
            requests=self._cost.requests,
            bytes_fetched=self._cost.bytes_fetched,
            seconds=seconds,
            versions=VERSIONS,
        )
        replaced = 0 if retried is None else retried.replaced_rows(counts)
        return ShardResult(len(done), sum(may_pass(one.reason, one.status) for one in failures), replaced)

    def _uncount_all_but(self, committed: Mapping[str, tuple[int, int]]) -> None:
        """Subtract from the progress what was harvested and is not committed; earlier failures stay."""
        for key, (instances, failures) in self._counts.items():
            if key not in committed:
                self.progress.instances -= instances
                self.progress.failures -= failures
        self.progress.series -= len(self._unread.keys() - committed.keys())
        if self.options.retried is not None:
            keys = {series.key for series in self.shard.series}
            self.progress.failures += self.options.retried.replaced_rows(keys - committed.keys())

    async def _read_all(self) -> None:
        concurrency = self.readers.max_value or 1
        queue: BatchQueue[_QueueItem] = BatchQueue(concurrency)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._list_all, queue, max(1, concurrency // 4))
            for _ in range(concurrency):
                tasks.start_soon(self._read_from, queue)

    async def _list_all(self, queue: BatchQueue[_QueueItem], at_once: int) -> None:
        """List the series, a few at a time, and queue their objects."""
        limiter = anyio.CapacityLimiter(at_once)
        # Reading series one after another reuses predicted windows and leaves few half-read series on a stop.
        turn = anyio.Lock()

        async def enqueue(series: Series) -> None:
            async with limiter:
                if self._stop_seconds is not None:
                    return
                listed_series = await list_series(series, self.fetcher.store)
                self._spend(RequestCost(requests=listed_series.requests))
                if listed_series.failure is not None:
                    self._fail(series, listed_series.failure)
                elif more := surplus(listed_series):
                    _logger.warning("%s: %d objects more than the catalog counts", series.key, more)
                objects = [one for one in listed_series.objects if not self._is_known(listed_series, one)]
                if self.options.reusable is not None:
                    objects = [listed for listed in objects if not self._is_reused(series, listed)]
                self._unread[series.key] = len(objects)
                self.progress.series += 1
                async with turn:
                    await queue.put([(listed_series, listed) for listed in objects])

        async with anyio.create_task_group() as tasks:
            for series in self.shard.series:
                tasks.start_soon(enqueue, series)
        queue.end()

    def _is_known(self, listed_series: ListedSeries, listed: ListedObject) -> bool:
        retried = self.options.retried
        if self.options.known and canonical_url(listed.ref.url) in self.options.known:
            return True
        return retried is not None and any(copy.url in retried.known for copy in listed_series.copies(listed))

    def _is_reused(self, series: Series, listed: ListedObject) -> bool:
        reusable = self.options.reusable
        return reusable is not None and (
            listed.ref.url not in self.options.given_up and reusable.take(series, listed)
        )

    async def _reuse_rows(self, reusable: ReusedRows, done: list[str]) -> None:
        """Write the reused rows of the series that are complete."""
        for key in done:
            number = reusable.count(key)
            before = self._counts.get(key, (0, 0))
            self._counts[key] = (before[0] + number, before[1])
            self.progress.instances += number
            self.progress.carried += number
        await anyio.to_thread.run_sync(self._write_reused, reusable, done)

    def _write_reused(self, reusable: ReusedRows, done: list[str]) -> None:
        for table, partition, rows in reusable.tables(done):
            if table == "frames":
                self.writer.write_frames(rows, partition)
            else:
                self.writer.write_instances(rows, partition)

    async def _read_from(self, queue: BatchQueue[_QueueItem]) -> None:
        while await queue.wait():
            await self.readers.acquire()
            is_counted = True
            try:
                while is_counted and (item := queue.take()) is not None:
                    listed_series, listed = item
                    series = listed_series.series
                    traits = ObjectTraits(series.key, series.modality, listed.size)
                    if self.fetcher.must_wait(traits):  # meanwhile another object is read
                        self.readers.release()
                        is_counted = False
                    await self._read(listed_series, listed, traits)
            finally:
                if is_counted:
                    self.readers.release()

    async def _read(self, listed_series: ListedSeries, listed: ListedObject, traits: ObjectTraits) -> None:
        cost = RequestCost()
        series = listed_series.series
        if self.options.given_up and listed.ref.url in self.options.given_up:
            self._fail(series, _given_up(series, listed))
            self._unread[series.key] -= 1
            return
        try:
            fetched = await self.fetcher.fetch(listed_series.copies(listed), cost, traits)
            frames = self.options.frames
            index = None if frames is None else await frames.find(fetched, cost)
            partition = Partition(series.collection_id, series.modality or _modality(fetched))
            full = self._add(partition, series, fetched, cost, index)
        except UserError:
            raise  # the same would happen to every object: no server, no credentials
        except HarvestError as error:
            self._fail(series, _failure(error, series, listed))
        except Exception as error:  # a bug met in one object must not end the crawl
            _logger.exception("%s: a bug in harvester; please report it", listed.ref.url)
            message = f"a bug in harvester: {type(error).__name__}: {error}"
            self._fail(series, Failure(listed.ref.url, "bug", message, series=series, size=listed.size))
        else:
            self.progress.instances += 1
            self._count(series, instances=1)
            if full is not None:
                self._unread[series.key] -= 1
                await self._write(partition, full)
                return
        finally:
            self._spend(cost)
        self._unread[series.key] -= 1

    def _add(
        self,
        partition: Partition,
        series: Series,
        fetched: FetchedHeader,
        cost: RequestCost,
        index: FrameIndex | None,
    ) -> RowBuffer | None:
        """Add one row to its partition; return the rows that must be written now, if any."""
        rows = self._rows.get(partition)
        if rows is None:
            rows = self._rows[partition] = RowBuffer()
        try:
            rows.append(series, fetched, cost, index)
        except HeaderLimitError:
            if not rows.columns.rows:
                raise
            # A header that exceeds a bound of the part beside other rows may fit into a part of its own.
            alone = RowBuffer()
            alone.append(series, fetched, cost, index)
            self._rows[partition] = alone
            self._replaced.append((partition, rows))
            return rows
        return rows if rows.full else None

    def _fail(self, series: Series, failure: Failure) -> None:
        self._failures.append(failure)
        self.progress.failures += 1
        self._count(series, failures=1)

    def _count(self, series: Series, *, instances: int = 0, failures: int = 0) -> None:
        before = self._counts.get(series.key, (0, 0))
        self._counts[series.key] = (before[0] + instances, before[1] + failures)

    def _spend(self, cost: RequestCost) -> None:
        self._cost.requests += cost.requests
        self._cost.bytes_fetched += cost.bytes_fetched
        self.progress.spend(cost)

    async def _write(self, partition: Partition, rows: RowBuffer, dropped: Container[str] = ()) -> None:
        """Write a part in a thread.

        Tasks that add to a full buffer wait here, so that at most two parts of a partition are in memory;
        the first of them writes the part.
        """
        async with self._writing:
            if self._rows.get(partition) is rows:
                del self._rows[partition]
            elif (partition, rows) in self._replaced:
                self._replaced.remove((partition, rows))
            else:
                return  # another task has written it
            self._written |= rows.series
            await anyio.to_thread.run_sync(self._write_part, rows, partition, dropped)

    def _write_part(self, rows: RowBuffer, partition: Partition, dropped: Container[str]) -> None:
        self.writer.write_instances(rows.table(dropped), partition)
        self.writer.write_frames(rows.frame_table(dropped), partition)


def _given_up(series: Series, listed: ListedObject) -> Failure:
    message = "the worker process died each time it read this object; see its log or the kernel's"
    return Failure(listed.ref.url, "worker_died", message, series=series, size=listed.size)


def _failure(error: HarvestError, series: Series, listed: ListedObject) -> Failure:
    elsewhere = error.url is not None and error.url != listed.ref.url
    return Failure(
        url=listed.ref.url,
        reason=error.reason,
        message=f"{error.message} [{error.url}]" if elsewhere else error.message,
        status=error.status,
        offset=error.offset,
        attempts=getattr(error, "attempts", 1),
        series=series,
        size=listed.size,
    )


def _modality(fetched: FetchedHeader) -> str | None:
    raw = fetched.header.value(_MODALITY) or b""
    return raw.decode("latin-1").strip(" \0") or None
