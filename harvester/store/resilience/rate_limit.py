"""Limits the requests that start per second, evenly spaced; for Cloud Storage the rate grows slowly."""

import asyncio
import math

import anyio

# A late wake-up is compensated within this time to keep the rate; more would be a burst.
_CATCH_UP_SECONDS = 0.02


class RateLimiter:
    """Lets one request start every 1/rate seconds.

    Args:
        per_second: The rate, above 0.
    """

    def __init__(self, per_second: float) -> None:
        if not per_second > 0:
            raise ValueError(f"at {per_second} requests per second none ever starts")
        self.per_second = per_second
        self._clock = asyncio.get_running_loop().time
        self._next = -math.inf

    async def wait(self) -> None:
        """Wait until the next request may start."""
        now = self._clock()
        start = max(self._next, now - _CATCH_UP_SECONDS)
        self._next = start + 1.0 / self.per_second
        if start > now:
            await anyio.sleep(start - now)


class RampingRateLimiter(RateLimiter):
    """A rate that doubles at most every 20 minutes, and only while at least half of it is used.

    Cloud Storage asks for this above about 5,000 reads (listings included) per second and bucket, while it
    spreads a bucket's load over more servers: https://cloud.google.com/storage/docs/request-rate
    """

    doubling_seconds = 20 * 60.0

    def __init__(self, per_second: float) -> None:
        super().__init__(per_second)
        self._since = self._clock()
        self._started = 0

    async def wait(self) -> None:
        """Wait until the next request may start."""
        self._started += 1
        seconds = self._clock() - self._since
        if seconds >= self.doubling_seconds:
            if self._started / seconds >= 0.5 * self.per_second:
                self.per_second *= 2.0
            self._since += seconds
            self._started = 0
        await super().wait()
