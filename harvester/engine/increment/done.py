"""What of a plan is in the dataset already, whichever crawl brought it there, and under whichever name."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from harvester.catalog.clouds import canonical_key, canonical_url, is_series_uuid
from harvester.config import LimitsConfig
from harvester.engine.increment.committed import CommittedSeries
from harvester.engine.increment.known_objects import KnownObject, is_unchanged
from harvester.engine.plan import make_shards
from harvester.model import ListedObject, Plan, Series, Shard


@dataclass(frozen=True, slots=True)
class Done:
    """What need not be harvested.

    A crawl that goes on has most of a million series done, in whole shards: these are held by their names.

    Attributes:
        shards: The names of shards of which all series are done.
        series: Other series, by `canonical_key`.
        instances: Rows of `instances` that there are of it.
        failures: Rows of `failures`.
        objects: Objects of other series, by `canonical_url`.
    """

    shards: frozenset[str] = frozenset()
    series: frozenset[str] = frozenset()
    instances: int = 0
    failures: int = 0
    objects: frozenset[str] = frozenset()

    @classmethod
    def of(cls, survey: CommittedSeries, plan: Plan) -> "Done":
        """The series of a plan that are committed."""
        if not survey.counts:
            return cls()
        shards: set[str] = set()
        found: set[str] = set()
        instances = failures = 0
        for shard in plan.shards:
            keys = {canonical_key(series.key) for series in shard.series}
            here = {key for key in keys if key in survey.counts} - found
            # Two addresses can be one series, and a prefix that is listed again can have more: one by one.
            if len(here) == len(shard.series) and all(is_series_uuid(one.key) for one in shard.series):
                shards.add(shard.name)
            else:
                found |= here
            instances += sum(survey.counts[key][0] for key in here)
            failures += sum(survey.counts[key][1] for key in here)
        return cls(frozenset(shards), frozenset(found), instances, failures)

    def plus(self, other: "Done") -> "Done":
        """Both."""
        return Done(
            self.shards | other.shards,
            self.series | other.series,
            self.instances + other.instances,
            self.failures + other.failures,
            self.objects | other.objects,
        )

    def left_of(self, shard: Shard) -> tuple[Series, ...]:
        """The series of a shard that are not done; of some there may be objects that are."""
        if shard.name in self.shards:
            return ()
        return tuple(one for one in shard.series if canonical_key(one.key) not in self.series)

    def remaining(self, plan: Plan, limits: LimitsConfig) -> Iterator[Shard]:
        """The plan's shards without the series and the objects that are done."""
        for shard in plan.shards:
            series = tuple(self._left(one) for one in self.left_of(shard))
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
class ReleaseComparison:
    """Named objects, held against what is known of them.

    Attributes:
        done: Those that are as they were harvested.
        changed: The addresses of the rows of those that are not: they are superseded.
    """

    done: Done = field(default_factory=Done)
    changed: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, named: Mapping[str, ListedObject], known: Mapping[str, KnownObject]) -> "ReleaseComparison":
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
        done = Done(instances=len(same) - failures, failures=failures, objects=frozenset(same))
        return cls(done, changed)


def named_objects(plan: Plan, done: Done) -> dict[str, ListedObject]:
    """The objects of series that are named object by object and are not done, by `canonical_url`."""
    return {
        canonical_url(one.ref.url): one
        for shard in plan.shards
        for series in done.left_of(shard)
        for one in series.objects
    }
