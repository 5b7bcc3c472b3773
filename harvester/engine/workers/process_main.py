"""The entry of a worker process: runs tasks of the crawl's main process and reports to it."""

import copy
import ctypes
import logging
import os
import signal
import socket
import sys
import traceback
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

import anyio

from harvester.engine.shard import CrawlProgress, ShardResult
from harvester.engine.shard_task import (
    ShardTask,
    TaskRunner,
    WorkerSettings,
    collect_garbage_rarely,
    open_task_runner,
)
from harvester.engine.stop_signals import stop_signals
from harvester.engine.workers.ipc import Channel
from harvester.engine.workers.memory import keep_small
from harvester.errors import HarvesterError, ungrouped
from harvester.store.telemetry import Telemetry

# prctl(2); the value is part of Linux's interface.
_PR_SET_PDEATHSIG: Final = 1
_REPORT_SECONDS: Final = 0.25


@dataclass(frozen=True, slots=True)
class ConfigureWorker:
    """To a worker, first: its settings and its log level."""

    settings: WorkerSettings
    log_level: int


@dataclass(frozen=True, slots=True)
class RunTask:
    """To a worker: a task and its number."""

    number: int
    task: ShardTask


@dataclass(frozen=True, slots=True)
class StopWorker:
    """To a worker: finish started series within `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class WorkerReady:
    """From a worker: it takes tasks."""


@dataclass(frozen=True, slots=True)
class ProgressReport:
    """From a worker: the progress of each task, by number, and the log records since the last report."""

    progress: dict[int, CrawlProgress]
    records: tuple[logging.LogRecord, ...]


@dataclass(frozen=True, slots=True)
class TaskFinished:
    """From a worker: the result of a task, and the worker's telemetry since its start.

    `error` is an error of harvester, or the traceback of a bug.
    """

    number: int
    progress: CrawlProgress
    result: ShardResult | None = None
    error: HarvesterError | str | None = None
    telemetry: Telemetry = field(default_factory=Telemetry)


class _RecordBuffer(logging.Handler):
    """Buffers log records for the next report, formatted so that they can be pickled."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: deque[logging.LogRecord] = deque(maxlen=10_000)

    def emit(self, record: logging.LogRecord) -> None:
        record = copy.copy(record)
        record.msg, record.args = self.format(record), None
        record.exc_info = record.exc_text = record.stack_info = None
        self._kept.append(record)

    def taken(self) -> Iterable[logging.LogRecord]:
        while self._kept:
            yield self._kept.popleft()


@dataclass(slots=True)
class _RunningTasks:
    """The tasks of this process."""

    runner: TaskRunner
    channel: Channel
    records: _RecordBuffer
    progress: dict[int, CrawlProgress]

    async def run(self, number: int, task: ShardTask) -> None:
        progress = self.progress[number] = CrawlProgress()
        try:
            with ungrouped():
                finished = TaskFinished(number, progress, await self.runner.harvest(task, progress))
        except HarvesterError as error:
            finished = TaskFinished(number, progress, error=error)
        except Exception:  # noqa: BLE001  a bug, which ends the crawl: the main process raises it
            finished = TaskFinished(number, progress, error=traceback.format_exc())
        await self.report()
        del self.progress[number]
        await self.channel.send(replace(finished, telemetry=self.runner.store.telemetry()))

    async def report(self) -> None:
        await self.channel.send(ProgressReport(dict(self.progress), tuple(self.records.taken())))

    async def report_regularly(self) -> None:
        while True:
            await anyio.sleep(_REPORT_SECONDS)
            if self.progress:
                await self.report()


async def _serve(end: socket.socket) -> None:
    channel = await Channel.over(end)
    # Never used and never closed: the dataset stays locked as long as this process lives.
    await channel.receive_descriptor()
    configuration: ConfigureWorker = await channel.receive()
    records = _RecordBuffer()
    logging.getLogger().addHandler(records)
    logging.getLogger("harvester").setLevel(configuration.log_level)
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    with ungrouped():
        async with (
            open_task_runner(configuration.settings) as runner,
            anyio.create_task_group() as tasks,
        ):
            running = _RunningTasks(runner, channel, records, {})
            tasks.start_soon(running.report_regularly)
            await channel.send(WorkerReady())
            while True:
                message = await channel.receive()
                if isinstance(message, RunTask):
                    tasks.start_soon(running.run, message.number, message.task)
                elif isinstance(message, StopWorker):
                    runner.stop(message.seconds)


def _die_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies; elsewhere the end of the channel ends it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def main() -> None:
    """Serve until the channel, whose descriptor is the only argument, is closed."""
    _die_with_parent()
    for number in stop_signals():
        signal.signal(number, signal.SIG_IGN)  # the main process decides how the crawl ends
    keep_small()
    collect_garbage_rarely()
    end = socket.socket(fileno=int(sys.argv[1]))
    try:
        anyio.run(_serve, end)
    except anyio.EndOfStream:
        os._exit(0)  # committed shards are complete, everything else does not count
