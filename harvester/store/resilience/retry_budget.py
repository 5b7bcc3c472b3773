"""A token bucket that limits the retries of a process, so that an outage does not multiply its load.

As in the standard retry mode of the AWS SDKs: 500 tokens; a retry costs 5, after a timeout 10; a success
returns 1, a successful retry what it cost. An SDK's call fails when the bucket is empty; here it waits,
because tokens also come back slowly with time.
"""

import asyncio

import anyio

from harvester.errors import StoreError, TimedOutError

RETRY_COST = 5
TIMEOUT_COST = 10


def retry_cost(error: StoreError) -> int:
    """Tokens that a retry after this error costs."""
    return TIMEOUT_COST if isinstance(error, TimedOutError) else RETRY_COST


class RetryBudget:
    """A bucket of tokens, one for all stores of a process.

    Args:
        capacity: The most tokens, and the number at the start.
        per_second: Tokens that come back with time; 10 are two retries per second.
    """

    def __init__(self, capacity: int = 500, *, per_second: float = 10.0) -> None:
        self._capacity = capacity
        self._per_second = per_second
        self._clock = asyncio.get_running_loop().time
        self._tokens = float(capacity)
        self._filled_at = self._clock()
        self._queue = anyio.Lock()
        self._paid: anyio.Event | None = None

    @property
    def tokens(self) -> float:
        """How many tokens there are now."""
        now = self._clock()
        self._tokens = min(self._capacity, self._tokens + (now - self._filled_at) * self._per_second)
        self._filled_at = now
        return self._tokens

    def succeeded(self, last_cost: int = 0) -> None:
        """Return tokens for a success.

        Args:
            last_cost: What the successful retry cost; 0 for a first attempt.
        """
        if self._tokens < self._capacity:
            self._tokens = min(self._capacity, self._tokens + max(1, last_cost))
        if self._paid is not None:
            self._paid.set()

    async def take(self, cost: int, patience_seconds: float) -> bool:
        """Take tokens for one retry, after the retries that came before.

        Returns:
            False if there were none within the patience.
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
        """Wait until time, or perhaps a success, has paid for a retry."""
        self._paid = anyio.Event()
        with anyio.move_on_after((cost - self._tokens) / self._per_second):
            await self._paid.wait()
        self._paid = None

    def _took(self, cost: int) -> bool:
        if self.tokens < cost:
            return False
        self._tokens -= cost
        return True
