"""A purse from which all retries of a process are paid, so that an outage does not multiply its load.

As in the standard retry mode of the AWS SDKs: a bucket of 500 tokens; a retry costs 5, one after a
timeout 10; a success gives back 1, and one that took a retry what that retry cost. Where an SDK's call
would fail when the bucket is empty, a crawl would rather wait than lose an object: tokens also come
back with time, slowly, and a retry waits its turn for them.
"""

import time
from collections.abc import Callable

import anyio

from harvester.errors import StoreError, TimedOutError

RETRY_COST = 5
TIMEOUT_COST = 10


def retry_cost(error: StoreError) -> int:
    """Tokens that asking again after this error takes."""
    return TIMEOUT_COST if isinstance(error, TimedOutError) else RETRY_COST


class RetryBudget:
    """A bucket of tokens, one for all stores of a process.

    Args:
        capacity: The most that it holds, and what it starts with.
        per_second: How many tokens come back with time; 10 are two retries a second.
        clock: Seconds that only grow.
    """

    def __init__(
        self, capacity: int = 500, *, per_second: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._capacity = capacity
        self._per_second = per_second
        self._clock = clock
        self._tokens = float(capacity)
        self._filled_at = clock()
        self._queue = anyio.Lock()
        self._paid: anyio.Event | None = None

    @property
    def tokens(self) -> float:
        """What it holds now."""
        now = self._clock()
        self._tokens = min(self._capacity, self._tokens + (now - self._filled_at) * self._per_second)
        self._filled_at = now
        return self._tokens

    def succeeded(self, last_cost: int = 0) -> None:
        """Give back for a success.

        Args:
            last_cost: What the retry that succeeded cost; 0 for a first attempt.
        """
        self._tokens = min(self._capacity, self._tokens + max(1, last_cost))
        if self._paid is not None:
            self._paid.set()

    async def take(self, cost: int, patience_seconds: float) -> bool:
        """Take tokens for one retry, waiting for them in turn.

        Returns:
            Whether they were taken; False when patience was over first.
        """
        if not self._queue.locked() and self._took(cost):
            return True
        with anyio.move_on_after(patience_seconds):
            async with self._queue:
                while not self._took(cost):
                    await self._wait_for(cost)
                return True
        return False

    async def _wait_for(self, cost: int) -> None:
        """Wait until time has paid for a retry, or until a success may have."""
        self._paid = anyio.Event()
        with anyio.move_on_after((cost - self._tokens) / self._per_second):
            await self._paid.wait()
        self._paid = None

    def _took(self, cost: int) -> bool:
        if self.tokens < cost:
            return False
        self._tokens -= cost
        return True
