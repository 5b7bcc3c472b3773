"""Keeps the state of each endpoint: its request slots, its rate, whether it is down, and what it did.

An endpoint is what responds or fails as one: a bucket of S3 or Cloud Storage, or a host.
"""

import asyncio
import logging
from dataclasses import dataclass

from harvester.errors import (
    BadResponseError,
    EndpointDownError,
    EndpointUnreachableError,
    PermanentConnectionError,
    StoreError,
    ThrottledError,
)
from harvester.model import ObjectRef
from harvester.store.resilience.adaptive_concurrency import FAULTS, AdaptiveLimit, RequestLimiter
from harvester.store.resilience.circuit_breaker import CircuitBreaker
from harvester.store.resilience.hedging import HedgeTimer
from harvester.store.resilience.rate_limit import RampingRateLimiter, RateLimiter
from harvester.store.resilience.retry_budget import RetryBudget
from harvester.store.telemetry import EndpointTelemetry, Recorder, Telemetry

_logger = logging.getLogger("harvester")

# A list of URLs may name any number of hosts; above this bound unused ones are dropped.
_MOST_ENDPOINTS = 1000
_DROPPED = "(other endpoints)"

# So many bad responses in a row are the server's nature, if it never sent a good one, and if it did.
_BAD_WITHOUT_GOOD = 3
_BAD_AFTER_GOOD = 8


@dataclass(eq=False, slots=True)
class Patience:
    """How long one call waits for an endpoint that is down, over all its waits.

    Attributes:
        seconds: How long.
        deadline: When it ends, by the event loop's clock; None until the call first waits.
    """

    seconds: float
    deadline: float | None = None

    def deadline_from(self, now: float) -> float:
        """The deadline, which the first wait sets."""
        if self.deadline is None:
            self.deadline = now + self.seconds
        return self.deadline


class Endpoint:
    """One endpoint's state; a request calls `acquire`, then `succeeded` or `failed`, then `release`.

    Args:
        name: For messages and records.
        limiter: Bounds the requests of the process.
        rate_limiters: Delay the start of a request.
        patience_seconds: How long calls wait for it if it never responded, all together.

    Attributes:
        limit: The request slots.
        circuit: Whether it is down.
        recorder: Counts what it did.
        hedging: When a request counts as slow.
        calls: How many calls wait for it now, or did.
    """

    def __init__(
        self,
        name: str,
        limiter: RequestLimiter,
        rate_limiters: tuple[RateLimiter, ...],
        patience_seconds: float,
    ) -> None:
        self.name = name
        self.limit = AdaptiveLimit(limiter)
        self.circuit = CircuitBreaker(name)
        self.recorder = Recorder()
        self.hedging = HedgeTimer()
        self.rate_limiters = rate_limiters
        self.calls = 0
        self._clock = asyncio.get_running_loop().time
        self._patience_seconds = patience_seconds
        self._has_permanent_error = False
        self._bad_in_row = 0
        self._had_good = False
        self._is_well = False  # whether its last response was good

    @property
    def load(self) -> float:
        """How many calls there are for each slot, waiting ones included."""
        return (self.limit.in_flight + self.limit.waiting + 1) / (self.limit.slots + 1)

    @property
    def is_always_bad(self) -> bool:
        """Whether its responses are bad by the server's nature: it ignores ranges, or encodes each body."""
        return self._bad_in_row >= (_BAD_AFTER_GOOD if self._had_good else _BAD_WITHOUT_GOOD)

    @property
    def is_unreachable(self) -> bool:
        """Whether it never responded, and the cause is permanent or the patience is over."""
        if self.circuit.has_responded or self.circuit.failing_since is None:
            return False
        return self._has_permanent_error or self._clock() >= self._last_deadline

    @property
    def _last_deadline(self) -> float:
        """When all calls give up an endpoint that never responded."""
        since = self.circuit.failing_since
        return float("inf") if since is None or self.circuit.has_responded else since + self._patience_seconds

    async def acquire(self, patience: Patience) -> bool:
        """Wait until the endpoint is up, a slot is free and the rate allows a request.

        Args:
            patience: How long to wait for an endpoint that is down.

        Returns:
            Whether the request is a probe of an endpoint that is down; `release` needs to know.

        Raises:
            EndpointDownError: It stayed down.
        """
        while True:
            probing = False
            if self.circuit.is_open:
                deadline = min(patience.deadline_from(self._clock()), self._last_deadline)
                probing = await self.circuit.wait_until_closed(deadline)
            try:
                await self.limit.acquire()
            except BaseException:
                self._end_probe(probing=probing)
                raise
            if probing or not self.circuit.is_open:
                break
            self.limit.release()  # it went down while this call waited for a slot
        try:
            for rate_limiter in self.rate_limiters:
                await rate_limiter.wait()
        except BaseException:
            self.release(probing=probing)
            raise
        return probing

    def acquire_if_free(self) -> bool:
        """Take a slot only if nothing has to be waited for, as hedges must and most calls may."""
        return not (self.rate_limiters or self.circuit.is_open) and self.limit.acquire_if_free()

    def release(self, *, probing: bool = False) -> None:
        """Give the slot back, and end the probe."""
        self.limit.release()
        self._end_probe(probing=probing)

    def succeeded(self, started: float, now: float, size: int) -> None:
        """Adapt to a response to a request for `size` bytes (0 where that is not known)."""
        if not self._is_well:
            self.circuit.succeeded()
            self._bad_in_row = 0
            self._had_good = self._is_well = True
        self.recorder.sample(now, self.limit.in_flight)
        self.limit.succeeded(started, now, size)

    def failed(self, error: StoreError, started: float) -> None:
        """Adapt to an error."""
        self._is_well = False
        self.recorder.failed(error)
        self.recorder.sample(self._clock(), self.limit.in_flight)
        if isinstance(error, FAULTS):
            was_open, is_first = self.circuit.is_open, self.circuit.failing_since is None
            self.circuit.failed(error)
            self._has_permanent_error |= isinstance(error, PermanentConnectionError)
            is_strange = is_first and not self.circuit.has_responded and not isinstance(error, ThrottledError)
            if is_strange or (self.circuit.is_open and not was_open):
                self._warn(error)
            self.limit.failed(error, started)
            return
        self.circuit.succeeded()  # it responded
        if isinstance(error, BadResponseError):
            self._bad_in_row += 1

    def _warn(self, error: StoreError) -> None:
        if self.is_unreachable:
            _logger.warning("%s: %s", self.name, error.message)
        else:
            message = "%s: %s; its requests wait for it up to %.0f s"
            _logger.warning(message, self.name, error.message, self._patience_seconds)

    def _end_probe(self, *, probing: bool) -> None:
        if probing:
            self.recorder.probes += 1
            self.circuit.probe_ended()


class Endpoints:
    """The state that all stores of a process share: each endpoint's, and the bounds over all of them.

    Args:
        concurrency: The most requests at once, at one endpoint and at all of them.
        requests_per_second: This process's share, over all endpoints; 0 means no bound.
        gcs_requests_per_second: Its share of the first rate at each `gs` bucket; 0 means no bound.
        patience_seconds: How long calls wait for an endpoint that never responded, all together.
        retry_budget: Limits the retries of the process.

    Attributes:
        retry_budget: The same.
    """

    def __init__(
        self,
        concurrency: int = 256,
        *,
        requests_per_second: float = 0.0,
        gcs_requests_per_second: float = 0.0,
        patience_seconds: float = 300.0,
        retry_budget: RetryBudget | None = None,
    ) -> None:
        self.retry_budget = RetryBudget() if retry_budget is None else retry_budget
        self._patience_seconds = patience_seconds
        self._limiter = RequestLimiter(concurrency)
        self._rate_limiters = (RateLimiter(requests_per_second),) if requests_per_second else ()
        self._gcs_requests_per_second = gcs_requests_per_second
        self._endpoints: dict[tuple[str, str], Endpoint] = {}
        self._dropped = EndpointTelemetry()

    def of(self, ref: ObjectRef) -> Endpoint:
        """The endpoint of an object, created at the first use."""
        bucket = (ref.scheme, ref.bucket)
        found = self._endpoints.get(bucket)
        return self._add(bucket) if found is None else found

    def final_error(self, error: StoreError, endpoint: Endpoint) -> StoreError:
        """The error itself, or the one that ends a crawl, if no endpoint can be reached."""
        is_cause = isinstance(error, PermanentConnectionError | EndpointDownError)
        if not is_cause or not endpoint.is_unreachable or isinstance(error, EndpointUnreachableError):
            return error
        if not all(one.is_unreachable for one in self._endpoints.values()):
            return error
        cause = error.__cause__ if isinstance(error.__cause__, StoreError) else error
        final = EndpointUnreachableError(
            f"{endpoint.name}: {cause.message}; no request has succeeded", status=error.status
        )
        final.attempts, final.requests = error.attempts, error.requests
        final.__cause__ = error
        return final

    def scale_rates(self, factor: float) -> None:
        """Multiply all rates, also those of endpoints to come."""
        self._gcs_requests_per_second *= factor
        known = {limiter for one in self._endpoints.values() for limiter in one.rate_limiters}
        for limiter in {*self._rate_limiters, *known}:
            limiter.per_second *= factor

    def telemetry(self) -> Telemetry:
        """What all endpoints did so far."""
        found = {one.name: one.recorder.snapshot() for one in self._endpoints.values()}
        if self._dropped.requests:
            found[_DROPPED] = self._dropped
        return Telemetry(found)

    def _add(self, bucket: tuple[str, str]) -> Endpoint:
        if len(self._endpoints) >= _MOST_ENDPOINTS:
            self._drop_unused()
        rate_limiters = self._rate_limiters
        if bucket[0] == "gs" and self._gcs_requests_per_second:
            rate_limiters = (*rate_limiters, RampingRateLimiter(self._gcs_requests_per_second))
        name = f"{bucket[0]}://{bucket[1]}"
        endpoint = Endpoint(name, self._limiter, rate_limiters, self._patience_seconds)
        self._endpoints[bucket] = endpoint
        return endpoint

    def _drop_unused(self) -> None:
        """Drop the older half of the endpoints that no call uses; the record keeps what they did."""
        unused = [bucket for bucket, one in self._endpoints.items() if not (one.calls or one.limit.in_flight)]
        for bucket in unused[: _MOST_ENDPOINTS // 2]:
            self._dropped = self._dropped.merged(self._endpoints.pop(bucket).recorder.snapshot())
