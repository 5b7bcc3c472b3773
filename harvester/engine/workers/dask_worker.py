"""What a Dask worker harvests with: one harvester for as long as the crawl lasts, as other processes have."""

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

from harvester.engine.shard import Outcome, Progress
from harvester.engine.shard_task import (
    Harvester,
    ShardTask,
    WorkerSettings,
    collect_garbage_rarely,
    open_harvester,
)
from harvester.engine.workers.memory import keep_small
from harvester.errors import ungrouped
from harvester.store.telemetry import Telemetry

_REPORT_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class TaskResult:
    """How a task ended, and how the servers have answered its worker since that began."""

    outcome: Outcome
    progress: Progress
    telemetry: Telemetry


@dataclass(slots=True)
class _Opened:
    """The harvester of one Dask worker, in an event loop of its own."""

    portal: BlockingPortal
    harvester: Harvester
    held: ExitStack = field(default_factory=ExitStack)


class HarvesterPlugin(WorkerPlugin):
    """Gives each Dask worker a harvester, those that come later, too.

    Args:
        name: Tells this crawl's from another's.
        settings: What the harvester works with.
        is_ours: Whether the worker was started for this crawl, and Ctrl-C is not for it to heed.
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
        """Harvest one shard; called in one of the worker's threads.

        Args:
            task: What to harvest.
            number: The task's, for reports of its progress.
            workers: How many there are now: each has its share of the requests of a second.
        """
        opened = self._open(workers)
        opened.harvester.store.share(workers)
        landed: TaskResult = opened.portal.call(self._run, opened.harvester, task, number, get_worker())
        return landed

    def stop(self, seconds: float) -> None:
        """Finish what is at work within so many seconds."""
        if self._opened is not None:
            self._opened.portal.start_task_soon(self._opened.harvester.stop, seconds)

    def share(self, workers: int) -> None:
        """There are so many workers now."""
        if self._opened is not None:
            self._opened.portal.start_task_soon(self._opened.harvester.store.share, workers)

    def _open(self, workers: int) -> _Opened:
        with self._opening:
            if self._opened is None:
                with ExitStack() as held:
                    portal = held.enter_context(start_blocking_portal())
                    opening = open_harvester(replace(self._settings, processes=workers))
                    context: AbstractContextManager[Harvester] = portal.wrap_async_context_manager(opening)
                    self._opened = _Opened(portal, held.enter_context(context))
                    self._opened.held = held.pop_all()
            return self._opened

    async def _run(self, harvester: Harvester, task: ShardTask, number: int, worker: Any) -> TaskResult:
        progress = Progress()

        async def report() -> None:
            while True:
                await anyio.sleep(_REPORT_SECONDS)
                worker.log_event(self.name, {"number": number, "progress": asdict(progress)})

        with ungrouped():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(report)
                outcome = await harvester.harvest(task, progress)
                tasks.cancel_scope.cancel()
        return TaskResult(outcome, progress, harvester.store.telemetry())


def load_here() -> None:
    """Do nothing: this module, and all that it needs, is loaded in a worker that is asked for it."""


def packed(task: ShardTask) -> bytes:
    """A task as bytes, which Dask passes on as they are.

    A task itself it would take apart and put together twice on the way, in the processes' busiest threads.
    """
    return pickle.dumps(task, pickle.HIGHEST_PROTOCOL)


def harvest_here(plugin: str, task: bytes, number: int, workers: int) -> TaskResult:
    """Harvest a `packed` shard on the Dask worker that runs this."""
    unpacked: ShardTask = pickle.loads(task)  # noqa: S301  Dask's own messages are pickles of the same sender
    return _plugin(get_worker(), plugin).harvest(unpacked, number, workers)


def stop_here(dask_worker: Any, plugin: str, seconds: float) -> None:
    """Let the worker finish what it has within so many seconds."""
    _plugin(dask_worker, plugin).stop(seconds)


def share_here(dask_worker: Any, plugin: str, share: int) -> None:
    """Tell the worker how many there are."""
    _plugin(dask_worker, plugin).share(share)


def _plugin(worker: Any, name: str) -> HarvesterPlugin:
    plugin = worker.plugins[name]
    if not isinstance(plugin, HarvesterPlugin):
        raise TypeError(f"{name} is another plugin")
    return plugin
