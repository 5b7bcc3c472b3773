"""Connects to a Dask cluster, and says in one line what is wrong with it."""

import logging
import warnings
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import anyio
import dask
from distributed import Client, LocalCluster
from distributed.versions import VersionMismatchWarning

from harvester.config import LimitsConfig
from harvester.engine.workers.memory import MEMORY
from harvester.errors import ConfigError, WorkerError
from harvester.messages import DISTRIBUTION, one_line
from harvester.model import VERSION

CONNECT_SECONDS: Final = 30.0
_LONGEST_CAUSE: Final = 200
_INSTALL: Final = f"pip install '{DISTRIBUTION}[dask]=={VERSION}'"
DASK_SETTINGS: Final[dict[str, Any]] = {
    "distributed.admin.low-level-log-length": 10,
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.admin.tick.cycle": "10s",
    "distributed.admin.tick.interval": "1s",
    "distributed.nanny.pre-spawn-environ": MEMORY,
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.scheduler.work-stealing": False,
    "distributed.worker.profile.enabled": False,
}
"""Dask settings for a cluster that runs one crawl; applied to a cluster that the crawl starts itself.

Monitoring takes CPU time from the harvest, so it is off or rare: stack samples every 10 ms, event loop
ticks every 20 ms, work stealing and memory balancing (each task is bound to one worker). Each end of a
connection keeps its last messages, by default 1000, which hold tasks of 200 kB each. The allocator is set as
in the crawl's own processes.
"""


@dataclass(frozen=True, slots=True)
class ClusterConnection:
    """A connection to a cluster; made by `connected`.

    Attributes:
        name: The cluster's, for messages.
        client: Dask's.
    """

    name: str
    client: Any

    @property
    def is_connected(self) -> bool:
        """Whether the scheduler has kept the connection."""
        return bool(self.client.status == "running")

    def lost(self, cause: Exception | None = None) -> ConfigError:
        """The error for a scheduler that is gone.

        Dask would connect to another scheduler at the same address, which knows nothing of this crawl.
        """
        reason = f" ({one_line(cause, _LONGEST_CAUSE)})" if cause else ""
        return ConfigError(
            f"{self.name} is gone{reason}; what was committed stays: start the cluster, then run the same"
            " command again"
        )

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Raise `lost` in place of Dask's errors when the scheduler is gone.

        Raises:
            ConfigError: It is.
        """
        try:
            yield
        except OSError as error:
            raise self.lost(error) from error
        if not self.is_connected:
            raise self.lost()

    async def compared(self, workers: Collection[str]) -> set[str]:
        """Those of these workers that respond, after a check that they have this version of harvester.

        Raises:
            ConfigError: One has another version, or none.
        """
        with self.errors():
            found = await self.client.run(_version_reporter(), workers=[*workers], on_error="return")
        responding = {address: one for address, one in found.items() if not isinstance(one, OSError)}
        for address, version in responding.items():
            if isinstance(version, Exception):
                raise incompatible(f"the Dask worker {address}", version)
            if version != VERSION:
                raise ConfigError(
                    f"the Dask worker {address} has harvester {version}, this crawl is of harvester"
                    f" {VERSION}; install the same version on every worker: {_INSTALL}"
                )
        return set(responding)


def _version_reporter() -> Callable[[], str]:
    """A function that Dask sends as code, as all inner functions: the worker may lack this module."""

    def version_here() -> str:
        from importlib import import_module  # noqa: PLC0415  this module's imports are not sent

        return str(import_module("harvester").__version__)

    return version_here


def incompatible(worker: str, error: Exception) -> ConfigError:
    """The error for a worker on which harvester, or a package that it needs, cannot be loaded."""
    cause = one_line(f"{type(error).__name__}: {error}", _LONGEST_CAUSE)
    return ConfigError(
        f"{worker} cannot run this crawl ({cause}); install the same versions on every worker as here:"
        f" {_INSTALL}"
    )


@asynccontextmanager
async def connected(limits: LimitsConfig, workers: int, threads: int) -> AsyncIterator[ClusterConnection]:
    """A connection to the configured cluster, or to one that is started on this machine for the block.

    Args:
        limits: `scheduler` is the address of a running cluster.
        workers: How many workers a cluster on this machine has.
        threads: How many tasks each of them runs at the same time.

    Raises:
        ConfigError: No scheduler responds.
        WorkerError: No cluster can be started on this machine.
    """
    # The crawl logs lost workers itself.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    cluster: Any = limits.scheduler
    connect = partial(Client, asynchronous=True, timeout=CONNECT_SECONDS, set_as_default=False)
    with dask.config.set({"distributed.comm.timeouts.connect": CONNECT_SECONDS, **DASK_SETTINGS}):
        try:
            if cluster is None:
                cluster = await LocalCluster(  # type: ignore[no-untyped-call]
                    n_workers=workers,
                    threads_per_worker=threads,
                    processes=True,
                    asynchronous=True,
                    memory_limit=0,
                    dashboard_address="127.0.0.1:0",
                    silence_logs=logging.CRITICAL,
                )
            with warnings.catch_warnings():  # `compared` says what matters
                warnings.simplefilter("ignore", VersionMismatchWarning)
                client = await connect(cluster)
        except (OSError, ImportError, ValueError) as error:
            cause = one_line(error, _LONGEST_CAUSE)
            if limits.scheduler is None:
                raise WorkerError(f"no Dask cluster can be started on this machine ({cause})") from error
            raise ConfigError(
                f"limits.scheduler: no Dask scheduler responds at {limits.scheduler} ({cause}); start it, or"
                " correct the address"
            ) from error
        name = f"the Dask scheduler {limits.scheduler}" if limits.scheduler else "this machine's Dask cluster"
        try:
            yield ClusterConnection(name, client)
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(CONNECT_SECONDS):
                await client.close()
                if limits.scheduler is None:
                    await cluster.close()
