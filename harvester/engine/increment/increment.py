"""One crawl's increment: what of its plan is done, what is known of the rest, what of the dataset is over."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Final

import anyio

from harvester.catalog import Catalog
from harvester.catalog.clouds import canonical_url
from harvester.config import LimitsConfig
from harvester.dataset import Dataset, Lock, Tombstones
from harvester.engine.increment.committed import CommittedSeries
from harvester.engine.increment.done import Done, ReleaseComparison, named_objects
from harvester.engine.increment.known_objects import KnownObject, below, known_objects
from harvester.engine.increment.predecessors import find_predecessors
from harvester.engine.increment.release_diff import hold_against_release
from harvester.engine.increment.relist import listed_prefixes, relist
from harvester.model import ListedObject, Plan, Shard
from harvester.store.base import Store

_NOTHING: Final = frozenset[str]()


@dataclass(slots=True)
class Increment:
    """What a crawl need not do; make it with the dataset that is locked, then `begin`, then `relist`.

    Args:
        dataset: The dataset; None: there is nothing yet.
        lock: Proof that nobody else writes.
        whole: Whether the plan is all of the selection, and all of it is looked at.

    Attributes:
        done: What is in the dataset already.
        elsewhere: What of that is there under another series.
        requests: What listing again has asked for.
    """

    dataset: Dataset | None = None
    lock: Lock | None = None
    whole: bool = True
    done: Done = field(default_factory=Done)
    elsewhere: Done = field(default_factory=Done)
    requests: int = 0
    _marks: Tombstones = field(default_factory=Tombstones)
    _known: Mapping[str, KnownObject] = field(default_factory=dict)
    _by_folder: dict[str, list[str]] = field(default_factory=dict)
    _predecessors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def begin(self, catalog: Catalog, plan: Plan) -> Done:
        """Hold dataset, catalog and plan against each other; asks no server.

        Raises:
            DatasetError: The dataset cannot be read, or its marks not be written.
            SelectionError: The catalog cannot be read.
        """
        dataset, lock = self._held()
        survey = CommittedSeries.of(dataset.commits())
        self._marks = dataset.marks()
        if self.whole:
            self._marks = hold_against_release(dataset, lock, catalog, survey)
        self.done = Done.of(survey, plan)
        if not survey.counts:  # nothing to hold the plan's objects against, of which there may be millions
            return self.done
        named = named_objects(plan, self.done)
        places = [one.prefixes[0].url for one in listed_prefixes(plan)] if self.whole else []
        rooms = list(catalog.places) if self.whole else []
        folders = self._unlisted(plan) if survey.has_parts_of_series else _NOTHING
        if named or places or folders:
            is_below = below([*places, *rooms])
            self._known = known_objects(
                dataset,
                self._marks,
                lambda url: url in named or is_below(url) or _folder(url) in folders,
            )
            self._compare(named, plan, rooms)
        for url in self._known:
            if _folder(url) in folders:
                self._by_folder.setdefault(_folder(url), []).append(url)
        return self.done

    async def relist(self, plan: Plan, store: Store, limits: LimitsConfig) -> Plan:
        """List the prefixes that were harvested before; return the plan with what is new there.

        Raises:
            DatasetError: What is over cannot be marked.
        """
        if not self.whole or not self._known:
            return plan
        found = await relist(
            listed_prefixes(plan), self._known, store, concurrency=max(1, limits.concurrency // 4)
        )
        self.requests += found.requests
        # What a committed prefix has is counted by its commit already.
        there = Done(series=found.done.series, objects=found.done.objects)
        self.done = self.done.plus(there)
        if found.over:
            await anyio.to_thread.run_sync(partial(self._mark_over, found.over))
        return found.applied_to(plan)

    def look_back(self) -> None:
        """Find where rows of earlier versions of series are; needless where nothing is to be harvested.

        Raises:
            DatasetError: The dataset cannot be read.
        """
        dataset, _ = self._held()
        self._predecessors = find_predecessors(dataset, self._marks)

    def earlier_than(self, shard: Shard) -> tuple[str, ...]:
        """The parts that hold rows of earlier versions of a shard's series."""
        uids = [series.series_instance_uid for series in shard.series if series.crdc_series_uuid]
        return tuple(sorted({part for uid in uids if uid for part in self._predecessors.get(uid, ())}))

    def known_of(self, shard: Shard) -> frozenset[str]:
        """The objects of a shard's folders that have a row under another series."""
        if not self._by_folder:
            return _NOTHING
        folders = {canonical_url(prefix.url) for series in shard.series for prefix in series.prefixes}
        return frozenset(url for folder in folders for url in self._by_folder.get(folder, ()))

    def _unlisted(self, plan: Plan) -> frozenset[str]:
        """The folders of series that are still to be listed."""
        return frozenset(
            canonical_url(prefix.url)
            for shard in plan.shards
            for series in self.done.left_of(shard)
            if not series.objects
            for prefix in series.prefixes
        )

    def _compare(self, named: Mapping[str, ListedObject], plan: Plan, rooms: list[str]) -> None:
        """See which named objects are as they were, and which are gone where all are named."""
        comparison = ReleaseComparison.of(named, self._known)
        self.elsewhere = comparison.done
        self.done = self.done.plus(comparison.done)
        over = list(comparison.changed)
        if rooms:
            there = {
                canonical_url(one.ref.url)
                for shard in plan.shards
                for series in shard.series
                for one in series.objects
            }
            in_room = below(rooms)
            over += [
                one.url
                for url, one in self._known.items()
                if in_room(url) and url not in there and not one.failed
            ]
        if over:
            self._mark_over(over)

    def _mark_over(self, urls: list[str]) -> None:
        dataset, lock = self._held()
        self._marks = self._marks.with_objects(urls, datetime.now(UTC).replace(tzinfo=None))
        dataset.save_marks(lock, self._marks)

    def _held(self) -> tuple[Dataset, Lock]:
        if self.dataset is None or self.lock is None:
            raise RuntimeError("an increment is of a dataset that is locked")
        return self.dataset, self.lock


def _folder(url: str) -> str:
    return url[: url.rfind("/") + 1]
