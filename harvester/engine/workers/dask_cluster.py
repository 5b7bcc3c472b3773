"""The workers of a crawl on a Dask cluster: given tasks, watched, missed when they are gone."""

import itertools
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from secrets import token_hex
from typing import Any, Final

import anyio
import dask
from distributed import Client, LocalCluster

from harvester.config import LimitsConfig
from harvester.engine.run_record import WorkerExit
from harvester.engine.shard import Outcome, Progress
from harvester.engine.shard_task import ShardTask, WorkerSettings
from harvester.engine.workers.dask_worker import (
    HarvesterPlugin,
    harvest_here,
    load_here,
    packed,
    share_here,
    stop_here,
)
from harvester.engine.workers.memory import MEMORY
from harvester.engine.workers.processes import AssignedTask
from harvester.errors import HarvesterError, WorkerDiedError, WorkerError, ungrouped
from harvester.store.telemetry import Telemetry

_logger = logging.getLogger("harvester")

_LOOK_SECONDS: Final = 0.5
_TASKS_AT_ONCE: Final = 2
# For how long a cluster may have no worker at all before the crawl gives up.
_PATIENCE_SECONDS: Final = 600.0
_CONNECT_SECONDS: Final = 30.0
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
"""How Dask is set for a cluster that does nothing else; where it is on this machine, the crawl sets it so.

Whoever watches takes the cores of those who work. So without: samples of stacks, each 10 ms; looks at whether
each event loop still turns, each 20 ms; and what moves tasks and their results between workers, for each is
bound to one. Each end of a connection keeps the last messages, by default 1000: those hold tasks, of 200 kB
each. The allocator is set as in the crawl's own processes, not to hand back each 64 KiB at once.
"""

# Tasks that wait for a worker; a cluster can grow to so many while a crawl runs.
_MOST_TASKS: Final = 512


@dataclass(slots=True)
class _Remote:
    """One Dask worker, seen from here."""

    address: str
    tasks: int = 0
    ended: anyio.Event = field(default_factory=anyio.Event)
    telemetry: Telemetry = field(default_factory=Telemetry)


class ClusterWorkers:
    """The workers of a Dask cluster, as `pool.Workers`; make it by `start_cluster`.

    A task is bound to one worker: Dask would run it again by itself where that dies, and nobody would
    learn which object kills.

    Attributes:
        deaths: The workers that were lost while they had tasks.
    """

    def __init__(self, client: Any, progress: Progress, *, is_ours: bool) -> None:
        self.deaths: list[WorkerExit] = []
        self._client = client
        self._progress = progress
        self._is_ours = is_ours
        self._name = f"harvester-{token_hex(6)}"
        self._numbers = itertools.count()
        self._jobs: dict[int, AssignedTask] = {}
        self._remotes: dict[str, _Remote] = {}
        self._before = Telemetry()
        self._changed = anyio.Event()
        self._alone = anyio.Lock()
        self._registering = anyio.Lock()
        self._settings: WorkerSettings | None = None
        self._registered = False
        self._asked_for = 0

    @property
    def places(self) -> int:
        """As many tasks as a cluster may take at once that grows meanwhile."""
        return _MOST_TASKS

    @property
    def telemetry(self) -> Telemetry:
        """How the servers answered all workers, as far as they have told."""
        told = self._before
        for remote in self._remotes.values():
            told = told.merged(remote.telemetry)
        return told

    def begin(self, settings: WorkerSettings, lock: int) -> None:
        """Say what the workers work with; they may be elsewhere, so that none can hold an open file."""
        del lock
        self._settings = settings

    async def place(self) -> None:
        """Wait until a worker will take one task more, so that tasks are not made long before."""
        while self._asked_for >= sum(max(0, _TASKS_AT_ONCE - one.tasks) for one in self._remotes.values()):
            await self._changed.wait()
        self._asked_for += 1

    async def harvest(self, task: ShardTask) -> Outcome:
        """Harvest a shard in the worker that has the fewest; see `pool.Workers`."""
        remote = await self._free()
        self._asked_for = max(0, self._asked_for - 1)
        return await self._harvest_on(remote, task)

    async def harvest_alone(self, task: ShardTask) -> Outcome:
        """Harvest a shard in a worker that gets no other meanwhile; see `pool.Workers`."""
        async with self._alone:
            remote = await self._free(idle=True)
            remote.tasks += _TASKS_AT_ONCE
            try:
                return await self._harvest_on(remote, task)
            finally:
                remote.tasks -= _TASKS_AT_ONCE
                self._tell()

    async def stop(self, seconds: float) -> None:
        """Finish what is at work within so many seconds."""
        if self._registered:
            await self._client.run(
                stop_here, plugin=self._name, seconds=seconds, on_error="ignore", workers=[*self._remotes]
            )

    async def watch(self) -> None:
        """See workers come and go, until cancelled."""
        self._client.subscribe_topic(self._name, self._heed)
        lonely_since: float | None = None
        while True:
            living = set(await self._client.scheduler.ncores())
            now = anyio.current_time()
            lonely_since = None if living else lonely_since or now
            if lonely_since is not None and now - lonely_since > _PATIENCE_SECONDS:
                raise WorkerError(
                    f"the Dask cluster has had no worker for {_PATIENCE_SECONDS:.0f} s; start one, then go on"
                )
            if living != self._remotes.keys():
                await self._take_note(living)
            await anyio.sleep(_LOOK_SECONDS)

    async def prepare(self) -> None:
        """Let the workers load what they need, while the plan is made."""
        await self._client.run(load_here, on_error="ignore")

    async def end(self) -> None:
        """Let the cluster forget the crawl."""
        if self._registered:
            try:
                with anyio.move_on_after(_CONNECT_SECONDS):
                    await self._client.unregister_worker_plugin(self._name)
            except Exception as error:  # noqa: BLE001  whatever Dask raises here, the crawl itself is over
                _logger.warning("the Dask cluster may still remember this crawl (%s)", error)

    async def _take_note(self, living: set[str]) -> None:
        for address in self._remotes.keys() - living:
            remote = self._remotes.pop(address)
            self._before = self._before.merged(remote.telemetry)
            if remote.tasks:
                self.deaths.append(WorkerExit(os.getpid(), f"{address} left the cluster", datetime.now(UTC)))
                _logger.warning("worker %s left the cluster over %d shards", address, remote.tasks)
            remote.ended.set()
        for address in living - self._remotes.keys():
            self._remotes[address] = _Remote(address)
        self._tell()
        if self._registered and living:
            await self._client.run(share_here, plugin=self._name, share=len(living), on_error="ignore")

    def _tell(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    async def _free(self, *, idle: bool = False) -> _Remote:
        """The worker with the fewest tasks, once there is one that has a place, or that has none at all."""
        await self._register()
        while True:
            remote = min(self._remotes.values(), key=lambda one: one.tasks, default=None)
            if remote is not None and remote.tasks < (1 if idle else _TASKS_AT_ONCE):
                return remote
            await self._changed.wait()

    async def _register(self) -> None:
        async with self._registering:
            if self._settings is None:
                raise RuntimeError("tasks come after `begin`")
            if not self._registered:
                plugin = HarvesterPlugin(self._name, self._settings, is_ours=self._is_ours)
                await self._client.register_plugin(plugin, name=self._name)
                self._registered = True

    async def _harvest_on(self, remote: _Remote, task: ShardTask) -> Outcome:
        number = next(self._numbers)
        job = self._jobs[number] = AssignedTask()
        remote.tasks += 1
        future = self._client.submit(
            harvest_here,
            self._name,
            packed(task),
            number,
            max(1, len(self._remotes)),
            key=f"{self._name}-{number}",
            workers=[remote.address],
            allow_other_workers=False,
            pure=False,
        )
        try:
            await self._ended(future, remote)
            if not future.done() or future.cancelled():
                job.take_back(self._progress)
                raise WorkerDiedError(f"worker {remote.address} died or was taken away")
            error = await future.exception()
            if isinstance(error, HarvesterError):
                raise error
            if error is not None:
                raise RuntimeError(f"on worker {remote.address}: {type(error).__name__}: {error}") from error
            landed = await future.result()
            job.advance(landed.progress, self._progress)
            remote.telemetry = landed.telemetry
            return landed.outcome  # type: ignore[no-any-return]
        finally:
            del self._jobs[number]
            remote.tasks -= 1
            self._tell()
            future.release()

    async def _ended(self, future: Any, remote: _Remote) -> None:
        """Return when a task is done, or its worker gone."""
        with ungrouped():
            async with anyio.create_task_group() as tasks:

                async def cancel_when_worker_exits() -> None:
                    await remote.ended.wait()
                    tasks.cancel_scope.cancel()

                tasks.start_soon(cancel_when_worker_exits)
                await future._state.wait()  # noqa: SLF001  `wait` would cancel what it waits for
                tasks.cancel_scope.cancel()

    def _heed(self, event: tuple[float, Any]) -> None:
        _, message = event
        job = self._jobs.get(message["number"])
        if job is not None:
            job.advance(Progress(**message["progress"]), self._progress)


@asynccontextmanager
async def start_cluster(
    limits: LimitsConfig, processes: int, progress: Progress
) -> AsyncIterator[ClusterWorkers]:
    """Connect to the cluster that the limits name, or start one on this machine; it ends with the block.

    Args:
        limits: `scheduler` is the address of a cluster that is there.
        processes: How many workers one on this machine has.
        progress: Is counted up as they report.

    Raises:
        WorkerError: The scheduler does not answer.
    """
    with ungrouped():
        async with _client(limits, processes) as client, anyio.create_task_group() as tasks:
            workers = ClusterWorkers(client, progress, is_ours=limits.scheduler is None)
            tasks.start_soon(workers.watch)
            tasks.start_soon(workers.prepare)
            try:
                yield workers
            finally:
                tasks.cancel_scope.cancel()
                with anyio.CancelScope(shield=True):
                    await workers.end()


@asynccontextmanager
async def _client(limits: LimitsConfig, processes: int) -> AsyncIterator[Any]:
    # Dask's own reports of lost connections say nothing that the crawl does not tell.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    cluster: Any = limits.scheduler
    connect = partial(Client, asynchronous=True, timeout=_CONNECT_SECONDS, set_as_default=False)
    with dask.config.set({"distributed.comm.timeouts.connect": _CONNECT_SECONDS, **DASK_SETTINGS}):
        try:
            if cluster is None:
                cluster = await LocalCluster(  # type: ignore[no-untyped-call]
                    n_workers=processes,
                    threads_per_worker=_TASKS_AT_ONCE,
                    processes=True,
                    asynchronous=True,
                    memory_limit=0,
                    dashboard_address=None,
                    silence_logs=logging.CRITICAL,
                )
            client = await connect(cluster)
        except (OSError, TimeoutError) as error:
            raise WorkerError(
                f"{limits.scheduler or 'a Dask cluster on this machine'}: no scheduler answers ({error}); "
                "check limits.scheduler"
            ) from error
        try:
            yield client
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(_CONNECT_SECONDS):
                await client.close()
                if limits.scheduler is None:
                    await cluster.close()
