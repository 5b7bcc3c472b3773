"""Tells when an endpoint is down as a whole, and lets one call at a time find out whether it is back."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import anyio

from harvester.errors import EndpointDownError, StoreError


@dataclass(frozen=True, slots=True)
class CircuitRules:
    """When an endpoint counts as down, and how often it is probed then.

    Args:
        failures: So many requests in a row failed,
        silent_seconds: and none succeeded for so long since the first of them.
        probe_seconds: The longest wait before the first probe; each further one doubles it.
        longest_probe_seconds: The bound of these waits.
    """

    failures: int = 10
    silent_seconds: float = 1.0
    probe_seconds: float = 1.0
    longest_probe_seconds: float = 15.0


DEFAULT_CIRCUIT = CircuitRules()


class Circuit:
    """The state of one endpoint: closed while it answers, open while it is down.

    Args:
        name: The endpoint, for messages.
        rules: When it opens and how it is probed.
        clock: Seconds that only grow.

    Attributes:
        is_open: Whether the endpoint is down.
    """

    def __init__(
        self,
        name: str,
        rules: CircuitRules = DEFAULT_CIRCUIT,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.is_open = False
        self._name = name
        self._rules = rules
        self._clock = clock
        self._failures = 0
        self._failing_since = 0.0
        self._probing = False
        self._probe_at = 0.0
        self._probe_wait = rules.probe_seconds
        self._last: StoreError | None = None
        self._changed = anyio.Event()

    @property
    def wants_probe(self) -> bool:
        """Whether it is time for a call to find out if the endpoint is back; who enters next is that call."""
        return self.is_open and not self._probing and self._clock() >= self._probe_at

    def succeeded(self) -> None:
        """The endpoint answered, if only that it has no such object."""
        if self._failures:
            self._failures = 0
            self._last = None
        if self.is_open:
            self.is_open = False
            self._probing = False
            self._wake()

    def failed(self, error: StoreError) -> None:
        """A request failed by the endpoint's fault."""
        now = self._clock()
        self._failures += 1
        self._last = error
        if self._failures == 1:
            self._failing_since = now
        many = self._failures >= self._rules.failures
        if not self.is_open and many and now - self._failing_since >= self._rules.silent_seconds:
            self.is_open = True
            self._probe_wait = self._rules.probe_seconds
            self._set_next_probe()

    def probe_ended(self) -> None:
        """The probe is over; if it did not close the circuit, another call may be the next one."""
        if self.is_open and self._probing:
            self._probing = False
            self._probe_wait = min(2 * self._probe_wait, self._rules.longest_probe_seconds)
            self._set_next_probe()
            self._wake()

    async def passage(self, deadline: float) -> bool:
        """Wait until the endpoint is back, or until it is the caller's turn to probe it.

        Args:
            deadline: When to wait no longer, by the clock.

        Returns:
            Whether the caller is the probe: then it has to call `probe_ended`.

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
        # Half of it is drawn, so that the processes of a crawl do not probe in step.
        self._probe_at = self._clock() + self._probe_wait * random.uniform(0.5, 1.0)  # noqa: S311 - no secret

    def _wake(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    def _down(self) -> EndpointDownError:
        seconds = self._clock() - self._failing_since
        said = "" if self._last is None else f"; at last: {self._last.message}"
        error = EndpointDownError(
            f"{self._name} gave no answer for {seconds:.0f} s and is asked no more for this object{said}",
            status=None if self._last is None else self._last.status,
        )
        error.attempts = error.requests = 0
        return error
