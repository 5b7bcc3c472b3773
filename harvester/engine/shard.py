"""Harvests one shard: lists its series, reads their headers, writes its parts and its commit."""

import logging
import time
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Final, TypeAlias

import anyio

from harvester import __version__
from harvester.catalog.clouds import canonical_url
from harvester.dataset import Partition, ShardWriter
from harvester.dicom import HeaderColumns
from harvester.dicom.frames import FrameIndex
from harvester.engine.batch_queue import BatchQueue
from harvester.engine.carry_over import ReusedRows
from harvester.engine.retry_failed import RetriedFailures, may_pass
from harvester.engine.row_buffer import Columns, Rows
from harvester.errors import HarvestError, HeaderLimitError
from harvester.fetch.frame_index import FrameSearch
from harvester.fetch.headers import FetchedHeader, HeaderFetcher
from harvester.fetch.series_listing import ExpandedSeries, expand, surplus
from harvester.fetch.window_predictor import ObjectTraits
from harvester.model import Failure, ListedObject, Series, Shard
from harvester.store.cost import RequestCost

_logger = logging.getLogger("harvester")

_Found: TypeAlias = tuple[ExpandedSeries, ListedObject]

VERSIONS: Final = {"harvester": __version__, "pydicom": version("pydicom"), "pyarrow": version("pyarrow")}


@dataclass(slots=True)
class Progress:
    """What a crawl has done so far; read it at any time. `carried` are those of its instances not read."""

    series: int = 0
    instances: int = 0
    failures: int = 0
    skipped: int = 0
    requests: int = 0
    bytes_fetched: int = 0
    carried: int = 0
    expected_instances: int | None = None

    def spend(self, cost: RequestCost) -> None:
        """Add what one object cost."""
        self.requests += cost.requests
        self.bytes_fetched += cost.bytes_fetched


@dataclass(frozen=True, slots=True)
class HarvestOptions:
    """What is special about one harvest of a shard.

    Attributes:
        again: The failures that are taken again, where the shard is done already.
        given_up: Addresses of objects that are failures before they are read: they killed a worker.
        trial: Read, write and delete again: it is only to be seen whether the process survives.
        columns: Makes what takes the headers.
        frames: Finds where the frames of an object lie; None: nobody asks.
        known: Objects (`canonical_url`) that have a row already.
        earlier: Rows of earlier versions of its series, which objects that were not revised take over.
    """

    again: RetriedFailures | None = None
    given_up: frozenset[str] = frozenset()
    trial: bool = False
    columns: Columns = HeaderColumns
    frames: FrameSearch | None = None
    known: frozenset[str] = frozenset()
    earlier: ReusedRows | None = None


_DEFAULT_TERMS: Final = HarvestOptions()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a shard.

    Attributes:
        series: How many of its series are committed now.
        may_pass: How many of their failures may pass if they are taken again.
        replaced: How many earlier failures gave way to what is committed now.
    """

    series: int
    may_pass: int = 0
    replaced: int = 0


@dataclass(slots=True)
class ShardHarvest:
    """One shard at work.

    Args:
        shard: What to harvest.
        fetcher: Reads headers.
        writer: Takes the parts and the commit.
        progress: Is counted up as it goes; in the end it has what was committed, and all that was spent.
        concurrency: How many objects are read at once.
        terms: What is special about it.
    """

    shard: Shard
    fetcher: HeaderFetcher
    writer: ShardWriter
    progress: Progress
    concurrency: int
    terms: HarvestOptions = _DEFAULT_TERMS
    _rows: dict[Partition, Rows] = field(default_factory=dict)
    _aside: list[tuple[Partition, Rows]] = field(default_factory=list)
    _failures: list[Failure] = field(default_factory=list)
    _writing: anyio.Lock = field(default_factory=anyio.Lock)
    _cost: RequestCost = field(default_factory=RequestCost)
    _counts: dict[str, tuple[int, int]] = field(default_factory=dict)
    _unread: dict[str, int] = field(default_factory=dict)
    _written: set[str] = field(default_factory=set)
    _reading: anyio.CancelScope | None = None
    _stopping: float | None = None

    async def run(self) -> Outcome:
        """Harvest the shard and commit it; cancelled before its commit, it leaves parts that do not count.

        When it was told to stop, it commits the series that are whole by then.

        Raises:
            DatasetError: A part or the commit cannot be written.
        """
        started = time.monotonic()
        with anyio.CancelScope() as self._reading:
            if self._stopping is not None:
                self.stop(self._stopping)
            await self._read_all()
        keys = [series.key for series in self.shard.series]
        done = [key for key in keys if self._unread.get(key) == 0]
        dropped = frozenset(keys).difference(done)
        if dropped & self._written or not done:  # a part is not written twice for a crawl that ends
            done, dropped = [], frozenset(keys)
        if self.terms.earlier is not None and done:
            await self._carry_over(self.terms.earlier, done)
        for partition, rows in [*self._rows.items(), *self._aside] if done else ():
            await self._write(partition, rows, dropped)
        return await anyio.to_thread.run_sync(self._conclude, done, time.monotonic() - started)

    def stop(self, seconds: float) -> None:
        """Begin no more series, and read no longer than so many seconds."""
        self._stopping = seconds
        if self._reading is not None:
            self._reading.deadline = min(self._reading.deadline, anyio.current_time() + seconds)

    def _conclude(self, done: list[str], seconds: float) -> Outcome:
        if self.terms.trial or not done:
            self.writer.discard()
            done = []
        counts = {key: self._counts.get(key, (0, 0)) for key in done}
        self._take_back(counts)
        if not done:
            return Outcome(0)
        failures = [one for one in self._failures if one.series is None or one.series.key in counts]
        again = self.terms.again
        if again is not None:
            failures = again.tried(failures)
            counts = {key: again.counts(key, *count) for key, count in counts.items()}
        self.writer.write_failures(
            failures, harvester_version=__version__, kept=None if again is None else again.kept(counts)
        )
        self.writer.commit(
            counts,
            requests=self._cost.requests,
            bytes_fetched=self._cost.bytes_fetched,
            seconds=seconds,
            versions=VERSIONS,
        )
        replaced = 0 if again is None else again.retried(counts)
        self.progress.failures -= replaced
        return Outcome(len(done), sum(may_pass(one.reason, one.status) for one in failures), replaced)

    def _take_back(self, committed: Mapping[str, tuple[int, int]]) -> None:
        """Let the progress forget what was harvested and is not committed."""
        for key, (instances, failures) in self._counts.items():
            if key not in committed:
                self.progress.instances -= instances
                self.progress.failures -= failures
        self.progress.series -= len(self._unread.keys() - committed.keys())

    async def _read_all(self) -> None:
        found: BatchQueue[_Found] = BatchQueue(self.concurrency)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._list_all, found)
            for _ in range(self.concurrency):
                tasks.start_soon(self._read_some, found)

    async def _list_all(self, found: BatchQueue[_Found]) -> None:
        """Hand out the objects of all series; a few series are listed, and held, at once."""
        listing = anyio.CapacityLimiter(max(1, self.concurrency // 4))
        # One series after the other: siblings are read quickest together, and who stops has few in halves.
        turn = anyio.Lock()

        async def hand_out(series: Series) -> None:
            async with listing:
                if self._stopping is not None:
                    return
                expanded = await expand(series, self.fetcher.store)
                self._spend(RequestCost(requests=expanded.requests))
                if expanded.failure is not None:
                    self._fail(series, expanded.failure)
                elif more := surplus(expanded):
                    _logger.warning("%s: %d objects more than the catalog counts", series.key, more)
                objects = [listed for listed in expanded.objects if not self._is_known(expanded, listed)]
                if self.terms.earlier is not None:
                    objects = [listed for listed in objects if not self._is_carried_over(series, listed)]
                self._unread[series.key] = len(objects)
                self.progress.series += 1
                async with turn:
                    await found.put([(expanded, listed) for listed in objects])

        async with anyio.create_task_group() as tasks:
            for series in self.shard.series:
                tasks.start_soon(hand_out, series)
        found.end()

    def _is_known(self, expanded: ExpandedSeries, listed: ListedObject) -> bool:
        again = self.terms.again
        if self.terms.known and canonical_url(listed.ref.url) in self.terms.known:
            return True
        return again is not None and any(copy.url in again.known for copy in expanded.copies(listed))

    def _is_carried_over(self, series: Series, listed: ListedObject) -> bool:
        earlier = self.terms.earlier
        return earlier is not None and (
            listed.ref.url not in self.terms.given_up and earlier.take(series, listed)
        )

    async def _carry_over(self, earlier: ReusedRows, done: list[str]) -> None:
        """Write the rows that the series which are whole take over."""
        for key in done:
            number = earlier.count(key)
            before = self._counts.get(key, (0, 0))
            self._counts[key] = (before[0] + number, before[1])
            self.progress.instances += number
            self.progress.carried += number
        await anyio.to_thread.run_sync(self._write_earlier, earlier, done)

    def _write_earlier(self, earlier: ReusedRows, done: list[str]) -> None:
        for kind, partition, table in earlier.tables(done):
            if kind == "frames":
                self.writer.write_frames(table, partition)
            else:
                self.writer.write_instances(table, partition)

    async def _read_some(self, found: BatchQueue[_Found]) -> None:
        while (one := await found.take()) is not None:
            await self._read(*one)

    async def _read(self, expanded: ExpandedSeries, listed: ListedObject) -> None:
        cost = RequestCost()
        series = expanded.series
        if self.terms.given_up and listed.ref.url in self.terms.given_up:
            self._fail(series, _given_up(series, listed))
            self._unread[series.key] -= 1
            return
        try:
            kind = ObjectTraits(series.key, series.modality, listed.size)
            fetched = await self.fetcher.fetch(expanded.copies(listed), cost, kind)
            frames = self.terms.frames
            index = None if frames is None else await frames.find(fetched, cost)
            partition = Partition(series.collection_id, series.modality or _modality(fetched))
            complete = self._add(partition, series, fetched, cost, index)
        except HarvestError as error:
            self._fail(series, _failure(error, series, listed))
        except Exception as error:  # one object must not end the crawl, whatever we did wrong
            _logger.exception("%s: a bug in harvester; please report it", listed.ref.url)
            message = f"a bug in harvester: {type(error).__name__}: {error}"
            self._fail(series, Failure(listed.ref.url, "bug", message, series=series, size=listed.size))
        else:
            self.progress.instances += 1
            self._count(series, instances=1)
            if complete is not None:
                self._unread[series.key] -= 1
                await self._write(partition, complete)
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
    ) -> Rows | None:
        """Add one row to its partition; gives rows that are to be written now, if there are any."""
        rows = self._rows.get(partition)
        if rows is None:
            rows = self._rows[partition] = Rows(self.terms.columns)
        try:
            rows.append(series, fetched, cost, index)
        except HeaderLimitError:
            if not rows.columns.rows:
                raise
            # What is too much beside others, whose attributes are columns of its items, may do alone.
            alone = Rows(self.terms.columns)
            alone.append(series, fetched, cost, index)
            self._rows[partition] = alone
            self._aside.append((partition, rows))
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

    async def _write(self, partition: Partition, rows: Rows, dropped: Container[str] = ()) -> None:
        """Write what has come together, in a thread.

        Readers that add to rows which are full wait here, so that no more than two parts of a partition
        are in memory; the first of them writes for all.
        """
        async with self._writing:
            if self._rows.get(partition) is rows:
                del self._rows[partition]
            elif (partition, rows) in self._aside:
                self._aside.remove((partition, rows))
            else:
                return  # somebody else has written them
            self._written |= rows.series
            await anyio.to_thread.run_sync(self._write_part, rows, partition, dropped)

    def _write_part(self, rows: Rows, partition: Partition, dropped: Container[str]) -> None:
        self.writer.write_instances(rows.table(dropped), partition)
        self.writer.write_frames(rows.frame_table(dropped), partition)


def _given_up(series: Series, listed: ListedObject) -> Failure:
    message = "the process that harvested it died, each time; its log, or the kernel's, may say why"
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
    for tag, _vr, raw, _offset, _length in fetched.header.elements:
        if tag == 0x00080060 and isinstance(raw, bytes):
            return raw.decode("latin-1").strip(" \0") or None
    return None
