"""The worker processes of a crawl: started, given tasks, watched, and replaced when they die."""

import itertools
import logging
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Protocol, Self

import anyio
from anyio.abc import Process, TaskGroup

from harvester.engine.run_record import WorkerExit
from harvester.engine.shard import Outcome, Progress
from harvester.engine.shard_task import Harvester, ShardTask, WorkerSettings
from harvester.engine.workers.ipc import Channel
from harvester.engine.workers.memory import MEMORY
from harvester.engine.workers.process_main import Begin, Ended, Hello, Ready, Report, Stop
from harvester.errors import HarvesterError, WorkerDiedError, WorkerError
from harvester.store.telemetry import Telemetry

_logger = logging.getLogger("harvester")

_ENTRY: Final = "from harvester.engine.workers.process_main import main; main()"
_SECONDS_TO_END: Final = 5.0

# A worker that ends before it is ready is replaced, so many times.
_STARTS: Final = 3

# So that the end of one, where few objects are left, does not leave the network idle.
_SHARDS_AT_ONCE: Final = 2


class Workers(Protocol):
    """Whoever takes tasks: other processes, or this one."""

    @property
    def deaths(self) -> Sequence[WorkerExit]:
        """The workers that have died."""
        ...

    @property
    def telemetry(self) -> Telemetry:
        """How the servers answered all workers, as far as they have told."""
        ...

    @property
    def places(self) -> int:
        """How many tasks they take at once."""
        ...

    async def place(self) -> None:
        """Wait until one task more is worth having made."""
        ...

    async def harvest(self, task: ShardTask) -> Outcome:
        """Harvest a shard.

        Raises:
            WorkerDiedError: The worker died; nothing of the task is committed, unless all of it is.
            WorkerError: No worker can be started.
            UserError: The dataset cannot be written.
        """
        ...

    async def harvest_alone(self, task: ShardTask) -> Outcome:
        """As `harvest`, but in a worker that does nothing else: if it dies, it is for this task."""
        ...

    async def stop(self, seconds: float) -> None:
        """Finish what is at work within so many seconds."""
        ...


@dataclass(slots=True)
class ThisProcess:
    """Harvests in the crawl's own process: for what is not worth starting others."""

    harvester: Harvester
    progress: Progress
    deaths: tuple[WorkerExit, ...] = ()
    places: int = _SHARDS_AT_ONCE

    @property
    def telemetry(self) -> Telemetry:
        """Nothing beyond what the harvester's own store tells."""
        return Telemetry()

    async def place(self) -> None:
        """There are as many as there are places."""

    async def harvest(self, task: ShardTask) -> Outcome:
        """Harvest a shard."""
        return await self.harvester.harvest(task, self.progress)

    harvest_alone = harvest

    async def stop(self, seconds: float) -> None:
        """Finish what is at work within so many seconds."""
        self.harvester.stop(seconds)


@dataclass(slots=True)
class AssignedTask:
    """A task that a worker has, as far as is known of it."""

    seen: Progress = field(default_factory=Progress)
    ended: anyio.Event = field(default_factory=anyio.Event)
    result: Ended | None = None

    def advance(self, to: Progress, total: Progress) -> None:
        """Count what is new."""
        total.series += to.series - self.seen.series
        total.instances += to.instances - self.seen.instances
        total.failures += to.failures - self.seen.failures
        total.requests += to.requests - self.seen.requests
        total.bytes_fetched += to.bytes_fetched - self.seen.bytes_fetched
        total.carried += to.carried - self.seen.carried
        self.seen = to

    def take_back(self, total: Progress) -> None:
        """Forget its rows, which died with the worker; what it asked for was asked for."""
        spent = Progress(requests=self.seen.requests, bytes_fetched=self.seen.bytes_fetched)
        self.advance(spent, total)


class _Worker:
    """One worker process, seen from outside; make it by `start`."""

    def __init__(self, process: Process, channel: Channel, total: Progress) -> None:
        self.process = process
        self.greeted = self.dismissed = False
        self.telemetry = Telemetry()
        self.ended = anyio.Event()
        self._channel = channel
        self._total = total
        self._ready = anyio.Event()
        self._jobs: dict[int, AssignedTask] = {}
        self._numbers = itertools.count()

    @classmethod
    async def start(cls, total: Progress) -> Self:
        """Start the process, which takes half a second to be ready; do not wait for that."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = await anyio.open_process(
                [sys.executable, "-c", _ENTRY, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=None,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C in a terminal is for the crawl's own process
                env={**MEMORY, **os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        return cls(process, await Channel.over(ours), total)

    async def greet(self, settings: WorkerSettings, lock: int) -> None:
        """Tell it what it works with."""
        await self._channel.send_descriptor(lock)
        level = logging.getLogger("harvester").getEffectiveLevel()
        await self._channel.send(Hello(settings, level))

    async def listen(self) -> None:
        """Take its messages until it ends."""
        try:
            while True:
                self._heed(await self._channel.receive())
        except anyio.EndOfStream:
            await self.process.wait()
        finally:
            self.ended.set()
            with anyio.CancelScope(shield=True):
                await self._channel.aclose()
            for job in self._jobs.values():
                job.take_back(self._total)
                job.ended.set()

    def _heed(self, message: Ready | Report | Ended) -> None:
        if isinstance(message, Ready):
            self._ready.set()
        elif isinstance(message, Report):
            for number, progress in message.progress.items():
                self._jobs[number].advance(progress, self._total)
            for record in message.records:
                logging.getLogger(record.name).handle(record)
        else:
            job = self._jobs.pop(message.number)
            job.advance(message.progress, self._total)
            job.result = message
            self.telemetry = message.telemetry
            job.ended.set()

    async def harvest(self, task: ShardTask) -> Outcome:
        """Harvest a shard; see `Workers`."""
        number, job = next(self._numbers), AssignedTask()
        if not self.ended.is_set():
            self._jobs[number] = job
            await self._channel.send(Begin(number, task))
            await job.ended.wait()
        if job.result is None:
            raise WorkerDiedError(f"worker {self.process.pid} died ({self.fate})")
        if isinstance(job.result.error, HarvesterError):
            raise job.result.error
        if job.result.outcome is None:
            raise RuntimeError(f"in worker {self.process.pid}: {job.result.error}")
        return job.result.outcome

    @property
    def was_ready(self) -> bool:
        """Whether it ever took tasks."""
        return self._ready.is_set()

    @property
    def fate(self) -> str:
        """How it ended."""
        status = self.process.returncode
        return f"signal {-status}" if status is not None and status < 0 else f"exit status {status}"

    async def stop(self, seconds: float) -> None:
        """Finish what is at work within so many seconds."""
        await self._channel.send(Stop(seconds))

    async def end(self) -> None:
        """Let it go, and wait until it is gone."""
        self.dismissed = True
        await self._channel.aclose()
        with anyio.move_on_after(_SECONDS_TO_END):
            await self.process.wait()
        await self.kill()

    async def kill(self) -> None:
        """Kill it, and wait until it is gone."""
        self.dismissed = True
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        await self._channel.aclose()


@dataclass(slots=True)
class _Place:
    """A place that a worker has: one after the other, if they die."""

    worker: _Worker | None = None
    tasks: int = 0
    changing: anyio.Lock = field(default_factory=anyio.Lock)


class WorkerPool:
    """Worker processes of one crawl; make it by `start_workers`.

    Attributes:
        deaths: The workers that have died.
    """

    def __init__(self, processes: int, tasks: TaskGroup, progress: Progress) -> None:
        self.deaths: list[WorkerExit] = []
        self._before = Telemetry()  # what the dead had told
        self._tasks = tasks
        self._progress = progress
        self._places = [_Place() for _ in range(processes)]
        self._apart = _Place()
        self._alone = anyio.Lock()
        self._greeting: tuple[WorkerSettings, int] | None = None

    @property
    def places(self) -> int:
        """How many tasks they take at once."""
        return _SHARDS_AT_ONCE * len(self._places)

    @property
    def telemetry(self) -> Telemetry:
        """How the servers answered all workers, as far as they have told."""
        told = self._before
        for worker in self._living():
            if worker.dismissed or not worker.ended.is_set():
                told = told.merged(worker.telemetry)
        return told

    async def start(self) -> None:
        """Start the processes, all at once; they wait for `begin`."""
        async with anyio.create_task_group() as tasks:
            for place in self._places:
                tasks.start_soon(self._living_in, place)

    def begin(self, settings: WorkerSettings, lock: int) -> None:
        """Say what the workers work with, and give each the dataset's lock (an open file) to hold."""
        self._greeting = settings, lock

    async def place(self) -> None:
        """There are as many as there are places."""

    async def harvest(self, task: ShardTask) -> Outcome:
        """Harvest a shard in the worker that has the fewest; see `Workers`."""
        return await self._harvest_in(min(self._places, key=lambda place: place.tasks), task)

    async def harvest_alone(self, task: ShardTask) -> Outcome:
        """Harvest a shard in a worker that has no other; see `Workers`."""
        async with self._alone:
            return await self._harvest_in(self._apart, task)

    async def stop(self, seconds: float) -> None:
        """Finish what is at work within so many seconds."""
        for worker in self._living():
            await worker.stop(seconds)

    async def end(self) -> None:
        """Let all workers go."""
        for worker in self._living():
            await worker.end()

    async def kill(self) -> None:
        """Kill all workers, and wait until they are gone."""
        for worker in self._living():
            await worker.kill()

    def _living(self) -> Sequence[_Worker]:
        return [place.worker for place in (*self._places, self._apart) if place.worker is not None]

    async def _harvest_in(self, place: _Place, task: ShardTask) -> Outcome:
        place.tasks += 1
        try:
            for _ in range(_STARTS):
                worker = await self._worker_in(place)
                try:
                    return await worker.harvest(task)
                except WorkerDiedError as death:
                    if worker.was_ready:
                        raise
                    last = death  # it has seen nothing of the task
            raise WorkerError(f"worker processes end before they are ready: {last}")
        finally:
            place.tasks -= 1

    async def _worker_in(self, place: _Place) -> _Worker:
        if self._greeting is None:
            raise RuntimeError("tasks come after `begin`")
        worker = await self._living_in(place)
        async with place.changing:
            if not worker.greeted:
                worker.greeted = True
                await worker.greet(*self._greeting)
        return worker

    async def _living_in(self, place: _Place) -> _Worker:
        async with place.changing:
            if place.worker is None or place.worker.ended.is_set():
                place.worker = await _Worker.start(self._progress)
                self._tasks.start_soon(self._watch, place.worker)
            return place.worker

    async def _watch(self, worker: _Worker) -> None:
        await worker.listen()
        if not worker.dismissed:
            self.deaths.append(WorkerExit(worker.process.pid, worker.fate, datetime.now(UTC)))
            self._before = self._before.merged(worker.telemetry)
            _logger.warning("worker %d died (%s)", worker.process.pid, worker.fate)


@asynccontextmanager
async def start_workers(processes: int, progress: Progress) -> AsyncIterator[WorkerPool]:
    """Start worker processes; they are gone when the block has ended.

    Args:
        processes: How many.
        progress: Is counted up as they report.
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
