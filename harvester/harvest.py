"""Harvests one shard: lists its series, reads their headers, writes its parts and its commit."""

import logging
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import PurePosixPath
from typing import Any, Final, TypeAlias

import anyio
import pyarrow as pa
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from harvester import __version__
from harvester.dataset import HARVEST_COLUMNS, Partition, ShardWriter
from harvester.dicom import HeaderColumns
from harvester.errors import HarvestError
from harvester.expand import ExpandedSeries, expand, surplus
from harvester.fetch import Cost, FetchedHeader, HeaderFetcher
from harvester.foresight import Kind
from harvester.model import Failure, ListedObject, Series, Shard

_logger = logging.getLogger("harvester")

# One row of a slide with thousands of frames weighs megabytes, one of a CT some kilobytes: a part is
# closed by whichever of the two comes first.
_ROWS_AT_ONCE: Final = 20_000
_BYTES_AT_ONCE: Final = 64 << 20

_Found: TypeAlias = tuple[ExpandedSeries, ListedObject]

VERSIONS: Final = {"harvester": __version__, "pydicom": version("pydicom"), "pyarrow": version("pyarrow")}


@dataclass(slots=True)
class Progress:
    """What a crawl has done so far; read it at any time."""

    series: int = 0
    instances: int = 0
    failures: int = 0
    skipped: int = 0
    requests: int = 0
    bytes_fetched: int = 0
    expected_instances: int | None = None

    def spend(self, cost: Cost) -> None:
        """Add what one object cost."""
        self.requests += cost.requests
        self.bytes_fetched += cost.bytes_fetched


class _Rows:
    """The rows of one partition on their way into a part: what headers say, and what the harvest knows."""

    def __init__(self) -> None:
        self.columns = HeaderColumns()
        self.bytes = 0
        self._facts: dict[str, list[Any]] = {
            "collection_id": [],
            **{name: [] for name in HARVEST_COLUMNS.names},
        }

    def append(self, series: Series, fetched: FetchedHeader, cost: Cost) -> None:
        """Add one instance; if anything is raised, nothing was added."""
        header, ref = fetched.header, fetched.ref
        facts = {
            "collection_id": series.collection_id,
            "instance_url": _storable(ref.url),
            "instance_size": fetched.size,
            "etag": None if fetched.etag is None else _storable(fetched.etag),
            "crdc_series_uuid": series.crdc_series_uuid,
            "crdc_instance_uuid": PurePosixPath(ref.key).stem if series.crdc_series_uuid else None,
            "idc_version": series.idc_version,
            "preamble": header.preamble,
            "header_bytes": header.header_bytes,
            "pixel_data_offset": header.pixel_data_offset,
            "pixel_data_keyword": header.pixel_data_keyword,
            "encapsulated": header.encapsulated,
            "basic_offset_table": header.basic_offset_table,
            "extended_offset_table": header.extended_offset_table,
            "requests": cost.requests,
            "bytes_fetched": cost.bytes_fetched,
            "harvested_at": datetime.now(UTC).replace(tzinfo=None),
            "harvester_version": __version__,
        }
        self.columns.append(header)
        for name, values in self._facts.items():
            values.append(facts[name])
        # Values that were hopped over take no memory; what was inflated takes more than was fetched.
        self.bytes += header.header_bytes if header.deflated else min(header.header_bytes, cost.bytes_fetched)

    @property
    def full(self) -> bool:
        """Whether it is time to write them."""
        return self.columns.rows >= _ROWS_AT_ONCE or self.bytes >= _BYTES_AT_ONCE

    def table(self) -> pa.Table:
        """All rows; none can be added any more."""
        arrays = {"collection_id": pa.array(self._facts["collection_id"], pa.string())}
        arrays |= {field.name: pa.array(self._facts[field.name], field.type) for field in HARVEST_COLUMNS}
        arrays |= self.columns.finish()
        return pa.table(arrays)


@dataclass(slots=True)
class ShardHarvest:
    """One shard at work.

    Args:
        shard: What to harvest.
        fetcher: Reads headers.
        writer: Takes the parts and the commit.
        progress: Is counted up as it goes.
        concurrency: How many objects are read at once.
    """

    shard: Shard
    fetcher: HeaderFetcher
    writer: ShardWriter
    progress: Progress
    concurrency: int
    _rows: dict[Partition, _Rows] = field(default_factory=dict)
    _failures: list[Failure] = field(default_factory=list)
    _writing: anyio.Lock = field(default_factory=anyio.Lock)
    _cost: Cost = field(default_factory=Cost)
    _counts: dict[str, tuple[int, int]] = field(default_factory=dict)

    async def run(self) -> None:
        """Harvest the shard and commit it; cancelled before its commit, it leaves parts that do not count.

        Raises:
            DatasetError: A part or the commit cannot be written.
        """
        started = time.monotonic()
        await self._read_all()
        for partition, rows in list(self._rows.items()):
            await self._write(partition, rows)
        await anyio.to_thread.run_sync(self._commit, time.monotonic() - started)

    def _commit(self, seconds: float) -> None:
        self.writer.write_failures(self._failures, harvester_version=__version__)
        self.writer.commit(
            {series.key: self._counts.get(series.key, (0, 0)) for series in self.shard.series},
            requests=self._cost.requests,
            bytes_fetched=self._cost.bytes_fetched,
            seconds=seconds,
            versions=VERSIONS,
        )

    async def _read_all(self) -> None:
        send, receive = anyio.create_memory_object_stream[_Found](self.concurrency)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._list_all, send)
            for _ in range(self.concurrency):
                tasks.start_soon(self._read_some, receive.clone())
            receive.close()

    async def _list_all(self, send: MemoryObjectSendStream[_Found]) -> None:
        """Hand out the objects of all series; a few series are listed, and held, at once."""
        listing = anyio.CapacityLimiter(max(1, self.concurrency // 4))

        async def hand_out(series: Series, to: MemoryObjectSendStream[_Found]) -> None:
            async with to, listing:
                expanded = await expand(series, self.fetcher.store)
                self._spend(Cost(requests=expanded.requests))
                if expanded.failure is not None:
                    self._fail(series, expanded.failure)
                elif more := surplus(expanded):
                    _logger.warning("%s: %d objects more than the catalog counts", series.key, more)
                for listed in expanded.objects:
                    await to.send((expanded, listed))
                self.progress.series += 1

        async with send, anyio.create_task_group() as tasks:
            for series in self.shard.series:
                tasks.start_soon(hand_out, series, send.clone())

    async def _read_some(self, receive: MemoryObjectReceiveStream[_Found]) -> None:
        async with receive:
            async for expanded, listed in receive:
                await self._read(expanded, listed)

    async def _read(self, expanded: ExpandedSeries, listed: ListedObject) -> None:
        cost = Cost()
        series = expanded.series
        try:
            kind = Kind(series.key, series.modality, listed.size)
            fetched = await self.fetcher.fetch(expanded.copies(listed), cost, kind)
            partition = Partition(series.collection_id, series.modality or _modality(fetched))
            rows = self._rows.get(partition)
            if rows is None:
                rows = self._rows[partition] = _Rows()
            rows.append(series, fetched, cost)
        except HarvestError as error:
            self._fail(series, _failure(error, series, listed))
        except Exception as error:  # one object must not end the crawl, whatever we did wrong
            _logger.exception("%s: a bug in harvester; please report it", listed.ref.url)
            message = f"a bug in harvester: {type(error).__name__}: {error}"
            self._fail(series, Failure(listed.ref.url, "bug", message, series=series, size=listed.size))
        else:
            self.progress.instances += 1
            self._count(series, instances=1)
            if rows.full:
                await self._write(partition, rows)
        finally:
            self._spend(cost)

    def _fail(self, series: Series, failure: Failure) -> None:
        self._failures.append(failure)
        self.progress.failures += 1
        self._count(series, failures=1)

    def _count(self, series: Series, *, instances: int = 0, failures: int = 0) -> None:
        before = self._counts.get(series.key, (0, 0))
        self._counts[series.key] = (before[0] + instances, before[1] + failures)

    def _spend(self, cost: Cost) -> None:
        self._cost.requests += cost.requests
        self._cost.bytes_fetched += cost.bytes_fetched
        self.progress.spend(cost)

    async def _write(self, partition: Partition, rows: _Rows) -> None:
        """Write what has come together, in a thread.

        Readers that add to rows which are full wait here, so that no more than two parts of a partition
        are in memory; the first of them writes for all.
        """
        async with self._writing:
            if self._rows.get(partition) is rows:
                del self._rows[partition]
                await anyio.to_thread.run_sync(self._write_part, rows, partition)

    def _write_part(self, rows: _Rows, partition: Partition) -> None:
        self.writer.write_instances(rows.table(), partition)


def _storable(text: str) -> str:
    # A file name or a header field that is not UTF-8 reaches Python as lone surrogates, which Arrow refuses.
    return text.encode("utf-8", "backslashreplace").decode()


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
