"""How many requests a second may begin: evenly spaced, and for Cloud Storage growing no faster than asked."""

import math
import time
from collections.abc import Callable

import anyio

# Late wake-ups are made good within this time, so that the rate holds; more would be a burst.
_CATCH_UP_SECONDS = 0.02


class RateLimiter:
    """Gives each request its moment, one every 1/rate seconds.

    Args:
        per_second: The rate.
        clock: Seconds that only grow.
    """

    def __init__(self, per_second: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        if not per_second > 0:
            raise ValueError(f"no request ever begins at {per_second} a second")
        self.per_second = per_second
        self._clock = clock
        self._next = -math.inf

    async def turn(self) -> None:
        """Wait until the next request may begin."""
        now = self._clock()
        moment = max(self._next, now - _CATCH_UP_SECONDS)
        self._next = moment + 1.0 / self.per_second
        if moment > now:
            await anyio.sleep(moment - now)


class Ramp(RateLimiter):
    """A pace that doubles at most every 20 minutes, and only where it is used.

    Cloud Storage asks for this above about 5,000 reads (listings included) a second and bucket, while it
    spreads a bucket's load over more servers: https://cloud.google.com/storage/docs/request-rate

    Args:
        per_second: The first rate.
        clock: Seconds that only grow.
    """

    doubling_seconds = 20 * 60.0

    def __init__(self, per_second: float = 5000.0, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(per_second, clock=clock)
        self._since = clock()
        self._begun = 0

    async def turn(self) -> None:
        """Wait until the next request may begin."""
        self._begun += 1
        seconds = self._clock() - self._since
        if seconds >= self.doubling_seconds:
            # A bucket that served far less meanwhile has had no reason to spread.
            if self._begun / seconds >= 0.5 * self.per_second:
                self.per_second *= 2.0
            self._since += seconds
            self._begun = 0
        await super().turn()
