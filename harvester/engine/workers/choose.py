"""Chooses the workers of a crawl: this process, one process per core, or a Dask cluster."""

import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Final, TypeAlias

from harvester.catalog import Catalog
from harvester.config import LimitsConfig
from harvester.config.operating_system import is_windows
from harvester.engine.estimate import MEAN_SERIES_INSTANCES
from harvester.engine.shard import CrawlProgress
from harvester.engine.workers.processes import WorkerPool, start_workers
from harvester.errors import ConfigError
from harvester.messages import pip_install

if TYPE_CHECKING:
    from harvester.engine.workers.dask_cluster import ClusterWorkers

OtherWorkers: TypeAlias = "WorkerPool | ClusterWorkers | None"

# A process takes half a second to start, in which another one harvests this many instances.
_INSTANCES_WORTH_A_PROCESS: Final = 2000


def cores() -> int:
    """How many cores this process may use, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processes_for(catalog: Catalog, limit_series: int | None, limits: LimitsConfig) -> int:
    """How many processes the selection is worth, before the plan is made.

    Args:
        catalog: The selection.
        limit_series: Harvest only this number of its series.
        limits: `processes` is used as it is, unless it is 0.

    Raises:
        ConfigError: This platform cannot run so many.
    """
    total = catalog.summary().total
    series = min(total.series, limit_series or total.series)
    if is_windows():  # worker processes need UNIX sockets
        if limits.processes > 1:
            raise ConfigError(
                f"limits.processes: {limits.processes}: on Windows a crawl runs in one process; set 1, or"
                ' engine = "dask" with a cluster on other machines'
            )
        return 1
    if limits.processes:
        return max(1, min(limits.processes, series))
    instances = total.instances + total.uncounted * MEAN_SERIES_INSTANCES
    share = instances * series / max(total.series, 1)
    return max(1, min(cores(), int(share // _INSTANCES_WORTH_A_PROCESS)))


@asynccontextmanager
async def start_crawl_workers(
    limits: LimitsConfig, processes: int, progress: CrawlProgress
) -> AsyncIterator[OtherWorkers]:
    """Start workers, which load while the plan is made; None if this process harvests alone.

    Args:
        limits: `engine` and `scheduler`.
        processes: Number of workers on this machine.
        progress: Updated while they work.

    Raises:
        ConfigError: Dask is not installed, or the configured cluster cannot be used.
        WorkerError: The workers cannot be started.
    """
    if limits.engine == "dask":
        async with _cluster(limits, processes, progress) as cluster:
            yield cluster
    elif processes == 1:
        yield None
    else:
        async with start_workers(processes, progress) as pool:
            yield pool


def _cluster(
    limits: LimitsConfig, processes: int, progress: CrawlProgress
) -> "AbstractAsyncContextManager[ClusterWorkers]":
    try:
        from harvester.engine.workers.dask_cluster import start_cluster  # noqa: PLC0415  Dask is an extra, and slow to import
    except ImportError as error:
        raise ConfigError(
            f'limits.engine: "dask" needs {error.name or "distributed"}; {pip_install("dask")}'
        ) from None
    return start_cluster(limits, processes, progress)
