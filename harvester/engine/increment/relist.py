"""Lists prefixes again and compares their objects with the dataset, by size and ETag."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import anyio

from harvester.catalog.clouds import canonical_key, canonical_url, is_series_uuid
from harvester.catalog.grouping import OBJECTS_PER_SERIES, series_of
from harvester.engine.increment.done import Done, ObjectComparison
from harvester.engine.increment.known_objects import KnownObject
from harvester.errors import ListingError, StoreError
from harvester.fetch.series_listing import pages
from harvester.model import ListedObject, Plan, Series, Shard
from harvester.store.base import Store

_logger = logging.getLogger("harvester")


@dataclass(slots=True)
class Relisted:
    """Result of listing prefixes again.

    Attributes:
        fresh: New and changed objects as series of their own, by the key of the prefix's series.
        done: The prefixes that need nothing more, and their unchanged objects.
        superseded: URLs of rows whose object is gone or has changed.
        requests: Number of list requests.
    """

    fresh: dict[str, tuple[Series, ...]] = field(default_factory=dict)
    done: Done = field(default_factory=Done)
    superseded: list[str] = field(default_factory=list)
    requests: int = 0

    def applied_to(self, plan: Plan) -> Plan:
        """The plan with the fresh series beside those of the prefixes."""
        if not self.fresh:
            return plan
        shards = [
            Shard(
                shard.name, tuple(new for one in shard.series for new in (one, *self.fresh.get(one.key, ())))
            )
            for shard in plan.shards
        ]
        return replace(plan, shards=tuple(shards))


def listed_prefixes(plan: Plan) -> list[Series]:
    """The series of a plan that are prefixes whose objects neither a catalog nor IDC's layout determines."""
    return [
        series
        for shard in plan.shards
        for series in shard.series
        if "://" in series.key and "#" not in series.key and series.prefixes
        if series.instance_count is None and not is_series_uuid(canonical_key(series.key))
    ]


async def relist(
    prefixes: Iterable[Series], known: Mapping[str, KnownObject], store: Store, *, concurrency: int
) -> Relisted:
    """List the prefixes that have objects in the dataset.

    A prefix that cannot be listed stays as it is: a warning says so, and no row of it is superseded.

    Args:
        prefixes: From `listed_prefixes`.
        known: The dataset's objects below them.
        store: Lists the prefixes.
        concurrency: How many are listed at the same time.
    """
    found = Relisted()
    limiter = anyio.CapacityLimiter(max(1, concurrency))

    async def run(series: Series, here: Mapping[str, KnownObject]) -> None:
        async with limiter:
            await _relist(series, here, store, found)

    async with anyio.create_task_group() as tasks:
        for series in prefixes:
            prefix = canonical_url(series.prefixes[0].url)
            here = {url: one for url, one in known.items() if url.startswith(prefix)}
            if here:
                tasks.start_soon(run, series, here)
    return found


async def _relist(series: Series, known: Mapping[str, KnownObject], store: Store, found: Relisted) -> None:
    named: dict[str, ListedObject] = {}
    try:
        async for listed in store.list_objects(series.prefixes[0]):
            if named.setdefault(canonical_url(listed.ref.url), listed) is not listed:
                raise ListingError(f"the listing names {listed.ref.key[:200]!r} twice", url=series.key)
    except StoreError as error:
        found.requests += error.requests
        _logger.warning("%s; its harvested rows stay as they are", error)
        found.done = found.done.plus(Done(series=frozenset({canonical_key(series.key)})))
        return
    found.requests += pages(len(named))
    comparison = ObjectComparison.of(named, known)
    gone = [one.url for url, one in known.items() if url not in named and not one.failed]
    found.superseded += [*comparison.changed, *gone]
    fresh = sorted(
        (one for url, one in named.items() if url not in comparison.done.objects), key=lambda one: one.ref.url
    )
    if fresh:
        groups = (
            fresh[start : start + OBJECTS_PER_SERIES] for start in range(0, len(fresh), OBJECTS_PER_SERIES)
        )
        found.fresh[series.key] = tuple(
            replace(series_of(series.key, group), crdc_series_uuid=series.crdc_series_uuid)
            for group in groups
        )
    found.done = found.done.plus(
        replace(comparison.done, series=frozenset({canonical_key(series.key)}), objects=frozenset())
    )
