"""Starts the worker processes of a crawl, sends them tasks, and replaces those that die."""

import itertools
import logging
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Final, Protocol, Self

import anyio
from anyio.abc import Process, TaskGroup

from harvester.engine.run_record import WorkerExit
from harvester.engine.shard import CrawlProgress, ShardResult
from harvester.engine.shard_task import ShardTask, TaskRunner, WorkerSettings
from harvester.engine.workers.ipc import Channel
from harvester.engine.workers.memory import MEMORY
from harvester.engine.workers.process_main import (
    ConfigureWorker,
    ProgressReport,
    RunTask,
    StopWorker,
    TaskFinished,
    WorkerReady,
)
from harvester.errors import HarvesterError, WorkerDiedError, WorkerError
from harvester.store.telemetry import Telemetry

_logger = logging.getLogger("harvester")

_ENTRY: Final = "from harvester.engine.workers.process_main import main; main()"
_SECONDS_TO_END: Final = 5.0

# How often a worker is replaced that ends before it is ready.
_STARTS: Final = 3

# While one shard ends, with few objects left, the other one keeps the network busy.
_SHARDS_AT_ONCE: Final = 2

# The counters of a task that its worker reports.
_REPORTED: Final = tuple(
    one.name for one in fields(CrawlProgress) if one.name not in ("skipped", "expected_instances")
)


class Workers(Protocol):
    """Runs tasks, in other processes or in this one."""

    @property
    def deaths(self) -> Sequence[WorkerExit]:
        """The workers that have died."""
        ...

    @property
    def telemetry(self) -> Telemetry:
        """Telemetry of all workers, as far as they have reported."""
        ...

    @property
    def places(self) -> int:
        """How many tasks can run at the same time."""
        ...

    async def wait_for_place(self) -> None:
        """Wait until one more task should be made."""
        ...

    async def harvest(self, task: ShardTask) -> ShardResult:
        """Harvest a shard.

        Raises:
            WorkerDiedError: The worker died; the shard is committed completely or not at all.
            WorkerError: No worker can be started.
            UserError: The dataset cannot be written.
        """
        ...

    async def harvest_alone(self, task: ShardTask) -> ShardResult:
        """As `harvest`, in a worker without other tasks: if it dies, this task is the cause."""
        ...

    async def stop(self, seconds: float) -> None:
        """Finish started series within `seconds`."""
        ...


@dataclass(slots=True)
class ThisProcess:
    """Runs tasks in the crawl's main process, for selections too small for other processes."""

    runner: TaskRunner
    progress: CrawlProgress
    deaths: tuple[WorkerExit, ...] = ()
    places: int = _SHARDS_AT_ONCE

    @property
    def telemetry(self) -> Telemetry:
        """Empty: the crawl reads the telemetry of this process itself."""
        return Telemetry()

    async def wait_for_place(self) -> None:
        """Return at once: `places` bounds the tasks."""

    async def harvest(self, task: ShardTask) -> ShardResult:
        """Harvest a shard."""
        return await self.runner.harvest(task, self.progress)

    harvest_alone = harvest

    async def stop(self, seconds: float) -> None:
        """Finish started series within `seconds`."""
        self.runner.stop(seconds)


@dataclass(slots=True)
class AssignedTask:
    """A task that a worker runs, and its last reported progress."""

    seen: CrawlProgress = field(default_factory=CrawlProgress)
    ended: anyio.Event = field(default_factory=anyio.Event)
    finished: TaskFinished | None = None

    def advance(self, to: CrawlProgress, total: CrawlProgress) -> None:
        """Add to `total` what has changed since the last report."""
        for name in _REPORTED:
            setattr(total, name, getattr(total, name) + getattr(to, name) - getattr(self.seen, name))
        self.seen = to

    def take_back(self, total: CrawlProgress) -> None:
        """Subtract the rows that were lost with the worker; its requests stay counted."""
        self.advance(CrawlProgress(requests=self.seen.requests, bytes_fetched=self.seen.bytes_fetched), total)


class _Worker:
    """A worker process, as the main process sees it; made by `start`."""

    def __init__(self, process: Process, channel: Channel, total: CrawlProgress) -> None:
        self.process = process
        self.configured = self.dismissed = False
        self.telemetry = Telemetry()
        self.ended = anyio.Event()
        self.was_ready = False
        self._channel = channel
        self._total = total
        self._tasks: dict[int, AssignedTask] = {}
        self._numbers = itertools.count()

    @classmethod
    async def start(cls, total: CrawlProgress) -> Self:
        """Start the process; return before it is ready, which takes half a second."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = await anyio.open_process(
                    [sys.executable, "-c", _ENTRY, str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=None,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,  # Ctrl-C in a terminal reaches the main process alone
                    env={**MEMORY, **os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                )
            return cls(process, await Channel.over(ours), total)
        except BaseException:  # also a cancellation; without our end, a process that was started ends
            ours.close()
            raise

    async def configure(self, settings: WorkerSettings, lock: int) -> None:
        """Send the lock's descriptor, the settings and the log level."""
        await self._channel.send_descriptor(lock)
        level = logging.getLogger("harvester").getEffectiveLevel()
        await self._channel.send(ConfigureWorker(settings, level))

    async def listen(self) -> None:
        """Handle its messages until it ends."""
        try:
            while True:
                self._handle(await self._channel.receive())
        except anyio.EndOfStream:
            await self.process.wait()
        finally:
            self.ended.set()
            with anyio.CancelScope(shield=True):
                await self._channel.aclose()
            for task in self._tasks.values():
                task.take_back(self._total)
                task.ended.set()

    def _handle(self, message: WorkerReady | ProgressReport | TaskFinished) -> None:
        if isinstance(message, WorkerReady):
            self.was_ready = True
        elif isinstance(message, ProgressReport):
            for number, progress in message.progress.items():
                self._tasks[number].advance(progress, self._total)
            for record in message.records:
                logging.getLogger(record.name).handle(record)
        else:
            task = self._tasks.pop(message.number)
            task.advance(message.progress, self._total)
            task.finished = message
            self.telemetry = message.telemetry
            task.ended.set()

    async def harvest(self, task: ShardTask) -> ShardResult:
        """Harvest a shard; see `Workers`."""
        number, assigned = next(self._numbers), AssignedTask()
        if not self.ended.is_set():
            self._tasks[number] = assigned
            await self._channel.send(RunTask(number, task))
            await assigned.ended.wait()
        finished = assigned.finished
        if finished is None:
            raise WorkerDiedError(f"worker {self.process.pid} died ({self.fate})")
        if isinstance(finished.error, HarvesterError):
            raise finished.error
        if finished.result is None:
            raise RuntimeError(f"in worker {self.process.pid}: {finished.error}")
        return finished.result

    @property
    def fate(self) -> str:
        """How the process ended."""
        status = self.process.returncode
        return f"signal {-status}" if status is not None and status < 0 else f"exit status {status}"

    async def stop(self, seconds: float) -> None:
        """Finish started series within `seconds`."""
        await self._channel.send(StopWorker(seconds))

    async def end(self) -> None:
        """Close its channel, which ends the process; wait until it has ended, and kill it if it does not."""
        self.dismissed = True
        await self._channel.aclose()
        with anyio.move_on_after(_SECONDS_TO_END):
            await self.process.wait()
        await self.kill()

    async def kill(self) -> None:
        """Kill the process and wait until it has ended."""
        self.dismissed = True
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        await self._channel.aclose()


@dataclass(slots=True)
class _Slot:
    """A slot for one worker; a worker that dies is replaced in its slot."""

    worker: _Worker | None = None
    tasks: int = 0
    changing: anyio.Lock = field(default_factory=anyio.Lock)


class WorkerPool:
    """The worker processes of one crawl; made by `start_workers`.

    Attributes:
        deaths: The workers that have died.
    """

    def __init__(self, processes: int, tasks: TaskGroup, progress: CrawlProgress) -> None:
        self.deaths: list[WorkerExit] = []
        self._telemetry_of_dead = Telemetry()
        self._tasks = tasks
        self._progress = progress
        self._slots = [_Slot() for _ in range(processes)]
        self._isolated = _Slot()
        self._isolating = anyio.Lock()
        self._configuration: tuple[WorkerSettings, int] | None = None

    @property
    def places(self) -> int:
        """How many tasks can run at the same time."""
        return _SHARDS_AT_ONCE * len(self._slots)

    @property
    def telemetry(self) -> Telemetry:
        """Telemetry of all workers, as far as they have reported."""
        total = self._telemetry_of_dead
        for worker in self._workers():
            if worker.dismissed or not worker.ended.is_set():
                total = total.merged(worker.telemetry)
        return total

    async def start(self) -> None:
        """Start the processes at the same time; they wait for `begin`."""
        async with anyio.create_task_group() as tasks:
            for slot in self._slots:
                tasks.start_soon(self._worker_in, slot)

    def begin(self, settings: WorkerSettings, lock: int) -> None:
        """Set the workers' settings and the lock's descriptor, which each worker holds open."""
        self._configuration = settings, lock

    async def wait_for_place(self) -> None:
        """Return at once: `places` bounds the tasks."""

    async def harvest(self, task: ShardTask) -> ShardResult:
        """Harvest a shard in the worker with the fewest tasks; see `Workers`."""
        return await self._harvest_in(min(self._slots, key=lambda slot: slot.tasks), task)

    async def harvest_alone(self, task: ShardTask) -> ShardResult:
        """Harvest a shard in a worker without other tasks; see `Workers`."""
        async with self._isolating:
            return await self._harvest_in(self._isolated, task)

    async def stop(self, seconds: float) -> None:
        """Finish started series within `seconds`."""
        for worker in self._workers():
            await worker.stop(seconds)

    async def end(self) -> None:
        """End all workers in order."""
        for worker in self._workers():
            await worker.end()

    async def kill(self) -> None:
        """Kill all workers."""
        for worker in self._workers():
            await worker.kill()

    def _workers(self) -> Sequence[_Worker]:
        return [slot.worker for slot in (*self._slots, self._isolated) if slot.worker is not None]

    async def _harvest_in(self, slot: _Slot, task: ShardTask) -> ShardResult:
        slot.tasks += 1
        try:
            for _ in range(_STARTS):
                worker = await self._configured_worker_in(slot)
                try:
                    return await worker.harvest(task)
                except WorkerDiedError as death:
                    if worker.was_ready:
                        raise
                    last = death  # it never saw the task
            raise WorkerError(f"worker processes end before they are ready: {last}")
        finally:
            slot.tasks -= 1

    async def _configured_worker_in(self, slot: _Slot) -> _Worker:
        if self._configuration is None:
            raise RuntimeError("tasks come after `begin`")
        worker = await self._worker_in(slot)
        async with slot.changing:
            if not worker.configured:
                worker.configured = True
                await worker.configure(*self._configuration)
        return worker

    async def _worker_in(self, slot: _Slot) -> _Worker:
        async with slot.changing:
            if slot.worker is None or slot.worker.ended.is_set():
                slot.worker = await _Worker.start(self._progress)
                self._tasks.start_soon(self._watch, slot.worker)
            return slot.worker

    async def _watch(self, worker: _Worker) -> None:
        await worker.listen()
        if not worker.dismissed:
            self.deaths.append(WorkerExit(worker.process.pid, worker.fate, datetime.now(UTC)))
            self._telemetry_of_dead = self._telemetry_of_dead.merged(worker.telemetry)
            _logger.warning("worker %d died (%s)", worker.process.pid, worker.fate)


@asynccontextmanager
async def start_workers(processes: int, progress: CrawlProgress) -> AsyncIterator[WorkerPool]:
    """Start worker processes; they have ended when the block ends.

    Args:
        processes: How many.
        progress: Updated from their reports.
    """
    async with anyio.create_task_group() as tasks:
        pool = WorkerPool(processes, tasks, progress)
        tasks.start_soon(pool.start)
        try:
            yield pool
        except BaseException:
            with anyio.CancelScope(shield=True):
                await pool.kill()
            raise
        with anyio.CancelScope(shield=True):
            await pool.end()
        tasks.cancel_scope.cancel()
