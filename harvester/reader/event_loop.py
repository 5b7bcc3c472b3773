"""The event loop, the connection pool and the frame indexes that all readers of a process share."""

import os
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Final, ParamSpec, TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal

from harvester.dicom.frames import FrameIndex
from harvester.store.base import Store
from harvester.store.open import StoreSettings, open_store
from harvester.store.resilience.retrying_store import RetryPolicy

P = ParamSpec("P")
T = TypeVar("T")

# A person waits for a reader: it gives up sooner than a crawl does.
_SETTINGS: Final = StoreSettings(
    concurrency=128, retry=RetryPolicy(attempts=5, longest_seconds=8.0, patience_seconds=60.0)
)
_MOST_INDEXED_FRAMES: Final = 4_000_000  # of all indexes that are kept: 64 MB


class LoopThread:
    """Runs the asynchronous reader in a thread of its own, for callers that are not asynchronous.

    It starts when it is first used, and ends when the program's main thread does.

    Attributes:
        generation: Counts its loops: what belongs to another one than now is of no use any more.
    """

    def __init__(self) -> None:
        self.generation = 0
        self._lock = threading.Lock()
        self._stack = ExitStack()
        self._portal: BlockingPortal | None = None
        self._stores: dict[str | None, Store] = {}
        self._inherited: list[ExitStack] = []

    def call(self, function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a coroutine function in the engine's loop and wait for what it returns, or raises."""

        async def run() -> T:
            return await function(*args, **kwargs)

        return self.portal().call(run)

    def portal(self) -> BlockingPortal:
        """The way into the engine's loop."""
        with self._lock:
            return self._started()

    def store(self, endpoint: str | None) -> Store:
        """The store of an endpoint, with its connection pool.

        Raises:
            ConfigError: The endpoint is no address.
        """
        with self._lock:
            if endpoint not in self._stores:
                opening = self._started().wrap_async_context_manager(open_store(_SETTINGS, endpoint=endpoint))
                self._stores[endpoint] = self._stack.enter_context(opening)
            return self._stores[endpoint]

    def close(self) -> None:
        """End the loop and close the connections; used again, it starts anew."""
        with self._lock:
            stack = self._stack
            self._forget_loop()
        stack.close()

    def _started(self) -> BlockingPortal:
        if self._portal is None:
            self._portal = self._stack.enter_context(start_blocking_portal(name="harvester reader"))
            threading.Thread(target=self._close_at_the_end, args=(self._portal,), daemon=True).start()
        return self._portal

    def _close_at_the_end(self, portal: BlockingPortal) -> None:
        # Threads of the loop that are no daemons would keep the program alive: it must end before them,
        # and `atexit` comes behind them.
        threading.main_thread().join()
        if self._portal is portal:
            self.close()

    def _forget(self) -> None:
        """As if never used: in a child process, which has the parent's memory and not its threads."""
        self._lock = threading.Lock()
        self._inherited.append(self._stack)  # not to be closed, as it would be if it were forgotten
        self._forget_loop()

    def _forget_loop(self) -> None:
        self._stack, self._portal, self._stores = ExitStack(), None, {}
        self.generation += 1


class FrameIndexCache:
    """Frame indexes that took a scan, by object and ETag; the ones used last are kept."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._indexes: OrderedDict[tuple[str, str], FrameIndex] = OrderedDict()

    def get(self, url: str, etag: str | None) -> FrameIndex | None:
        """The index of an object, if it was found before."""
        with self._lock:
            index = None if etag is None else self._indexes.get((url, etag))
            if index is not None and etag is not None:
                self._indexes.move_to_end((url, etag))
            return index

    def unlock(self) -> None:
        """As if no thread were looking: in a child process."""
        self._lock = threading.Lock()

    def clear(self) -> None:
        """Forget all of them."""
        with self._lock:
            self._indexes.clear()

    def forget(self, url: str, etag: str | None) -> None:
        """Drop the index of an object, which turned out to be wrong."""
        with self._lock:
            if etag is not None:
                self._indexes.pop((url, etag), None)

    def put(self, url: str, etag: str | None, index: FrameIndex) -> None:
        """Keep the index of an object that can be told from another of the same name."""
        if etag is None:
            return
        with self._lock:
            self._indexes[url, etag] = index
            self._indexes.move_to_end((url, etag))
            while sum(len(one) for one in self._indexes.values()) > _MOST_INDEXED_FRAMES:
                self._indexes.popitem(last=False)


LOOP: Final = LoopThread()
FRAME_INDEXES: Final = FrameIndexCache()
os.register_at_fork(after_in_child=LOOP._forget)  # noqa: SLF001  its own
os.register_at_fork(after_in_child=FRAME_INDEXES.unlock)
