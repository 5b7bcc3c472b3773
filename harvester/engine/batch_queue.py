"""Hands things out to many readers, a batch at a time, and not before most of the last batch is taken."""

from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

import anyio

T = TypeVar("T")


class BatchQueue(Generic[T]):
    """Between who finds things and who reads them.

    A stream of anyio's does the same one by one, with a turn of the event loop for each: a twentieth of
    what harvesting an instance costs.

    Args:
        ahead: The next batch is taken when no more than so many are left of those before.
    """

    def __init__(self, ahead: int) -> None:
        self._ahead = ahead
        self._waiting: deque[T] = deque()
        self._ended = False
        self._filled = anyio.Event()
        self._emptied = anyio.Event()

    async def put(self, batch: Iterable[T]) -> None:
        """Hand out a batch, when there is room; one batch at a time waits."""
        while len(self._waiting) > self._ahead:
            self._emptied = anyio.Event()
            await self._emptied.wait()
        self._waiting.extend(batch)
        self._wake()

    def end(self) -> None:
        """Nothing more comes."""
        self._ended = True
        self._wake()

    async def take(self) -> T | None:
        """The next one; None when there is nothing more."""
        while not self._waiting:
            if self._ended:
                return None
            await self._filled.wait()
        if len(self._waiting) == self._ahead + 1:
            self._emptied.set()
        return self._waiting.popleft()

    def _wake(self) -> None:
        filled, self._filled = self._filled, anyio.Event()
        filled.set()
