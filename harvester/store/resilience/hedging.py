"""Asks a second time where an answer takes longer than 99 in 100 do; the first one to come is taken.

So S3's guidelines advise for latency: reissue the slowest 1 %. Hedges have bounds of their own, as a slow
minute makes every request one of the slowest: at most one for 50 requests, and only where a slot is free.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import anyio

from harvester.errors import StoreError, ungrouped

T = TypeVar("T")

_REMEMBERED = 256
_LEAST_KNOWN = 100
_SORT_EVERY = 32
_SHARE = 0.02
_MOST_SAVED = 10.0
_LOOK_AGAIN_SECONDS = 0.1


@dataclass(slots=True)
class _Recent:
    """The latencies of the last answers of about one size."""

    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    added: int = 0
    slow: float | None = None


class HedgeTimer:
    """Knows how long is long at one endpoint, and how many hedges there may be."""

    def __init__(self) -> None:
        self._recent: dict[int, _Recent] = {}
        self._allowance = 1.0

    def answered(self, seconds: float, size: int) -> None:
        """Learn from an answer to a request for so many bytes."""
        self._allowance = min(_MOST_SAVED, self._allowance + _SHARE)
        recent = self._recent.setdefault(size.bit_length() >> 1, _Recent())
        recent.seconds.append(seconds)
        recent.added += 1
        if len(recent.seconds) >= _LEAST_KNOWN and recent.added % _SORT_EVERY == 0:
            ordered = sorted(recent.seconds)
            recent.slow = ordered[len(ordered) * 99 // 100]

    def delay(self, size: int) -> float | None:
        """After how many seconds to ask again; None while too little is known."""
        recent = self._recent.get(size.bit_length() >> 1)
        return None if recent is None else recent.slow

    def may_hedge(self) -> bool:
        """Whether the allowance has one left."""
        return self._allowance >= 1.0

    def hedged(self) -> None:
        """Take one from the allowance."""
        self._allowance -= 1.0


@dataclass(slots=True)
class Race(Generic[T]):
    """One request and, if it takes long, its double.

    Attributes:
        hedged: Whether there was a double.
        hedge_won: Whether it was first.
        errors: Of those that failed.
    """

    hedged: bool = False
    hedge_won: bool = False
    errors: list[StoreError] = field(default_factory=list)
    _answers: list[T] = field(default_factory=list)
    _running: int = 0

    @property
    def cut_off(self) -> bool:
        """Whether one of the two was cancelled; what it had received nobody knows."""
        return self.hedged and not self.errors

    async def run(
        self, request: Callable[[], Awaitable[T]], delay: float, may_double: Callable[[], bool]
    ) -> T:
        """Ask, and ask again after `delay` seconds, or as soon after that as it may be.

        Raises:
            StoreError: The last one's error, where none answered.
        """
        with ungrouped():
            async with anyio.create_task_group() as tasks:
                self._running = 1
                tasks.start_soon(self._ask, request, tasks.cancel_scope, False)
                await anyio.sleep(delay)
                while self._running and not may_double():  # noqa: ASYNC110 - a slot, or the allowance
                    await anyio.sleep(max(delay, _LOOK_AGAIN_SECONDS))
                if self._running:
                    self.hedged = True
                    self._running += 1
                    tasks.start_soon(self._ask, request, tasks.cancel_scope, True)
        if not self._answers:
            raise self.errors.pop()
        return self._answers[0]

    async def _ask(
        self,
        request: Callable[[], Awaitable[T]],
        race: anyio.CancelScope,
        is_double: bool,  # noqa: FBT001 - start_soon passes by position
    ) -> None:
        try:
            answer = await request()
        except StoreError as error:
            self.errors.append(error)
        else:
            if not self._answers:
                self._answers.append(answer)
                self.hedge_won = is_double
        self._running -= 1
        if self._answers or not self._running:
            race.cancel()
