"""The event loop and the connection pools that all readers of a process share."""

import threading
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Final, ParamSpec, TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal

from harvester.config.operating_system import after_fork_in_child
from harvester.store.base import Store
from harvester.store.open import Credentials, StoreSettings, open_store
from harvester.store.resilience.retrying_store import RetryPolicy

P = ParamSpec("P")
T = TypeVar("T")

# A person waits for a reader, so it gives up sooner than a crawl.
SETTINGS: Final = StoreSettings(
    concurrency=128, retry=RetryPolicy(attempts=5, longest_seconds=8.0, patience_seconds=60.0)
)


class LoopThread:
    """An event loop in a thread of its own: it runs the asynchronous reader for blocking callers.

    It starts at the first use and ends with the program's main thread.

    Attributes:
        generation: Number of loops so far; objects made for an earlier loop cannot be used any more.
    """

    def __init__(self) -> None:
        self.generation = 0
        self._lock = threading.Lock()
        self._stack = ExitStack()
        self._portal: BlockingPortal | None = None
        self._stores: dict[tuple[str | None, Credentials], Store] = {}
        self._inherited: list[ExitStack] = []

    def call(self, function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a coroutine function in the loop, and wait for its result."""

        async def run() -> T:
            return await function(*args, **kwargs)

        return self.portal().call(run)

    def portal(self) -> BlockingPortal:
        """The portal into the loop, which is started if necessary."""
        with self._lock:
            return self._started()

    def store(self, endpoint: str | None, credentials: Credentials = "none") -> Store:
        """The store of an endpoint, with or without credentials, and its connection pool; it is opened once.

        Raises:
            ConfigError: The endpoint is not a valid address.
        """
        with self._lock:
            key = (endpoint, credentials)
            if key not in self._stores:
                settings = replace(SETTINGS, credentials=credentials)
                opening = self._started().wrap_async_context_manager(open_store(settings, endpoint=endpoint))
                self._stores[key] = self._stack.enter_context(opening)
            return self._stores[key]

    def close(self) -> None:
        """End the loop and close the connections; the next use starts a new loop."""
        with self._lock:
            stack = self._stack
            self._forget_loop()
        stack.close()

    def reset_after_fork(self) -> None:
        """Start again in a child process, which has the parent's memory but not its threads."""
        self._lock = threading.Lock()
        self._inherited.append(self._stack)  # kept: garbage collection would close the parent's connections
        self._forget_loop()

    def _started(self) -> BlockingPortal:
        if self._portal is None:
            self._portal = self._stack.enter_context(start_blocking_portal(name="harvester reader"))
            threading.Thread(target=self._close_at_exit, args=(self._portal,), daemon=True).start()
        return self._portal

    def _close_at_exit(self, portal: BlockingPortal) -> None:
        # The loop's worker threads are no daemons and would keep the program alive: they must end first,
        # and `atexit` runs after them.
        threading.main_thread().join()
        if self._portal is portal:
            self.close()

    def _forget_loop(self) -> None:
        self._stack, self._portal, self._stores = ExitStack(), None, {}
        self.generation += 1


LOOP: Final = LoopThread()
after_fork_in_child(LOOP.reset_after_fork)
