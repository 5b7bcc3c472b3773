"""A worker process from the inside: takes tasks from the crawl's own process, and reports to it."""

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

from harvester.engine.shard import Outcome, Progress
from harvester.engine.shard_task import (
    Harvester,
    ShardTask,
    WorkerSettings,
    collect_garbage_rarely,
    open_harvester,
)
from harvester.engine.workers.ipc import Channel
from harvester.engine.workers.memory import keep_small
from harvester.errors import HarvesterError, ungrouped
from harvester.store.telemetry import Telemetry

# prctl(2); the value is part of Linux's interface.
_PR_SET_PDEATHSIG: Final = 1
_REPORT_SECONDS: Final = 0.25


@dataclass(frozen=True, slots=True)
class Hello:
    """To a worker, first: what it works with, and what it logs."""

    settings: WorkerSettings
    log_level: int


@dataclass(frozen=True, slots=True)
class Begin:
    """To a worker: a task, under a number of its own."""

    number: int
    task: ShardTask


@dataclass(frozen=True, slots=True)
class Stop:
    """To a worker: finish what is at work within so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Ready:
    """From a worker: it takes tasks."""


@dataclass(frozen=True, slots=True)
class Report:
    """From a worker: how far each task is, by number, and what was logged since the last report."""

    progress: dict[int, Progress]
    records: tuple[logging.LogRecord, ...]


@dataclass(frozen=True, slots=True)
class Ended:
    """From a worker: how a task ended, and how the servers answered it since its start.

    `error` is what harvester raised, or the traceback of a bug.
    """

    number: int
    progress: Progress
    outcome: Outcome | None = None
    error: HarvesterError | str | None = None
    telemetry: Telemetry = field(default_factory=Telemetry)


class _Records(logging.Handler):
    """Keeps records until they are reported; as text where they cannot be pickled."""

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
class _Work:
    """The tasks of this process."""

    harvester: Harvester
    channel: Channel
    records: _Records
    progress: dict[int, Progress]

    async def run(self, number: int, task: ShardTask) -> None:
        progress = self.progress[number] = Progress()
        try:
            with ungrouped():
                ended = Ended(number, progress, outcome=await self.harvester.harvest(task, progress))
        except HarvesterError as error:
            ended = Ended(number, progress, error=error)
        except Exception:  # noqa: BLE001  a bug, which ends the crawl: in the process that a person looks at
            ended = Ended(number, progress, error=traceback.format_exc())
        await self.report()
        del self.progress[number]
        await self.channel.send(replace(ended, telemetry=self.harvester.store.telemetry()))

    async def report(self) -> None:
        await self.channel.send(Report(dict(self.progress), tuple(self.records.taken())))

    async def report_now_and_then(self) -> None:
        while True:
            await anyio.sleep(_REPORT_SECONDS)
            if self.progress:
                await self.report()


async def _serve(end: socket.socket) -> None:
    channel = await Channel.over(end)
    # Never used, and never closed: while this process lives, nobody else takes the dataset's lock.
    await channel.receive_descriptor()
    hello: Hello = await channel.receive()
    records = _Records()
    logging.getLogger().addHandler(records)
    logging.getLogger("harvester").setLevel(hello.log_level)
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    with ungrouped():
        async with open_harvester(hello.settings) as harvester, anyio.create_task_group() as tasks:
            work = _Work(harvester, channel, records, {})
            tasks.start_soon(work.report_now_and_then)
            await channel.send(Ready())
            while True:
                message = await channel.receive()
                if isinstance(message, Begin):
                    tasks.start_soon(work.run, message.number, message.task)
                elif isinstance(message, Stop):
                    harvester.stop(message.seconds)


def _die_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies; elsewhere the channel's end has to do."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def main() -> None:
    """Work until the channel, whose descriptor is the only argument, is closed."""
    _die_with_parent()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the crawl's own process says what is to be done
    keep_small()
    collect_garbage_rarely()
    end = socket.socket(fileno=int(sys.argv[1]))
    try:
        anyio.run(_serve, end)
    except anyio.EndOfStream:
        os._exit(0)  # nothing is left to do: what counts is committed
