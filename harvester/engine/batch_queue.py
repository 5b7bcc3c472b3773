"""A queue that takes batches of items and gives single items to many readers."""

from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

import anyio

T = TypeVar("T")


class BatchQueue(Generic[T]):
    """Queue between one producer of batches and many consumers.

    An anyio memory stream needs a turn of the event loop for each item: a twentieth of what harvesting
    an instance costs.

    Args:
        ahead: `put` waits until at most this many items are left.
    """

    def __init__(self, ahead: int) -> None:
        self._ahead = ahead
        self._waiting: deque[T] = deque()
        self._ended = False
        self._filled = anyio.Event()
        self._emptied = anyio.Event()

    async def put(self, batch: Iterable[T]) -> None:
        """Add a batch when there is room; only one caller may wait at a time."""
        while len(self._waiting) > self._ahead:
            self._emptied = anyio.Event()
            await self._emptied.wait()
        self._waiting.extend(batch)
        self._wake()

    def end(self) -> None:
        """Declare that no more batches follow."""
        self._ended = True
        self._wake()

    async def wait(self) -> bool:
        """Wait for an item; False after the last one."""
        while not self._waiting:
            if self._ended:
                return False
            await self._filled.wait()
        return True

    def take(self) -> T | None:
        """The next item; None if there is none now."""
        if not self._waiting:
            return None
        if len(self._waiting) == self._ahead + 1:
            self._emptied.set()
        return self._waiting.popleft()

    def _wake(self) -> None:
        filled, self._filled = self._filled, anyio.Event()
        filled.set()
