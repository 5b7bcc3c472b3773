"""One endpoint's state, shared by all that ask it: its slots, its pace, whether it is down, what it did.

An endpoint is what answers or refuses as one: a bucket of S3 or Cloud Storage, or a host.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import anyio

from harvester.errors import BadResponseError, StoreError
from harvester.model import ObjectRef
from harvester.store.resilience.circuit_breaker import DEFAULT_CIRCUIT, Circuit, CircuitRules
from harvester.store.resilience.concurrency import FAULTS, AdaptiveLimit
from harvester.store.resilience.hedging import HedgeTimer
from harvester.store.resilience.rate_limit import Ramp, RateLimiter
from harvester.store.telemetry import EndpointTelemetry, Recorder, Telemetry

# A list of addresses may name any number of hosts; those beyond are forgotten when nobody asks them.
_MOST_ENDPOINTS = 1000
_FORGOTTEN = "(other endpoints)"

# Wrong answers in a row that are a server's nature: one that was never right, and one that was.
_NEVER_RIGHT = 3
_NOT_RIGHT_ANY_MORE = 8


@dataclass(frozen=True, slots=True)
class EndpointRules:
    """What holds for every endpoint of a process.

    Args:
        ceiling: Requests at once, at one endpoint and at all of them.
        start: Requests at once at an endpoint that nothing is known of.
        requests_per_second: Of this process, over all endpoints; 0 is no bound.
        ramp_per_second: The first rate of this process at each `gs` bucket; 0 is no bound.
        circuit: When an endpoint counts as down.
        clock: Seconds that only grow.
    """

    ceiling: int = 256
    start: int = 32
    requests_per_second: float = 0.0
    ramp_per_second: float = 0.0
    circuit: CircuitRules = DEFAULT_CIRCUIT
    clock: Callable[[], float] = time.monotonic


@dataclass(eq=False, slots=True)
class Turn:
    """One call's place at an endpoint.

    Attributes:
        deadline: When it waits no longer for the endpoint to come back; None while it never had to.
    """

    deadline: float | None = None


class Endpoint:
    """One endpoint's state; a call goes through `enter`, then `succeeded` or `failed`, then `leave`.

    Args:
        name: As messages and records call it.
        rules: Bounds and times.
        ceiling: The slots of all endpoints together.
        paces: When a request may begin.

    Attributes:
        limit: The slots.
        circuit: Whether it is down.
        recorder: What it did.
        hedging: How long is long.
        calls: How many there are, those that wait included.
    """

    def __init__(
        self, name: str, rules: EndpointRules, ceiling: anyio.CapacityLimiter, paces: tuple[RateLimiter, ...]
    ) -> None:
        self.name = name
        self.limit = AdaptiveLimit(rules.ceiling, rules.start, clock=rules.clock)
        self.circuit = Circuit(name, rules.circuit, clock=rules.clock)
        self.recorder = Recorder()
        self.hedging = HedgeTimer()
        self.calls = 0
        self._ceiling = ceiling
        self.paces = paces
        self._clock = rules.clock
        self._wrong_in_row = 0
        self._was_right = False

    @property
    def load(self) -> float:
        """How many calls there are for each slot, those in line included."""
        return (self.limit.in_flight + self.limit.waiting + 1) / (self.limit.slots + 1)

    @property
    def is_always_wrong(self) -> bool:
        """Whether its answers are no ranges by its nature: it ignores them, or encodes every body."""
        return self._wrong_in_row >= (_NOT_RIGHT_ANY_MORE if self._was_right else _NEVER_RIGHT)

    async def enter(self, turn: Turn, patience_seconds: float) -> bool:
        """Wait for the endpoint to be up, for a slot and for the pace.

        Args:
            turn: Holds the slot, until `leave`.
            patience_seconds: How long to wait for an endpoint that is down, over all entries of a turn.

        Returns:
            Whether the call is a probe of an endpoint that is down; `leave` ends it.

        Raises:
            EndpointDownError: It stayed down.
        """
        while True:
            probing = self.circuit.is_open and await self._pass(turn, patience_seconds)
            try:
                await self.limit.acquire(turn)
            except BaseException:
                self._end_probe(probing=probing)
                raise
            if probing or not self.circuit.is_open:
                break
            self.limit.release(turn)  # it went down while this call stood in line
        try:
            await self._begin(turn)
        except BaseException:
            self.limit.release(turn)
            self._end_probe(probing=probing)
            raise
        return probing

    async def _pass(self, turn: Turn, patience_seconds: float) -> bool:
        if turn.deadline is None:
            turn.deadline = self._clock() + patience_seconds
        return await self.circuit.passage(turn.deadline)

    def _end_probe(self, *, probing: bool) -> None:
        if probing:
            self.recorder.probes += 1
            self.circuit.probe_ended()

    def enter_if_free(self, turn: Turn) -> bool:
        """Take a slot only where nothing has to be waited for: as a hedge must, and most calls may."""
        if self.paces or self.circuit.is_open or not self.limit.acquire_if_free(turn):
            return False
        try:
            self._ceiling.acquire_on_behalf_of_nowait(turn)
        except anyio.WouldBlock:
            self.limit.release(turn)
            return False
        return True

    def leave(self, turn: Turn, *, probing: bool = False) -> None:
        """Give the slot back, and end the probe."""
        self.limit.release(turn)
        self._ceiling.release_on_behalf_of(turn)
        self._end_probe(probing=probing)

    def succeeded(self, started: float, now: float, size: int) -> None:
        """Learn from an answer, to a request for `size` bytes (0 where that is not known)."""
        self.circuit.succeeded()
        self.recorder.sample(now, self.limit.in_flight)
        self.limit.succeeded(started, now, size)
        if self._wrong_in_row or not self._was_right:
            self._wrong_in_row = 0
            self._was_right = True

    def failed(self, error: StoreError, started: float) -> None:
        """Learn from an error."""
        self.recorder.failed(error)
        self.recorder.sample(self._clock(), self.limit.in_flight)
        if isinstance(error, FAULTS):
            self.circuit.failed(error)
            self.limit.failed(error, started)
            return
        self.circuit.succeeded()  # it answered, if not what was hoped for
        if isinstance(error, BadResponseError):
            self._wrong_in_row += 1

    async def _begin(self, turn: Turn) -> None:
        try:
            self._ceiling.acquire_on_behalf_of_nowait(turn)
        except anyio.WouldBlock:
            await self._ceiling.acquire_on_behalf_of(turn)
        try:
            for pace in self.paces:
                await pace.turn()
        except BaseException:
            self._ceiling.release_on_behalf_of(turn)
            raise


class Endpoints:
    """All endpoints that a process asks, each made when it is first asked.

    Args:
        rules: What holds for every one.
    """

    def __init__(self, rules: EndpointRules | None = None) -> None:
        self.rules = EndpointRules() if rules is None else rules
        self._ceiling = anyio.CapacityLimiter(self.rules.ceiling)
        rate = self.rules.requests_per_second
        self._paces = (RateLimiter(rate, clock=self.rules.clock),) if rate else ()
        self._endpoints: dict[tuple[str, str], Endpoint] = {}
        self._forgotten = EndpointTelemetry()

    def of(self, ref: ObjectRef) -> Endpoint:
        """The endpoint that an object is asked of."""
        where = (ref.scheme, ref.bucket)
        found = self._endpoints.get(where)
        return self._add(where) if found is None else found

    def scale(self, factor: float) -> None:
        """Let requests begin at so many times the rate, at those that are known and those to come."""
        rules = self.rules
        self.rules = replace(
            rules,
            requests_per_second=rules.requests_per_second * factor,
            ramp_per_second=rules.ramp_per_second * factor,
        )
        for pace in {*self._paces, *(pace for one in self._endpoints.values() for pace in one.paces)}:
            pace.per_second *= factor

    def telemetry(self) -> Telemetry:
        """What all of them did so far."""
        found = {one.name: one.recorder.snapshot() for one in self._endpoints.values()}
        if self._forgotten.requests:
            found[_FORGOTTEN] = self._forgotten
        return Telemetry(found)

    def _add(self, where: tuple[str, str]) -> Endpoint:
        if len(self._endpoints) >= _MOST_ENDPOINTS:
            self._forget()
        paces = self._paces
        if where[0] == "gs" and self.rules.ramp_per_second:
            paces = (*paces, Ramp(self.rules.ramp_per_second, clock=self.rules.clock))
        endpoint = Endpoint(f"{where[0]}://{where[1]}", self.rules, self._ceiling, paces)
        self._endpoints[where] = endpoint
        return endpoint

    def _forget(self) -> None:
        """Drop the older half of those that nobody asks now; what they did stays in the record."""
        idle = [where for where, one in self._endpoints.items() if not one.calls]
        for where in idle[: _MOST_ENDPOINTS // 2]:
            self._forgotten = self._forgotten.merged(self._endpoints.pop(where).recorder.snapshot())
