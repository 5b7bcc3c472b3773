"""How many requests one endpoint gets at once: more while it answers well, fewer when it does not.

Additive increase, multiplicative decrease, as TCP does it:

- While all slots are in use, a success adds 1/limit, so that a round trip adds one slot. Until the first
  decrease, and after an outage, it adds a whole one: each round trip doubles the limit.
- 429 and 503 ask for fewer requests: the limit falls to 0.7 of itself. What was sent before the fall does
  not count again, so that a round trip costs one fall.
- Timeouts, broken connections and other 5xx take half a slot each: a round trip that fails as a whole
  halves the limit, a stray reset among hundreds of answers does it no harm.
- Latency that rises above the least that was seen, by more than twice that and more than 0.25 s, lets the
  limit fall to 0.8: less than that is the client's own queue, or a cloud's usual spread. Windows are
  compared with those of their own size only: a longer one takes longer.
- What is lost without any success between is an outage's doing and no capacity: afterwards the limit
  doubles back to half of what it was.
"""

import math
import time
from collections.abc import Callable

import anyio

from harvester.errors import (
    ConnectionFailedError,
    ServerFaultError,
    StoreError,
    ThrottledError,
    TimedOutError,
)

FAULTS = (ThrottledError, ServerFaultError, ConnectionFailedError, TimedOutError)
"""Errors that are the endpoint's or the way's to it; any other one is an answer."""

_THROTTLED_FACTOR = 0.7
_SLOW_FACTOR = 0.8
_FAULT_STEP = 0.5
_SLOW_SECONDS = 0.25
_SLOW_RATIO = 2.0
_FLOOR_SECONDS = 300.0
_SMOOTHING = 1 / 16


class _LatencyFloor:
    """The least latency of windows of about one size, forgotten after some minutes: routes change."""

    __slots__ = ("_before", "_now", "_since")

    def __init__(self, now: float) -> None:
        self._since = now
        self._before = self._now = math.inf

    def excess(self, seconds: float, now: float) -> float:
        """How far a latency is above the floor, in units of what is taken for slow."""
        if now - self._since > _FLOOR_SECONDS:
            self._since, self._before, self._now = now, self._now, math.inf
        self._now = min(self._now, seconds)
        floor = min(self._now, self._before)
        return (seconds - floor) / max(_SLOW_RATIO * floor, _SLOW_SECONDS)


class AdaptiveLimit:
    """The slots of one endpoint; see the module's docstring for how their number changes.

    Args:
        ceiling: The most slots there can be.
        start: How many there are at first.
        clock: Seconds that only grow.

    Attributes:
        limiter: The slots; its `total_tokens` follow the limit.
        waiting: How many calls stand in line for one.
    """

    def __init__(self, ceiling: int, start: int = 32, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._ceiling = ceiling
        self._clock = clock
        self._limit = float(min(ceiling, start))
        self._tokens = int(self._limit)
        self._threshold = float(ceiling)
        self._fell_at = -math.inf
        self._good = self._limit
        self._slowness = 0.0
        self._floors: dict[int, _LatencyFloor] = {}
        self.limiter = anyio.CapacityLimiter(self._tokens)
        self.waiting = 0

    @property
    def slots(self) -> int:
        """How many requests there may be at once, now."""
        return self._tokens

    @property
    def in_flight(self) -> int:
        """How many there are."""
        return self.limiter.borrowed_tokens

    async def acquire(self, turn: object) -> None:
        """Take a slot on behalf of `turn`, which holds no other; waits in line where none is free."""
        if self.acquire_if_free(turn):
            return
        self.waiting += 1
        try:
            await self.limiter.acquire_on_behalf_of(turn)
        finally:
            self.waiting -= 1

    def acquire_if_free(self, turn: object) -> bool:
        """Take a slot only where one is free and nobody is waiting for it."""
        # Asked first: an exception that is raised and caught costs as much as the rest.
        if self.waiting or self.limiter.borrowed_tokens >= self._tokens:
            return False
        self.limiter.acquire_on_behalf_of_nowait(turn)
        return True

    def release(self, turn: object) -> None:
        """Give the slot back."""
        self.limiter.release_on_behalf_of(turn)

    def succeeded(self, started: float, now: float, size: int) -> None:
        """Learn from an answer.

        Args:
            started: When its request was sent, by the clock.
            now: When it was complete.
            size: How many bytes were asked for; only answers of about one size are compared.
        """
        scale = size.bit_length() >> 1
        floor = self._floors.get(scale)
        if floor is None:
            floor = self._floors[scale] = _LatencyFloor(now)
        self._slowness += (floor.excess(now - started, now) - self._slowness) * _SMOOTHING
        if self._slowness > 1.0:
            if started >= self._fell_at:
                self._fall(_SLOW_FACTOR)
                self._slowness = 0.5  # the answers to come decide again
            return
        limit = self._limit
        if 2.0 * limit < self._good:  # the first success after an outage
            self._threshold = self._good / 2.0
        self._good = limit
        # Slots that nobody wants say nothing about how many would do.
        if limit < self._ceiling and 2 * self.limiter.borrowed_tokens >= self._tokens:
            self._set(limit + (1.0 if limit < self._threshold else 1.0 / limit))

    def failed(self, error: StoreError, started: float) -> None:
        """Learn from an error; one that is no fault of the endpoint's teaches nothing.

        Args:
            error: What went wrong.
            started: When the request was sent, by the clock.
        """
        if isinstance(error, ThrottledError):
            if started >= self._fell_at:
                self._fall(_THROTTLED_FACTOR)
        elif isinstance(error, FAULTS):
            self._set(self._limit - _FAULT_STEP)
            self._threshold = min(self._threshold, self._limit)

    def _fall(self, factor: float) -> None:
        self._fell_at = self._clock()
        self._set(self._limit * factor)
        self._threshold = self._limit

    def _set(self, limit: float) -> None:
        self._limit = max(1.0, min(limit, float(self._ceiling)))
        tokens = int(self._limit)
        if tokens != self._tokens:
            self._tokens = tokens
            self.limiter.total_tokens = tokens
