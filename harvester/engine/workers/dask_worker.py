"""Runs tasks on a Dask worker, with one task runner for the whole crawl."""

import logging
import pickle
import signal
import threading
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

import anyio
from anyio.from_thread import BlockingPortal, start_blocking_portal
from distributed import WorkerPlugin, get_worker

from harvester.engine.shard import CrawlProgress, ShardResult
from harvester.engine.shard_task import (
    ShardTask,
    TaskRunner,
    WorkerSettings,
    collect_garbage_rarely,
    open_task_runner,
)
from harvester.engine.workers.memory import keep_small
from harvester.errors import ConfigError, ungrouped
from harvester.store.telemetry import Telemetry

_REPORT_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class TaskResult:
    """The result of a task, and the worker's telemetry since its start."""

    result: ShardResult
    progress: CrawlProgress
    telemetry: Telemetry


@dataclass(slots=True)
class _Opened:
    """The task runner of one Dask worker, in an event loop of its own."""

    portal: BlockingPortal
    runner: TaskRunner
    held: ExitStack = field(default_factory=ExitStack)


class HarvesterPlugin(WorkerPlugin):
    """Gives each Dask worker a task runner, also workers that join later.

    Args:
        name: The plugin's name, unique to this crawl.
        settings: The task runner's settings.
        is_ours: Whether the worker was started for this crawl, and has to ignore Ctrl-C.
    """

    idempotent = True

    def __init__(self, name: str, settings: WorkerSettings, *, is_ours: bool) -> None:
        self.name = name
        self._settings = settings
        self._is_ours = is_ours
        self._opened: _Opened | None = None
        self._opening: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None, "_opening": None}

    def setup(self, worker: Any) -> None:
        """Called by Dask when the worker has started, or when the plugin is registered."""
        del worker
        self._opening = threading.Lock()
        if self._is_ours and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            keep_small()
        logging.getLogger("pydicom").setLevel(logging.CRITICAL)
        collect_garbage_rarely()

    def teardown(self, worker: Any) -> None:
        """Called by Dask when the worker ends, or the crawl."""
        del worker
        if self._opened is not None:
            self._opened.held.close()
            self._opened = None

    def harvest(self, task: ShardTask, number: int, workers: int) -> TaskResult:
        """Harvest one shard, in one of the worker's threads.

        Args:
            task: What to harvest.
            number: The task's number, for progress reports.
            workers: Number of workers that share `requests_per_second` now.
        """
        opened = self._open(workers)
        opened.runner.store.share(workers)
        result: TaskResult = opened.portal.call(self._run, opened.runner, task, number, get_worker())
        return result

    def stop(self, seconds: float) -> None:
        """Finish started series within `seconds`."""
        if self._opened is not None:
            self._opened.portal.start_task_soon(self._opened.runner.stop, seconds)

    def share(self, workers: int) -> None:
        """Set the number of workers that share `requests_per_second`."""
        if self._opened is not None:
            self._opened.portal.start_task_soon(self._opened.runner.store.share, workers)

    def _open(self, workers: int) -> _Opened:
        with self._opening:
            if self._opened is None:
                with ExitStack() as held:
                    portal = held.enter_context(start_blocking_portal())
                    opening = open_task_runner(replace(self._settings, processes=workers))
                    context: AbstractContextManager[TaskRunner] = portal.wrap_async_context_manager(opening)
                    self._opened = _Opened(portal, held.enter_context(context))
                    self._opened.held = held.pop_all()
            return self._opened

    async def _run(self, runner: TaskRunner, task: ShardTask, number: int, worker: Any) -> TaskResult:
        progress = CrawlProgress()

        async def report() -> None:
            while True:
                await anyio.sleep(_REPORT_SECONDS)
                worker.log_event(self.name, {"number": number, "progress": asdict(progress)})

        with ungrouped():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(report)
                result = await runner.harvest(task, progress)
                tasks.cancel_scope.cancel()
        return TaskResult(result, progress, runner.store.telemetry())


def load_here() -> None:
    """Do nothing: calling it on a worker imports this module and all that it needs there."""


def packed(task: ShardTask) -> bytes:
    """A task as bytes, which Dask passes on unchanged.

    Dask would serialize the task itself twice on the way, in the busiest threads of the processes.
    """
    return pickle.dumps(task, pickle.HIGHEST_PROTOCOL)


def harvest_here(plugin: str, task: bytes, number: int, workers: int) -> TaskResult:
    """Harvest a `packed` task on the Dask worker that calls this."""
    unpacked: ShardTask = pickle.loads(task)  # noqa: S301  Dask's own messages are pickles of the same sender
    return _plugin(get_worker(), plugin).harvest(unpacked, number, workers)


def stop_here(dask_worker: Any, plugin: str, seconds: float) -> None:
    """Finish started series on this worker within `seconds`."""
    _plugin(dask_worker, plugin).stop(seconds)


def share_here(dask_worker: Any, plugin: str, share: int) -> None:
    """Set the number of workers that share `requests_per_second`."""
    _plugin(dask_worker, plugin).share(share)


def _plugin(worker: Any, name: str) -> HarvesterPlugin:
    plugin = worker.plugins.get(name)
    if not isinstance(plugin, HarvesterPlugin):
        raise ConfigError(
            f"the Dask worker {worker.address} does not hold this crawl's plugin: its scheduler was"
            " restarted, or it could not load it; run the same command again"
        )
    return plugin
