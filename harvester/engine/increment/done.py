"""What of a plan is in the dataset already, whichever crawl and key it was harvested under."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from harvester.catalog.clouds import canonical_key, canonical_url, is_series_uuid
from harvester.config import LimitsConfig
from harvester.dataset.plans import SpooledShards
from harvester.engine.increment.committed import CommittedSeries
from harvester.engine.increment.known_objects import KnownObject, is_unchanged
from harvester.engine.plan import make_shards
from harvester.model import ListedObject, Plan, Series, Shard


@dataclass(frozen=True, slots=True)
class Done:
    """What need not be harvested.

    A resumed crawl has most of a million series done, in whole shards: these are held by shard name.

    Attributes:
        shards: Names of shards whose series are all done.
        series: Other series that are done, by `canonical_key`.
        instances: Number of their rows of `instances`.
        failures: Number of their rows of `failures`.
        objects: Objects of other series that are done, by `canonical_url`.
    """

    shards: frozenset[str] = frozenset()
    series: frozenset[str] = frozenset()
    instances: int = 0
    failures: int = 0
    objects: frozenset[str] = frozenset()

    @classmethod
    def of(cls, committed: CommittedSeries, plan: Plan) -> "Done":
        """The committed series of a plan."""
        if not committed.counts:
            return cls()
        shards: set[str] = set()
        found: set[str] = set()
        instances = failures = 0
        for shard, keys in _series_keys(plan):
            here = {key for key in map(canonical_key, keys) if key in committed.counts} - found
            # Series of other keys one by one: two addresses can be one series, a listed prefix can grow.
            if len(here) == len(keys) and all(map(is_series_uuid, keys)):
                shards.add(shard)
            else:
                found |= here
            instances += sum(committed.counts[key][0] for key in here)
            failures += sum(committed.counts[key][1] for key in here)
        return cls(frozenset(shards), frozenset(found), instances, failures)

    def plus(self, other: "Done") -> "Done":
        """The union."""
        return Done(
            self.shards | other.shards,
            self.series | other.series,
            self.instances + other.instances,
            self.failures + other.failures,
            self.objects | other.objects,
        )

    def left_of(self, shard: Shard) -> tuple[Series, ...]:
        """The series of a shard that are not done, some objects of which may be."""
        if shard.name in self.shards:
            return ()
        return tuple(one for one in shard.series if canonical_key(one.key) not in self.series)

    def remaining(self, plan: Plan, limits: LimitsConfig) -> Iterator[Shard]:
        """The plan's shards without the series and objects that are done."""
        for shard in plan.shards:
            series = tuple(self._left(one) for one in self.left_of(shard))
            series = tuple(one for one in series if one.objects or one.prefixes)
            if series == shard.series:
                yield shard
            else:
                # Under another name: parts committed under the old name must not be replaced.
                yield from make_shards(series, limits)

    def _left(self, series: Series) -> Series:
        if not self.objects or not series.objects:
            return series
        left = tuple(one for one in series.objects if canonical_url(one.ref.url) not in self.objects)
        count = series.instance_count
        if count is not None:
            count = max(0, count - (len(series.objects) - len(left)))
        return replace(series, objects=left, prefixes=series.prefixes if left else (), instance_count=count)


def _series_keys(plan: Plan) -> Iterator[tuple[str, Sequence[str]]]:
    """Each shard's name and the keys of its series."""
    if isinstance(plan.shards, SpooledShards):  # reads nothing else
        yield from plan.shards.series_keys()
    else:
        yield from ((shard.name, [one.key for one in shard.series]) for shard in plan.shards)


@dataclass(slots=True)
class ObjectComparison:
    """Objects compared with their rows in the dataset.

    Attributes:
        done: The unchanged objects.
        changed: URLs of the rows of changed objects, which are superseded.
    """

    done: Done = field(default_factory=Done)
    changed: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, named: Mapping[str, ListedObject], known: Mapping[str, KnownObject]) -> "ObjectComparison":
        """Compare by size, and by ETag where both have one.

        Args:
            named: Objects of the catalog or a listing, by `canonical_url`.
            known: Objects of the dataset, by `canonical_url`.
        """
        same = {url for url, one in named.items() if url in known and is_unchanged(one, known[url])}
        failures = sum(known[url].failed for url in same)
        changed = [
            known[url].url for url in named if url in known and url not in same and not known[url].failed
        ]
        done = Done(instances=len(same) - failures, failures=failures, objects=frozenset(same))
        return cls(done, changed)


def named_objects(plan: Plan, done: Done) -> dict[str, ListedObject]:
    """The objects that a plan names one by one and that are not done, by `canonical_url`."""
    return {
        canonical_url(one.ref.url): one
        for shard in plan.shards
        for series in done.left_of(shard)
        for one in series.objects
    }
