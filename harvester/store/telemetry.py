"""Counts what a crawl's requests did at each endpoint: results, latencies and concurrency over time."""

import math
import time
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from itertools import accumulate
from typing import Any, TypeVar

from harvester.errors import StoreError, ThrottledError

K = TypeVar("K")

_MOST_SAMPLES = 240
_STEPS = 8  # buckets of a histogram per doubling
_LEAST = round(math.log2(1e-4) * _STEPS)
_BUCKETS = 24 * _STEPS  # from 0.1 ms to 0.1 ms * 2 ** 24, half an hour
_BOUNDS = [2.0 ** ((bucket + _LEAST) / _STEPS) for bucket in range(1, _BUCKETS)]

Samples = Mapping[int, int]
"""Requests in flight, by the second (since 1970) in which a sample begins."""


@dataclass(slots=True)
class Histogram:
    """Counts of durations; a percentile is right within 5 %.

    Args:
        counts: Durations in each bucket; the first and the last bucket hold what is below and above.
    """

    counts: list[int] = field(default_factory=lambda: [0] * _BUCKETS)

    def add(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_right(_BOUNDS, seconds)] += 1

    @property
    def total(self) -> int:
        """How many durations were counted."""
        return sum(self.counts)

    def percentile(self, percent: float) -> float | None:
        """The percentile of the durations, in seconds; None without durations."""
        rank = self.total * percent / 100.0
        if not rank:
            return None
        bucket = next(bucket for bucket, below in enumerate(accumulate(self.counts)) if below >= rank)
        return float(2.0 ** ((bucket + 0.5 + _LEAST) / _STEPS))

    def merged(self, other: "Histogram") -> "Histogram":
        """The sum of both."""
        return Histogram([one + two for one, two in zip(self.counts, other.counts, strict=True)])


@dataclass(frozen=True, slots=True)
class EndpointTelemetry:
    """What was sent to one endpoint, and how it responded.

    Attributes:
        requests: HTTP requests, retries, redirects and hedges included.
        responses: Calls that succeeded.
        bytes_fetched: Bytes of response bodies.
        failures: Failed attempts, by the error's reason.
        retries: Repeated attempts, by the reason of the error before.
        throttles: Attempts that got a 408, 429 or 503.
        probes: Single requests that tested whether the endpoint was back.
        hedges: Slow requests that were sent a second time.
        hedges_won: Hedges whose response came first.
        latency: Seconds until the response was complete.
        concurrency: The most requests in flight, sampled over time.
        sample_seconds: The length of a sample; it doubles when there are too many.
    """

    requests: int = 0
    responses: int = 0
    bytes_fetched: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)
    retries: Mapping[str, int] = field(default_factory=dict)
    throttles: int = 0
    probes: int = 0
    hedges: int = 0
    hedges_won: int = 0
    latency: Histogram = field(default_factory=Histogram)
    concurrency: Samples = field(default_factory=dict)
    sample_seconds: int = 1

    def merged(self, other: "EndpointTelemetry") -> "EndpointTelemetry":
        """The sum of both, as of two processes that ran at the same time."""
        step = max(self.sample_seconds, other.sample_seconds)
        mine, its = coarser(self.concurrency, step), coarser(other.concurrency, step)
        concurrency = _sum(mine, its)
        while len(concurrency) > _MOST_SAMPLES:
            step *= 2
            concurrency = _sum(coarser(mine, step), coarser(its, step))
        counts = {
            each.name: getattr(self, each.name) + getattr(other, each.name)
            for each in fields(self)
            if each.type is int and each.name != "sample_seconds"
        }
        return EndpointTelemetry(
            **counts,
            failures=_sum(self.failures, other.failures),
            retries=_sum(self.retries, other.retries),
            latency=self.latency.merged(other.latency),
            concurrency=concurrency,
            sample_seconds=step,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; latencies come with percentiles."""
        plain = {each.name: getattr(self, each.name) for each in fields(self)}
        plain["answers"] = plain.pop("responses")  # the key in run records
        plain["latency"] = self.latency.counts
        plain["latency_seconds"] = {
            f"p{percent}": self.latency.percentile(percent) for percent in (50, 90, 99)
        }
        plain["concurrency"] = {str(second): count for second, count in sorted(self.concurrency.items())}
        plain["failures"], plain["retries"] = dict(self.failures), dict(self.retries)
        return plain


@dataclass(frozen=True, slots=True)
class Telemetry:
    """What was sent to all endpoints, by their names."""

    endpoints: Mapping[str, EndpointTelemetry] = field(default_factory=dict)

    @property
    def total(self) -> EndpointTelemetry:
        """All endpoints together."""
        total = EndpointTelemetry()
        for one in self.endpoints.values():
            total = total.merged(one)
        return total

    def merged(self, other: "Telemetry") -> "Telemetry":
        """The sum of this and another process's."""
        merged = dict(self.endpoints)
        for name, one in other.endpoints.items():
            merged[name] = merged[name].merged(one) if name in merged else one
        return Telemetry(merged)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, by endpoint."""
        return {name: one.to_dict() for name, one in self.endpoints.items()}


class Recorder:
    """Counts one endpoint's requests as they happen, in about a microsecond each."""

    def __init__(self) -> None:
        self.requests = self.responses = self.bytes_fetched = 0
        self.throttles = self.probes = self.hedges = self.hedges_won = 0
        self.failures: dict[str, int] = {}
        self.retries: dict[str, int] = {}
        self.latency = Histogram()
        self._concurrency: dict[int, int] = {}
        self._sample_seconds = 1
        self._most = 0  # of the present sample, which ends at `_sample_end`
        self._sample_end = -math.inf
        self._epoch = time.time() - time.monotonic()

    def succeeded(self, seconds: float, requests: int, bytes_fetched: int) -> None:
        """Count a response."""
        self.requests += requests
        self.responses += 1
        self.bytes_fetched += bytes_fetched
        self.latency.add(seconds)

    def failed(self, error: StoreError) -> None:
        """Count a failed attempt."""
        self.requests += error.requests
        self.bytes_fetched += error.bytes_fetched
        self.failures[error.reason] = self.failures.get(error.reason, 0) + 1
        if isinstance(error, ThrottledError):
            self.throttles += 1

    def retried(self, error: StoreError) -> None:
        """Count a retry after an error."""
        self.retries[error.reason] = self.retries.get(error.reason, 0) + 1

    def sample(self, now: float, in_flight: int) -> None:
        """Note how many requests are in flight at a time of the monotonic clock."""
        if in_flight <= self._most and now < self._sample_end:
            return
        second = int(now + self._epoch)
        second -= second % self._sample_seconds
        self._most = max(in_flight, self._concurrency.get(second, 0))
        self._sample_end = second + self._sample_seconds - self._epoch
        if in_flight > self._concurrency.get(second, -1):
            self._concurrency[second] = in_flight
            if len(self._concurrency) > _MOST_SAMPLES:
                self._sample_seconds *= 2
                self._concurrency = coarser(self._concurrency, self._sample_seconds)

    def snapshot(self) -> EndpointTelemetry:
        """What was counted so far."""
        return EndpointTelemetry(
            requests=self.requests,
            responses=self.responses,
            bytes_fetched=self.bytes_fetched,
            failures=dict(self.failures),
            retries=dict(self.retries),
            throttles=self.throttles,
            probes=self.probes,
            hedges=self.hedges,
            hedges_won=self.hedges_won,
            latency=Histogram(list(self.latency.counts)),
            concurrency=dict(self._concurrency),
            sample_seconds=self._sample_seconds,
        )


def coarser(samples: Samples, seconds: int) -> dict[int, int]:
    """Samples of that length, each the most of those that it joins."""
    joined: dict[int, int] = {}
    for second, count in samples.items():
        start = second - second % seconds
        joined[start] = max(count, joined.get(start, 0))
    return joined


def _sum(one: Mapping[K, int], other: Mapping[K, int]) -> dict[K, int]:
    return {key: one.get(key, 0) + other.get(key, 0) for key in (*one, *(set(other) - set(one)))}
