"""Limits concurrent requests: a fixed total for the process, and an adaptive share of it for each endpoint.

An endpoint's limit follows additive increase, multiplicative decrease, as in TCP:

- A response adds 1/limit while at least half of the slots are in use: one slot per round trip. Before the
  first decrease, and after an outage, it adds 1: the limit doubles per round trip.
- A 429 or 503 multiplies the limit by 0.7, once per round trip: requests sent before the last decrease do
  not count again.
- A timeout, a broken connection or another 5xx takes half a slot. A round trip that fails as a whole halves
  the limit; a stray reset among hundreds of responses hardly changes it.
- Latency above the lowest seen, by more than twice that and more than 0.25 s, multiplies the limit by 0.8.
  Smaller rises come from the client's own queue or from the usual spread. Only responses of about one size
  are compared.
- What is lost in an outage says nothing about capacity: after it the limit doubles up to half of its
  former value.
"""

import asyncio
import math
from collections import deque

from harvester.errors import (
    ConnectionFailedError,
    ServerFaultError,
    StoreError,
    ThrottledError,
    TimedOutError,
)

FAULTS = (ThrottledError, ServerFaultError, ConnectionFailedError, TimedOutError)
"""Errors of an endpoint or of the network; any other error is a valid response."""

_START = 32
_THROTTLED_FACTOR = 0.7
_SLOW_FACTOR = 0.8
_FAULT_STEP = 0.5
_SLOW_SECONDS = 0.25
_SLOW_RATIO = 2.0
_FLOOR_SECONDS = 300.0
_SMOOTHING = 1 / 16


class RequestLimiter:
    """Bounds the concurrent requests of a process; endpoints with waiting requests take turns.

    Args:
        total: The most requests at once, over all endpoints.

    Attributes:
        total: The same.
        free: How many more requests may start.
        waiting: The endpoints with requests that wait.
    """

    def __init__(self, total: int) -> None:
        self.total = self.free = total
        self.waiting: dict[AdaptiveLimit, None] = {}

    def add_waiting(self, limit: "AdaptiveLimit") -> None:
        """Remember that requests wait for a slot of this endpoint."""
        self.waiting.setdefault(limit)

    def wake(self) -> None:
        """Give free slots to waiting requests, one endpoint after the other."""
        granted = bool(self.waiting)
        while granted and self.free:
            granted = False
            for limit in list(self.waiting):
                if not self.free:
                    break
                granted |= limit.grant()
                del self.waiting[limit]
                if limit.waiting:
                    self.waiting[limit] = None


class _LatencyFloor:
    """The lowest latency of one size of window, forgotten after some minutes because routes change."""

    __slots__ = ("_before", "_bound", "_floor", "_now", "_since")

    def __init__(self, now: float) -> None:
        self._since = now
        self._before = self._now = self._floor = self._bound = math.inf

    def excess(self, seconds: float, now: float) -> float:
        """How far a latency is above the floor; 1 is the bound above which it counts as slow."""
        if now - self._since > _FLOOR_SECONDS:
            self._since, self._before, self._now = now, self._now, math.inf
        if seconds < self._now:
            self._now = seconds
            self._floor = min(self._now, self._before)
            self._bound = max(_SLOW_RATIO * self._floor, _SLOW_SECONDS)
        return (seconds - self._floor) / self._bound


class AdaptiveLimit:
    """The request slots of one endpoint; the module's docstring has the rules.

    Args:
        limiter: Bounds all endpoints of the process.

    Attributes:
        slots: How many requests may be sent at once now.
        in_flight: How many are.
    """

    def __init__(self, limiter: RequestLimiter) -> None:
        self._limiter = limiter
        self._loop = asyncio.get_running_loop()
        self._clock = self._loop.time
        self._limit = float(min(limiter.total, _START))
        self._threshold = float(limiter.total)
        self._decreased_at = -math.inf
        self._last_good = self._limit
        self._slowness = 0.0
        self._floors: dict[int, _LatencyFloor] = {}
        self._queue: deque[asyncio.Future[None]] = deque()
        self.slots = int(self._limit)
        self.in_flight = 0

    @property
    def waiting(self) -> int:
        """How many requests wait for a slot."""
        return len(self._queue)

    async def acquire(self) -> None:
        """Take a slot, after the requests that came before."""
        if self.acquire_if_free():
            return
        # A request waits here most often, and an event of anyio takes five times as long as a future.
        granted = self._loop.create_future()
        self._queue.append(granted)
        self._limiter.add_waiting(self)
        try:
            await granted
        except BaseException:
            if not granted.cancelled():
                self.release()
            elif granted in self._queue:
                self._queue.remove(granted)
            raise

    def acquire_if_free(self) -> bool:
        """Take a slot if one is free and no request waits for it."""
        if self._queue or self.in_flight >= self.slots or not self._limiter.free:
            return False
        self.in_flight += 1
        self._limiter.free -= 1
        return True

    def release(self) -> None:
        """Give a slot back."""
        self.in_flight -= 1
        self._limiter.free += 1
        if self._limiter.waiting:
            self._limiter.wake()

    def grant(self) -> bool:
        """Give a free slot to the request that waits longest; for the limiter."""
        while self._queue and self.in_flight < self.slots:
            granted = self._queue.popleft()
            if not granted.cancelled():
                self.in_flight += 1
                self._limiter.free -= 1
                granted.set_result(None)
                return True
        return False

    def succeeded(self, started: float, now: float, size: int) -> None:
        """Adapt to a response.

        Args:
            started: When its request was sent, by the event loop's clock.
            now: When it was complete.
            size: How many bytes were requested.
        """
        scale = size.bit_length() >> 1
        floor = self._floors.get(scale)
        if floor is None:
            floor = self._floors[scale] = _LatencyFloor(now)
        self._slowness += (floor.excess(now - started, now) - self._slowness) * _SMOOTHING
        if self._slowness > 1.0:
            if started >= self._decreased_at:
                self._decrease(_SLOW_FACTOR)
                self._slowness = 0.5  # the next responses decide again
            return
        limit = self._limit
        if 2.0 * limit < self._last_good:  # the first success after an outage
            self._threshold = self._last_good / 2.0
        self._last_good = limit
        # Unused slots do not show how many the endpoint could serve.
        if limit < self._limiter.total and 2 * self.in_flight >= self.slots:
            self._set(limit + (1.0 if limit < self._threshold else 1.0 / limit))

    def failed(self, error: StoreError, started: float) -> None:
        """Adapt to an error of the endpoint or of the network.

        Args:
            error: What failed.
            started: When the request was sent, by the event loop's clock.
        """
        if isinstance(error, ThrottledError):
            if started >= self._decreased_at:
                self._decrease(_THROTTLED_FACTOR)
        elif isinstance(error, FAULTS):
            self._set(self._limit - _FAULT_STEP)
            self._threshold = min(self._threshold, self._limit)

    def _decrease(self, factor: float) -> None:
        self._decreased_at = self._clock()
        self._set(self._limit * factor)
        self._threshold = self._limit

    def _set(self, limit: float) -> None:
        self._limit = max(1.0, min(limit, float(self._limiter.total)))
        slots = int(self._limit)
        if slots != self.slots:
            grew, self.slots = slots > self.slots, slots
            if grew and self._queue:
                self._limiter.wake()
