"""What of a plan is in the dataset already, whichever crawl brought it there, and under whichever name."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from harvester.catalog.clouds import canonical_key, canonical_url
from harvester.config import LimitsConfig
from harvester.increment.known import KnownObject, is_unchanged
from harvester.increment.survey import Survey
from harvester.model import ListedObject, Plan, Series, Shard
from harvester.plan import make_shards


@dataclass(frozen=True, slots=True)
class Done:
    """What need not be harvested.

    Attributes:
        series: By `canonical_key`.
        instances: Rows of `instances` that there are of it.
        failures: Rows of `failures`.
        objects: Objects of other series, by `canonical_url`.
    """

    series: frozenset[str] = frozenset()
    instances: int = 0
    failures: int = 0
    objects: frozenset[str] = frozenset()

    @classmethod
    def of(cls, survey: Survey, plan: Plan) -> "Done":
        """The series of a plan that are committed."""
        if not survey.counts:
            return cls()
        keys = (canonical_key(series.key) for shard in plan.shards for series in shard.series)
        found = {key for key in keys if key in survey.counts}
        counts = [survey.counts[key] for key in found]
        return cls(frozenset(found), sum(count[0] for count in counts), sum(count[1] for count in counts))

    def plus(self, other: "Done") -> "Done":
        """Both."""
        return Done(
            self.series | other.series,
            self.instances + other.instances,
            self.failures + other.failures,
            self.objects | other.objects,
        )

    def has(self, series: Series) -> bool:
        """Whether all of a series is done."""
        return canonical_key(series.key) in self.series

    def remaining(self, plan: Plan, limits: LimitsConfig) -> Iterator[Shard]:
        """The plan's shards without the series and the objects that are done."""
        for shard in plan.shards:
            series = tuple(self._left(one) for one in shard.series if not self.has(one))
            series = tuple(one for one in series if one.objects or one.prefixes)
            if series == shard.series:
                yield shard
            else:
                # Under another name: parts of what was committed under this one must not be replaced.
                yield from make_shards(series, limits)

    def _left(self, series: Series) -> Series:
        if not self.objects or not series.objects:
            return series
        left = tuple(one for one in series.objects if canonical_url(one.ref.url) not in self.objects)
        count = series.instance_count
        if count is not None:
            count = max(0, count - (len(series.objects) - len(left)))
        return replace(series, objects=left, prefixes=series.prefixes if left else (), instance_count=count)


@dataclass(slots=True)
class Comparison:
    """Named objects, held against what is known of them.

    Attributes:
        done: Those that are as they were harvested.
        changed: The addresses of the rows of those that are not: they are superseded.
    """

    done: Done = field(default_factory=Done)
    changed: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, named: Mapping[str, ListedObject], known: Mapping[str, KnownObject]) -> "Comparison":
        """Compare by size, and by ETag where both have one.

        Args:
            named: By `canonical_url`.
            known: The same.
        """
        same = {url for url, one in named.items() if url in known and is_unchanged(one, known[url])}
        failures = sum(known[url].failed for url in same)
        changed = [
            known[url].url for url in named if url in known and url not in same and not known[url].failed
        ]
        return cls(Done(frozenset(), len(same) - failures, failures, frozenset(same)), changed)


def named_objects(plan: Plan, done: Done) -> dict[str, ListedObject]:
    """The objects of series that are named object by object and are not done, by `canonical_url`."""
    return {
        canonical_url(one.ref.url): one
        for shard in plan.shards
        for series in shard.series
        if series.objects and not done.has(series)
        for one in series.objects
    }
