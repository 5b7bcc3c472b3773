"""Who does the work of a crawl: this process, a process on each core, or the workers of a Dask cluster."""

import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Final, TypeAlias

from harvester.catalog import Catalog
from harvester.config import LimitsConfig
from harvester.engine.plan import INSTANCES_UNKNOWN
from harvester.engine.shard import Progress
from harvester.engine.workers.processes import WorkerPool, start_workers
from harvester.errors import ConfigError

if TYPE_CHECKING:
    from harvester.engine.workers.dask_cluster import ClusterWorkers

Elsewhere: TypeAlias = "WorkerPool | ClusterWorkers | None"

# A process takes half a second to be ready, in which another one harvests this many.
_INSTANCES_WORTH_A_PROCESS: Final = 2000


def cores() -> int:
    """How many cores this process may use, which can be fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processes_for(catalog: Catalog, limit_series: int | None, limits: LimitsConfig) -> int:
    """How many processes there is work for, before the plan is made.

    Args:
        catalog: What is selected.
        limit_series: Of which only so many series are harvested.
        limits: Whose `processes` are taken at their word.
    """
    total = catalog.summary().total
    series = min(total.series, limit_series or total.series)
    if limits.processes:
        return max(1, min(limits.processes, series))
    instances = total.instances + total.uncounted * INSTANCES_UNKNOWN
    share = instances * series / max(total.series, 1)
    return max(1, min(cores(), int(share // _INSTANCES_WORTH_A_PROCESS)))


@asynccontextmanager
async def workers_elsewhere(
    limits: LimitsConfig, processes: int, progress: Progress
) -> AsyncIterator[Elsewhere]:
    """Workers that get ready while the plan is made; None where this process will do.

    Args:
        limits: Which engine.
        processes: How many workers, where they are started on this machine.
        progress: Is counted up while they work.

    Raises:
        ConfigError: Dask is not installed.
        WorkerError: They cannot be started, or the cluster does not answer.
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
    limits: LimitsConfig, processes: int, progress: Progress
) -> "AbstractAsyncContextManager[ClusterWorkers]":
    try:
        from harvester.engine.workers.dask_cluster import start_cluster  # noqa: PLC0415  Dask is an extra, and slow to import
    except ImportError as error:
        raise ConfigError(
            f"limits.engine: \"dask\" needs {error.name or 'distributed'}; pip install 'harvester[dask]'"
        ) from None
    return start_cluster(limits, processes, progress)
