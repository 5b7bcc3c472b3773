"""Detects that a whole endpoint is down, and then lets one request at a time test whether it is back."""

import asyncio
import random

import anyio

from harvester.errors import EndpointDownError, StoreError

_FAILURES = 10  # in a row, and
_SILENT_SECONDS = 1.0  # without a success since the first of them
_FIRST_PROBE_SECONDS = 1.0
_LONGEST_PROBE_SECONDS = 15.0


class CircuitBreaker:
    """The state of one endpoint: closed while it responds, open while it is down.

    It opens after ten failures in a row over at least a second. While it is open, one request at a time is
    let through as a probe; the wait before the next probe doubles from 1 s to 15 s.

    Args:
        name: The endpoint, for messages.

    Attributes:
        is_open: Whether the endpoint is down.
        has_responded: Whether it ever responded.
        failing_since: When the present failures began, by the event loop's clock, if there are any.
    """

    def __init__(self, name: str) -> None:
        self.is_open = self.has_responded = False
        self.failing_since: float | None = None
        self._name = name
        self._clock = asyncio.get_running_loop().time
        self._failures = 0
        self._probing = False
        self._probe_at = 0.0
        self._probe_wait = _FIRST_PROBE_SECONDS
        self._last: StoreError | None = None
        self._changed = anyio.Event()

    @property
    def wants_probe(self) -> bool:
        """Whether the next request would be a probe."""
        return self.is_open and not self._probing and self._clock() >= self._probe_at

    def succeeded(self) -> None:
        """Record a response of the endpoint, even a 404."""
        self.has_responded = True
        if self._failures:
            self._failures = 0
            self.failing_since = self._last = None
        if self.is_open:
            self.is_open = False
            self._probing = False
            self._wake()

    def failed(self, error: StoreError) -> None:
        """Record a failure of the endpoint or of the network."""
        now = self._clock()
        self._failures += 1
        self._last = error
        if self.failing_since is None:
            self.failing_since = now
        silent = now - self.failing_since >= _SILENT_SECONDS
        if not self.is_open and self._failures >= _FAILURES and silent:
            self.is_open = True
            self._probe_wait = _FIRST_PROBE_SECONDS
            self._set_next_probe()

    def probe_ended(self) -> None:
        """End a probe; unless it succeeded, another request may be the next one."""
        if self.is_open and self._probing:
            self._probing = False
            self._probe_wait = min(2 * self._probe_wait, _LONGEST_PROBE_SECONDS)
            self._set_next_probe()
            self._wake()

    async def wait_until_closed(self, deadline: float) -> bool:
        """Wait until the endpoint is back, or until the caller may probe it.

        Args:
            deadline: When to give up, by the event loop's clock.

        Returns:
            Whether the caller is the probe and has to call `probe_ended`.

        Raises:
            EndpointDownError: The deadline passed.
        """
        while self.is_open:
            now = self._clock()
            if not self._probing and now >= self._probe_at:
                self._probing = True
                return True
            if now >= deadline:
                raise self._down()
            until = deadline if self._probing else min(deadline, self._probe_at)
            with anyio.move_on_after(until - now):
                await self._changed.wait()
        return False

    def _set_next_probe(self) -> None:
        # Half of the wait is random, so that the processes of a crawl do not probe at the same moment.
        self._probe_at = self._clock() + self._probe_wait * random.uniform(0.5, 1.0)  # noqa: S311 - no secret

    def _wake(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    def _down(self) -> EndpointDownError:
        now = self._clock()
        seconds = now - (now if self.failing_since is None else self.failing_since)
        cause = "" if self._last is None else f"; last error: {self._last.message}"
        error = EndpointDownError(
            f"{self._name} has not responded for {seconds:.0f} s; this object was given up{cause}",
            status=None if self._last is None else self._last.status,
        )
        error.attempts = error.requests = 0
        error.__cause__ = self._last
        return error
