"""Runs a crawl's tasks on a Dask cluster, and notices workers that join or leave."""

import itertools
import logging
import os
import pickle
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from secrets import token_hex
from typing import Any, Final

import anyio

from harvester.config import LimitsConfig
from harvester.engine.run_record import WorkerExit
from harvester.engine.shard import CrawlProgress, ShardResult
from harvester.engine.shard_task import ShardTask, WorkerSettings
from harvester.engine.workers.dask_client import (
    CONNECT_SECONDS,
    ClusterConnection,
    connected,
    incompatible,
)
from harvester.engine.workers.dask_worker import (
    HarvesterPlugin,
    harvest_here,
    load_here,
    packed,
    share_here,
    stop_here,
)
from harvester.engine.workers.processes import AssignedTask
from harvester.errors import ConfigError, HarvesterError, WorkerDiedError, ungrouped
from harvester.store.telemetry import Telemetry

_logger = logging.getLogger("harvester")

_POLL_SECONDS: Final = 0.5
_TASKS_AT_ONCE: Final = 2
# A crawl gives up when its cluster has had no worker for this long.
_PATIENCE_SECONDS: Final = 600.0
# Tasks that may wait for a worker; the cluster can grow to this many places while a crawl runs.
_MOST_TASKS: Final = 512


@dataclass(slots=True)
class _RemoteWorker:
    """One Dask worker, as the crawl sees it."""

    address: str
    tasks: int = 0
    ended: anyio.Event = field(default_factory=anyio.Event)
    telemetry: Telemetry = field(default_factory=Telemetry)


class ClusterWorkers:
    """The workers of a Dask cluster, as `processes.Workers`; made by `start_cluster`.

    A task is bound to one worker: Dask would rerun it by itself when the worker dies, and the object that
    kills would not be found.

    Attributes:
        deaths: The workers that were lost while they had tasks.
    """

    def __init__(self, cluster: ClusterConnection, progress: CrawlProgress, *, is_ours: bool) -> None:
        self.deaths: list[WorkerExit] = []
        self._cluster = cluster
        self._client = cluster.client
        self._progress = progress
        self._is_ours = is_ours
        self._name = f"harvester-{token_hex(6)}"
        self._numbers = itertools.count()
        self._tasks: dict[int, AssignedTask] = {}
        self._workers: dict[str, _RemoteWorker] = {}
        self._telemetry_of_lost = Telemetry()
        self._changed = anyio.Event()
        self._isolating = anyio.Lock()
        self._registering = anyio.Lock()
        self._settings: WorkerSettings | None = None
        self._registered = False
        self._reserved = 0

    @property
    def places(self) -> int:
        """How many tasks can run or wait at the same time."""
        return _MOST_TASKS

    @property
    def telemetry(self) -> Telemetry:
        """Telemetry of all workers, as far as they have reported."""
        total = self._telemetry_of_lost
        for worker in self._workers.values():
            total = total.merged(worker.telemetry)
        return total

    def begin(self, settings: WorkerSettings, lock: int) -> None:
        """Set the workers' settings; workers on other machines cannot hold the lock's descriptor."""
        del lock
        self._settings = settings

    async def wait_for_place(self) -> None:
        """Wait until a worker can take one more task, so that tasks are not made long before."""
        while self._reserved >= sum(max(0, _TASKS_AT_ONCE - one.tasks) for one in self._workers.values()):
            await self._changed.wait()
        self._reserved += 1

    async def harvest(self, task: ShardTask) -> ShardResult:
        """Harvest a shard in the worker with the fewest tasks; see `processes.Workers`."""
        worker = await self._free_worker()
        self._reserved = max(0, self._reserved - 1)
        return await self._harvest_on(worker, task)

    async def harvest_alone(self, task: ShardTask) -> ShardResult:
        """Harvest a shard in a worker without other tasks; see `processes.Workers`."""
        async with self._isolating:
            worker = await self._free_worker(idle=True)
            worker.tasks += _TASKS_AT_ONCE
            try:
                return await self._harvest_on(worker, task)
            finally:
                worker.tasks -= _TASKS_AT_ONCE
                self._signal_change()

    async def stop(self, seconds: float) -> None:
        """Finish started series within `seconds`."""
        if self._registered:
            with self._cluster.errors():
                await self._client.run(
                    stop_here, plugin=self._name, seconds=seconds, on_error="ignore", workers=[*self._workers]
                )

    async def watch(self) -> None:
        """Notice workers that join and leave, until cancelled.

        Raises:
            ConfigError: The scheduler is gone, there is no worker, or one cannot run this version's tasks.
        """
        self._client.subscribe_topic(self._name, self._handle_report)
        empty_since: float | None = None
        while True:
            with self._cluster.errors():
                present = set(await self._client.scheduler.ncores())
            now = anyio.current_time()
            empty_since = None if present else empty_since or now
            if empty_since is not None and now - empty_since > _PATIENCE_SECONDS:
                raise ConfigError(
                    f"{self._cluster.name} has had no worker for {_PATIENCE_SECONDS:.0f} s; start one,"
                    " then run the crawl again"
                )
            if present != self._workers.keys():
                await self._update_workers(present)
            await anyio.sleep(_POLL_SECONDS)

    async def prepare(self) -> None:
        """Import what the workers need, while the plan is made."""
        with self._cluster.errors():
            await self._client.run(load_here, on_error="ignore")

    async def end(self) -> None:
        """Unregister the crawl's plugin from the cluster."""
        if self._registered and self._cluster.is_connected:
            try:
                with anyio.move_on_after(CONNECT_SECONDS):
                    await self._client.unregister_worker_plugin(self._name)
            except Exception as error:  # noqa: BLE001  whatever Dask raises here, the crawl itself is over
                _logger.warning("the Dask cluster may still hold this crawl's plugin (%s)", error)

    async def _update_workers(self, present: set[str]) -> None:
        for address in self._workers.keys() - present:
            worker = self._workers.pop(address)
            self._telemetry_of_lost = self._telemetry_of_lost.merged(worker.telemetry)
            if worker.tasks:
                self.deaths.append(WorkerExit(os.getpid(), f"{address} left the cluster", datetime.now(UTC)))
                _logger.warning("worker %s left the cluster while it had %d shards", address, worker.tasks)
            worker.ended.set()
        joined = present - self._workers.keys()
        for address in await self._cluster.compared(joined) if joined else ():
            self._workers[address] = _RemoteWorker(address)
        self._signal_change()
        if self._registered and present:
            with self._cluster.errors():
                await self._client.run(share_here, plugin=self._name, share=len(present), on_error="ignore")

    def _signal_change(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    async def _free_worker(self, *, idle: bool = False) -> _RemoteWorker:
        """The worker with the fewest tasks, once one has a free place, or has no task if `idle`."""
        await self._register()
        while True:
            worker = min(self._workers.values(), key=lambda one: one.tasks, default=None)
            if worker is not None and worker.tasks < (1 if idle else _TASKS_AT_ONCE):
                return worker
            await self._changed.wait()

    async def _register(self) -> None:
        async with self._registering:
            if self._settings is None:
                raise RuntimeError("tasks come after `begin`")
            if not self._registered:
                plugin = HarvesterPlugin(self._name, self._settings, is_ours=self._is_ours)
                self._registered = True  # also if a worker cannot load it: `end` removes it
                with self._cluster.errors():
                    try:
                        await self._client.register_plugin(plugin, name=self._name)
                    except Exception as error:
                        if isinstance(error, HarvesterError | OSError):
                            raise
                        raise incompatible("a worker of the Dask cluster", error) from error

    async def _harvest_on(self, worker: _RemoteWorker, task: ShardTask) -> ShardResult:
        number = next(self._numbers)
        assigned = self._tasks[number] = AssignedTask()
        worker.tasks += 1
        future = self._client.submit(
            harvest_here,
            self._name,
            packed(task),
            number,
            max(1, len(self._workers)),
            key=f"{self._name}-{number}",
            workers=[worker.address],
            allow_other_workers=False,
            pure=False,
        )
        try:
            await self._wait_for(future, worker)
            if not self._cluster.is_connected:
                raise self._cluster.lost()
            if not future.done() or future.cancelled():
                assigned.take_back(self._progress)
                raise WorkerDiedError(f"worker {worker.address} died or was taken away")
            error = await future.exception()
            if isinstance(error, HarvesterError):
                raise error
            if isinstance(error, ImportError | AttributeError | pickle.UnpicklingError):
                raise incompatible(f"the Dask worker {worker.address}", error) from error
            if error is not None:
                raise RuntimeError(f"on worker {worker.address}: {type(error).__name__}: {error}") from error
            finished = await future.result()
            assigned.advance(finished.progress, self._progress)
            worker.telemetry = finished.telemetry
            return finished.result  # type: ignore[no-any-return]
        finally:
            del self._tasks[number]
            worker.tasks -= 1
            self._signal_change()
            future.release()

    async def _wait_for(self, future: Any, worker: _RemoteWorker) -> None:
        """Return when a task has ended, or its worker has left."""
        with ungrouped():
            async with anyio.create_task_group() as tasks:

                async def cancel_when_worker_exits() -> None:
                    await worker.ended.wait()
                    tasks.cancel_scope.cancel()

                tasks.start_soon(cancel_when_worker_exits)
                await future._state.wait()  # noqa: SLF001  `wait` would cancel what it waits for
                tasks.cancel_scope.cancel()

    def _handle_report(self, event: tuple[float, Any]) -> None:
        _, message = event
        task = self._tasks.get(message["number"])
        if task is not None:
            task.advance(CrawlProgress(**message["progress"]), self._progress)


@asynccontextmanager
async def start_cluster(
    limits: LimitsConfig, processes: int, progress: CrawlProgress
) -> AsyncIterator[ClusterWorkers]:
    """Connect to the configured cluster, or start one on this machine, which ends with the block.

    Args:
        limits: `scheduler` is the address of a running cluster.
        processes: Number of workers of a cluster on this machine.
        progress: Updated from the workers' reports.

    Raises:
        ConfigError: The scheduler does not respond, is gone, or a worker cannot run this version's tasks.
        WorkerError: A cluster on this machine cannot be started.
    """
    with ungrouped():
        async with (
            connected(limits, processes, _TASKS_AT_ONCE) as cluster,
            anyio.create_task_group() as tasks,
        ):
            workers = ClusterWorkers(cluster, progress, is_ours=limits.scheduler is None)
            tasks.start_soon(workers.watch)
            tasks.start_soon(workers.prepare)
            try:
                yield workers
            finally:
                tasks.cancel_scope.cancel()
                with anyio.CancelScope(shield=True):
                    await workers.end()
