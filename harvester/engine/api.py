"""The public functions `crawl`, `plan` and `headers`, blocking and asynchronous, and their results."""

import asyncio
import shutil
import tempfile
import weakref
from collections.abc import Awaitable, Callable, Iterable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, TypeVar, get_args

import anyio
import pyarrow as pa
from anyio import to_thread
from anyio.from_thread import start_blocking_portal

from harvester.catalog import open_catalog
from harvester.config import ConfigLike, CrawlConfig, check_choice, check_count, config_from
from harvester.engine.calibration import measured_rates, recorded_rates
from harvester.engine.crawl import CrawlOptions, CrawlResult
from harvester.engine.crawl import crawl as run_crawl
from harvester.engine.estimate import (
    ASSUMED_RATES,
    BUCKET_REQUESTS_PER_SECOND,
    Estimate,
    Forecast,
    Rates,
    estimate,
    forecast,
)
from harvester.engine.plan import PlanOutline, outline
from harvester.engine.progress import crawl_progress
from harvester.engine.shard import CrawlProgress
from harvester.engine.workers.choose import cores
from harvester.errors import ConfigError, HarvestError
from harvester.messages import count, size, span
from harvester.model import Summary
from harvester.query.api import OpenDataset, Table, TableResult

T = TypeVar("T")
Policy: TypeAlias = Literal["raise", "return", "skip"]

_WITH_FAILURES: Final = """
    SELECT * FROM instances UNION ALL BY NAME
    SELECT instance_url, collection_id, Modality, SeriesInstanceUID, reason, message FROM failures"""

_BOTTLENECKS: Final = {
    "cpu": "the CPU is the bottleneck: use more cores, or more machines",
    "service": "the service's request rate is the bottleneck: more cores would wait",
    "network": "the network is the bottleneck: a machine in the buckets' region has more bandwidth",
}


def _run_blocking(function: Callable[[], Awaitable[T]]) -> T:
    """Run a coroutine function; in a thread if this one has a running event loop, as a notebook has."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _run_alone(function)
    with start_blocking_portal() as portal:
        future = portal.start_task_soon(function)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise


def _run_alone(function: Callable[[], Awaitable[T]]) -> T:
    results: list[T] = []

    async def run() -> None:
        results.append(await function())

    # asyncio's runner puts the `repr` of what a coroutine returns into an error that `signal` suppresses; the
    # `repr` of a crawl's result queries its dataset, which takes half a second.
    anyio.run(run)
    return results[0]


class CrawlSummary(TableResult):
    """The result of a crawl; as a table, the rows of `instances` in its dataset.

    Attributes:
        dataset: Directory or URL of the dataset.
        series: Number of selected series.
        instances: Rows of `instances` written by this run.
        failures: Rows of `failures` of the selected series.
        skipped: Objects that earlier runs had harvested.
        carried: Instances whose earlier row was copied, because a revision left the object unchanged.
        requests: Requests sent, retries included.
        bytes_fetched: Bytes of response bodies received.
        seconds: From the start to the last commit.
        with_failures: Whether the table has a row for each failure, too: its `instance_url`, `reason`
            and `message`.
    """

    with_failures = False

    def __init__(self, result: CrawlResult) -> None:
        self.dataset = result.dataset
        self.series = result.series
        self.instances = result.instances
        self.failures = result.failures
        self.skipped = result.skipped
        self.carried = result.carried
        self.requests = result.requests
        self.bytes_fetched = result.bytes_fetched
        self.seconds = result.seconds
        self._text = result.summary()

    def open(self) -> OpenDataset:
        """Open the dataset for SQL."""
        return OpenDataset(self.dataset, owner=self)

    def arrow(self) -> pa.Table:
        """The rows of `instances` as an Arrow table: one row per object, one column per attribute."""
        with self.open() as opened:
            return self._table(opened).arrow()

    def head(self, rows: int = 10) -> pa.Table:
        """The first rows of `instances` as an Arrow table."""
        with self.open() as opened:
            return self._table(opened).head(rows)

    def _table(self, opened: OpenDataset) -> Table:
        return opened.sql(_WITH_FAILURES) if self.with_failures else opened.instances

    def failed(self) -> pa.Table:
        """The rows of `failures`: each object that could not be harvested, and why."""
        with self.open() as opened:
            return opened.failures.arrow()

    def _summary(self) -> str:
        return self._text


async def acrawl(
    config: ConfigLike = None,
    *,
    limit_series: int | None = None,
    retry_failed: bool = False,
    progress: bool = True,
    **keys: Any,
) -> CrawlSummary:
    """Harvest headers as `crawl` does, for asynchronous callers. A cancelled crawl keeps what it committed.

    Raises:
        HarvesterError: As `crawl`.
    """
    options = CrawlOptions(limit_series, retry_failed=retry_failed)
    return await _crawl(config_from(config, keys), options, progress=progress)


def crawl(
    config: ConfigLike = None,
    *,
    limit_series: int | None = None,
    retry_failed: bool = False,
    progress: bool = True,
    **keys: Any,
) -> CrawlSummary:
    """Harvest the headers of a selection into a dataset.

    Objects that the dataset already holds are not harvested again: after an interruption, the same call
    continues.

    Args:
        config: A TOML file, or a mapping of the same tables. None: keyword arguments only.
        limit_series: Harvest only the first N of the selected series.
        retry_failed: Harvest only the objects that failed before.
        progress: Show the progress: a bar on a terminal and in a notebook, else lines on stderr.
        keys: Keys of the configuration, which replace those of `config`: `dataset`, those of `[source]`
            (`catalog`, `provider`, ...) and `[limits]` (`processes`, ...), `frames`; all others select
            series by columns of the catalog (`collection_id="nlst", Modality="CT"`), or by `where`,
            `manifest`, `urls`, `prefixes` or `root`.

    Raises:
        UserError: The configuration, the selection or the dataset can't be used.
    """
    options = CrawlOptions(limit_series, retry_failed=retry_failed)
    return _run_blocking(partial(_crawl, config_from(config, keys), options, progress=progress))


async def _crawl(config: CrawlConfig, options: CrawlOptions, *, progress: bool) -> CrawlSummary:
    done = CrawlProgress()
    async with crawl_progress(done) if progress else nullcontext():
        return CrawlSummary(await run_crawl(config, done, options))


async def aheaders(
    config: ConfigLike = None,
    *,
    urls: Iterable[str | PathLike[str]] | None = None,
    errors: Policy = "skip",
    progress: bool = True,
    **keys: Any,
) -> CrawlSummary:
    """Read the headers of a cohort as `headers` does, for asynchronous callers.

    Raises:
        HarvesterError: As `headers`.
    """
    check_choice("errors", errors, get_args(Policy))
    folder = Path(tempfile.mkdtemp(prefix="harvester-headers-"))
    try:
        if urls is not None:
            listed = folder / "urls.txt"
            several = [urls] if isinstance(urls, str | PathLike) else urls
            listed.write_text("\n".join(map(str, several)), encoding="utf-8")
            keys["urls"] = listed
        settings = config_from(config, {"dataset": folder / "dataset", **keys})
        if settings.source.catalog == "idc" and settings.select == type(settings.select)():
            raise ConfigError(  # noqa: TRY301
                "nothing is selected, which would read all of IDC; "
                'name columns such as collection_id="nlst", or use harvester.crawl'
            )
        summary = await _crawl(settings, CrawlOptions(compact=False), progress=progress)
        if errors == "raise" and summary.failures:
            raise _first_failure(summary)  # noqa: TRY301
        summary.with_failures = errors == "return"
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(summary, shutil.rmtree, folder, ignore_errors=True)
    return summary


def _first_failure(summary: CrawlSummary) -> HarvestError:
    first = summary.failed().slice(0, 1).to_pylist()[0]
    return HarvestError(f"{first['message']} ({first['reason']})", url=first["instance_url"])


def headers(
    config: ConfigLike = None,
    *,
    urls: Iterable[str | PathLike[str]] | None = None,
    errors: Policy = "skip",
    progress: bool = True,
    **keys: Any,
) -> CrawlSummary:
    """Read the headers of a cohort: `harvester.headers(SeriesInstanceUID=[...]).df()`.

    Without `dataset`, a temporary one is deleted together with the result. A call that selects all of IDC is
    refused.

    Args:
        config: As in `crawl`.
        urls: The objects' URLs, instead of a selection.
        errors: `raise`: the first object that fails raises an error. `return`: it is a row with its `reason`
            and `message`. `skip`: it is left out; the result's `failures` counts such objects, and `failed()`
            lists them.
        progress: As in `crawl`.
        keys: As in `crawl`.

    Raises:
        UserError: The configuration or the selection can't be used.
        HarvestError: An object failed, and `errors` is `raise`.
    """
    return _run_blocking(partial(aheaders, config, urls=urls, errors=errors, progress=progress, **keys))


@dataclass(frozen=True, repr=False)
class PlanSummary(TableResult):
    """The expected cost of a crawl; as a table, the selection by collection and modality.

    Attributes:
        catalog: The name of the catalog.
        plan: The name of the plan, and its number of shards.
        cost: Counts, bytes and requests.
        rates: How fast this machine is, and where the number comes from.
        forecast: Seconds by resource; `binds` is the bottleneck.
    """

    catalog: str
    plan: PlanOutline
    cost: Estimate
    rates: Rates
    forecast: Forecast
    selection: Summary

    @property
    def series(self) -> int:
        """Number of selected series."""
        return self.cost.series

    @property
    def instances(self) -> int:
        """Number of selected instances, by the catalog."""
        return self.cost.instances

    @property
    def seconds(self) -> float:
        """Expected duration."""
        return self.forecast.seconds

    def arrow(self) -> pa.Table:
        """The selection: series, instances and bytes by collection and modality."""
        rows = [
            {
                "collection_id": collection_id,
                "Modality": modality,
                "series": totals.series,
                "instances": totals.instances,
                "object_bytes": totals.size,
            }
            for (collection_id, modality), totals in self.selection.groups.items()
        ]
        names = ("collection_id", "Modality", "series", "instances", "object_bytes")
        types = (pa.string(), pa.string(), pa.int64(), pa.int64(), pa.int64())
        return pa.Table.from_pylist(rows, pa.schema(list(zip(names, types, strict=True))))

    def facts(self) -> dict[str, Any]:
        """All numbers, as `harvester plan --json` prints them."""
        return {
            **asdict(self.cost),
            "seconds": self.forecast.seconds,
            "plan": self.plan.name,
            "shards": self.plan.shards,
            "rates": asdict(self.rates),
            "cores": self.forecast.cores,
            "core_seconds": self.forecast.core_seconds,
            "seconds_by_cause": self.forecast.seconds_by_cause,
            "binds": self.forecast.binds,
        }

    def _summary(self) -> str:
        cost, rates, times = self.cost, self.rates, self.forecast.seconds_by_cause
        uncounted = f" (and {count(cost.uncounted, 'series')} of unknown length)" if cost.uncounted else ""
        selected = f"{count(cost.series, 'series')}, {count(cost.instances, 'instance')}{uncounted}"
        read = f"{size(cost.header_bytes)} of that ({cost.fraction:.3%}) in {count(cost.requests, 'request')}"
        speed = f"{rates.headers_per_core_second:,.0f} headers a second and core"
        scope = (
            "for these objects" if rates.of_selection else "larger headers count in proportion to their size"
        )
        configured = cost.requests_per_second < BUCKET_REQUESTS_PER_SECOND
        origin = "as configured" if configured else "assumed: documented by S3 and GCS"
        rows = {
            "CPU": (times["cpu"], f"on {count(self.forecast.cores, 'core')} at {speed}"),
            "service": (times["service"], f"at {cost.requests_per_second:,.0f} requests a second ({origin})"),
            "network": (times["network"], f"at {size(cost.bytes_per_second)} a second (assumed: 1 Gbit/s)"),
        }
        core_hours = f"{self.forecast.core_seconds / 3600:,.1f} core hours"
        lines = [
            self.catalog,
            f"{selected}, {size(cost.object_bytes)}; {count(self.plan.shards, 'shard')}",
            f"a crawl reads about {read}",
            *(f"  {name:<8}{span(seconds):>12} {how}" for name, (seconds, how) in rows.items()),
            f"  headers a second: {rates.basis}; {scope}",
            f"about {span(self.seconds)}, {core_hours}; {_BOTTLENECKS[self.forecast.binds]}",
        ]
        return "\n".join(lines)


def plan(
    config: ConfigLike = None, *, processes: int | None = None, measure: bool = True, **keys: Any
) -> PlanSummary:
    """Count the series and objects of a selection, and estimate what reading their headers takes.

    Nothing is fetched.

    Args:
        config: As in `crawl`.
        processes: The number of cores to estimate for; else as the configuration says.
        measure: Measure this machine for three seconds if the dataset has no run record. Else a machine of
            average speed is assumed.
        keys: As in `crawl`; `dataset` may be missing.

    Raises:
        UserError: The configuration or the selection can't be used.
    """
    check_count("processes", processes or None)  # 0: one per core
    unnamed = {} if config else {"dataset": f"{tempfile.gettempdir()}/harvester-no-dataset"}
    settings = config_from(config, {**unnamed, **keys})
    with open_catalog(settings) as catalog:
        planned = outline(catalog.outlines(), settings.limits)
        selection = catalog.summary()
        name = catalog.name
    cost = estimate(selection, settings.limits)
    rates = recorded_rates(settings.dataset) or (measured_rates() if measure else ASSUMED_RATES)
    used = processes or settings.limits.processes or cores()
    return PlanSummary(name, planned, cost, rates, forecast(cost, rates, used), selection)


async def aplan(
    config: ConfigLike = None, *, processes: int | None = None, measure: bool = True, **keys: Any
) -> PlanSummary:
    """Estimate a crawl as `plan` does, for asynchronous callers.

    Raises:
        UserError: As `plan`.
    """
    return await to_thread.run_sync(partial(plan, config, processes=processes, measure=measure, **keys))
