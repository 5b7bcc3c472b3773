"""Sends a request a second time when its response takes longer than 99 of 100; the first response is taken.

S3's guidelines advise it against tail latency. Two bounds hold, because in a slow minute every request is
among the slowest: at most one hedge for 50 requests, and only where a slot is free.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import anyio

from harvester.errors import StoreError, ungrouped

T = TypeVar("T")

_SAMPLES = 256
_LEAST_SAMPLES = 100
_SORT_EVERY = 32
_HEDGES_PER_REQUEST = 0.02
_MOST_SAVED_HEDGES = 10.0
_RECHECK_SECONDS = 0.1


@dataclass(slots=True)
class _Latencies:
    """The latencies of the last responses of about one size."""

    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=_SAMPLES))
    added: int = 0
    percentile_99: float | None = None


class HedgeTimer:
    """Knows how long a slow response takes at one endpoint, and how many hedges are allowed."""

    def __init__(self) -> None:
        self._latencies: dict[int, _Latencies] = {}
        self._allowance = 1.0

    def record(self, seconds: float, size: int) -> None:
        """Count a response and its number of bytes."""
        self._allowance = min(_MOST_SAVED_HEDGES, self._allowance + _HEDGES_PER_REQUEST)
        latencies = self._latencies.setdefault(size.bit_length() >> 1, _Latencies())
        latencies.seconds.append(seconds)
        latencies.added += 1
        if len(latencies.seconds) >= _LEAST_SAMPLES and latencies.added % _SORT_EVERY == 0:
            ordered = sorted(latencies.seconds)
            latencies.percentile_99 = ordered[len(ordered) * 99 // 100]

    def delay(self, size: int) -> float | None:
        """Seconds until a request of that size is hedged; None while too few responses are known."""
        latencies = self._latencies.get(size.bit_length() >> 1)
        return None if latencies is None else latencies.percentile_99

    def may_hedge(self) -> bool:
        """Whether a hedge is allowed now."""
        return self._allowance >= 1.0

    def hedged(self) -> None:
        """Count a hedge."""
        self._allowance -= 1.0


@dataclass(slots=True)
class HedgedRequest(Generic[T]):
    """One request and its hedge, if it was slow.

    Attributes:
        hedged: Whether it was sent twice.
        hedge_won: Whether the second response came first.
        errors: Errors of the requests that failed.
    """

    hedged: bool = False
    hedge_won: bool = False
    errors: list[StoreError] = field(default_factory=list)
    _responses: list[T] = field(default_factory=list)
    _running: int = 0

    @property
    def was_cancelled(self) -> bool:
        """Whether one of the two was cancelled; how many bytes it had received is not known."""
        return self.hedged and not self.errors

    async def run(
        self, request: Callable[[], Awaitable[T]], delay: float, may_hedge: Callable[[], bool]
    ) -> T:
        """Send the request, and again after `delay` seconds, or as soon after that as `may_hedge` allows.

        Raises:
            StoreError: The last error, if both failed.
        """
        with ungrouped():
            async with anyio.create_task_group() as tasks:
                self._running = 1
                tasks.start_soon(self._send, request, tasks.cancel_scope, False)
                await anyio.sleep(delay)
                while self._running and not may_hedge():  # noqa: ASYNC110 - a slot, or the allowance
                    await anyio.sleep(max(delay, _RECHECK_SECONDS))
                if self._running:
                    self.hedged = True
                    self._running += 1
                    tasks.start_soon(self._send, request, tasks.cancel_scope, True)
        if not self._responses:
            raise self.errors.pop()
        return self._responses[0]

    async def _send(
        self,
        request: Callable[[], Awaitable[T]],
        both: anyio.CancelScope,
        is_hedge: bool,  # noqa: FBT001 - start_soon passes by position
    ) -> None:
        try:
            response = await request()
        except StoreError as error:
            self.errors.append(error)
        else:
            if not self._responses:
                self._responses.append(response)
                self.hedge_won = is_hedge
        self._running -= 1
        if self._responses or not self._running:
            both.cancel()
