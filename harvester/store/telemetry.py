"""What a crawl's requests did, by endpoint: counts, latencies, concurrency over time, for its run record."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

from harvester.errors import StoreError, ThrottledError
from harvester.store.histogram import Histogram

K = TypeVar("K")

_MOST_SAMPLES = 240

Samples = Mapping[int, int]
"""Slots in use by the second (since 1970) in which a sample's time begins."""


@dataclass(frozen=True, slots=True)
class EndpointTelemetry:
    """What one endpoint was asked and how it answered.

    Attributes:
        requests: HTTP requests sent, retries, redirects and hedges included.
        answers: Calls that were answered as they should be.
        bytes_fetched: Bytes of bodies received.
        failures: Attempts that failed, by the error's reason.
        retries: Attempts that were made again, by the reason of the error before.
        throttles: Attempts that were answered by 408, 429 or 503.
        probes: Single requests to find out whether the endpoint is back.
        hedges: Requests reissued because they took long.
        hedges_won: Those of them that answered first.
        latency: Seconds to a whole answer, as counts by bucket.
        concurrency: The most requests at once, sampled over time.
        sample_seconds: The time that one sample stands for; it doubles when there are too many.
    """

    requests: int = 0
    answers: int = 0
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
        """Both together, as of two processes that worked at the same time."""
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


@dataclass(frozen=True, slots=True)
class Telemetry:
    """What all endpoints did."""

    endpoints: Mapping[str, EndpointTelemetry] = field(default_factory=dict)

    @property
    def total(self) -> EndpointTelemetry:
        """All endpoints together."""
        total = EndpointTelemetry()
        for one in self.endpoints.values():
            total = total.merged(one)
        return total

    def merged(self, other: "Telemetry") -> "Telemetry":
        """This and another process's."""
        merged = dict(self.endpoints)
        for name, one in other.endpoints.items():
            merged[name] = merged[name].merged(one) if name in merged else one
        return Telemetry(merged)

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON holds; `from_dict` reads them again. Latencies come with percentiles."""
        return {name: _plain(one) for name, one in self.endpoints.items()}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Mapping[str, Any]]) -> "Telemetry":
        """What `to_dict` gave."""
        return cls({name: _from_plain(one) for name, one in plain.items()})


class Recorder:
    """Counts one endpoint's requests as they happen, in about a microsecond each."""

    def __init__(self) -> None:
        self.requests = self.answers = self.bytes_fetched = 0
        self.throttles = self.probes = self.hedges = self.hedges_won = 0
        self.failures: dict[str, int] = {}
        self.retries: dict[str, int] = {}
        self.latency = Histogram()
        self._concurrency: dict[int, int] = {}
        self._sample_seconds = 1
        self._epoch = time.time() - time.monotonic()

    def answered(self, seconds: float, requests: int, bytes_fetched: int) -> None:
        """Count an answer."""
        self.requests += requests
        self.answers += 1
        self.bytes_fetched += bytes_fetched
        self.latency.add(seconds)

    def failed(self, error: StoreError) -> None:
        """Count an attempt that failed."""
        self.requests += error.requests
        self.bytes_fetched += error.bytes_fetched
        self.failures[error.reason] = self.failures.get(error.reason, 0) + 1
        if isinstance(error, ThrottledError):
            self.throttles += 1

    def tried_again(self, error: StoreError) -> None:
        """Count a retry after an error."""
        self.retries[error.reason] = self.retries.get(error.reason, 0) + 1

    def sample(self, now: float, in_flight: int) -> None:
        """Note how many requests there are at a time of the monotonic clock."""
        second = int(now + self._epoch)
        second -= second % self._sample_seconds
        if in_flight > self._concurrency.get(second, -1):
            self._concurrency[second] = in_flight
            if len(self._concurrency) > _MOST_SAMPLES:
                self._sample_seconds *= 2
                self._concurrency = coarser(self._concurrency, self._sample_seconds)

    def snapshot(self) -> EndpointTelemetry:
        """What was counted so far."""
        return EndpointTelemetry(
            requests=self.requests,
            answers=self.answers,
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
    """Samples of a longer time each, the most of what they had."""
    joined: dict[int, int] = {}
    for second, count in samples.items():
        start = second - second % seconds
        joined[start] = max(count, joined.get(start, 0))
    return joined


def _sum(one: Mapping[K, int], other: Mapping[K, int]) -> dict[K, int]:
    return {key: one.get(key, 0) + other.get(key, 0) for key in (*one, *(set(other) - set(one)))}


def _plain(one: EndpointTelemetry) -> dict[str, Any]:
    plain = {each.name: getattr(one, each.name) for each in fields(one)}
    plain["latency"] = one.latency.counts
    plain["latency_seconds"] = {f"p{percent}": one.latency.percentile(percent) for percent in (50, 90, 99)}
    plain["concurrency"] = {str(second): count for second, count in sorted(one.concurrency.items())}
    plain["failures"], plain["retries"] = dict(one.failures), dict(one.retries)
    return plain


def _from_plain(plain: Mapping[str, Any]) -> EndpointTelemetry:
    known = {each.name: plain[each.name] for each in fields(EndpointTelemetry) if each.name in plain}
    return replace(
        EndpointTelemetry(**known),
        latency=Histogram.of(plain.get("latency", ())),
        concurrency={int(second): count for second, count in plain.get("concurrency", {}).items()},
    )
