"""A histogram of durations in a few hundred integers: buckets grow by an eighth of a doubling."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import accumulate

_STEPS = 8
_LEAST_SECONDS = 1e-4
_LEAST = round(math.log2(_LEAST_SECONDS) * _STEPS)
_BUCKETS = 24 * _STEPS  # up to 0.1 ms * 2 ** 24, half an hour


@dataclass(slots=True)
class Histogram:
    """Counts of durations; a percentile is right within 5 %.

    Args:
        counts: How many durations fell into each bucket; the first and the last hold what is beyond.
    """

    counts: list[int] = field(default_factory=lambda: [0] * _BUCKETS)

    @classmethod
    def of(cls, counts: Iterable[int]) -> "Histogram":
        """A histogram from the counts of another, as a record kept them; missing ones are 0."""
        kept = list(counts)[:_BUCKETS]
        return cls(kept + [0] * (_BUCKETS - len(kept)))

    def add(self, seconds: float) -> None:
        """Count one duration."""
        if seconds <= _LEAST_SECONDS:
            self.counts[0] += 1
            return
        bucket = int(math.log2(seconds) * _STEPS - _LEAST)
        self.counts[bucket if bucket < _BUCKETS else -1] += 1

    @property
    def total(self) -> int:
        """How many durations were counted."""
        return sum(self.counts)

    def percentile(self, percent: float) -> float | None:
        """The duration in seconds that so many percent do not pass; None where nothing was counted."""
        wanted = self.total * percent / 100.0
        if not wanted:
            return None
        reached = accumulate(self.counts)
        bucket = next(bucket for bucket, seen in enumerate(reached) if seen >= wanted)
        return float(2.0 ** ((bucket + 0.5 + _LEAST) / _STEPS))

    def merged(self, other: "Histogram") -> "Histogram":
        """The counts of both."""
        return Histogram([one + two for one, two in zip(self.counts, other.counts, strict=True)])
