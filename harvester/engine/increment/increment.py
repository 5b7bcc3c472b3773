"""The increment of one crawl: the finished part of its plan, and the superseded rows of the dataset."""

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
from harvester.engine.increment.done import Done, ObjectComparison, named_objects
from harvester.engine.increment.known_objects import KnownObject, below, known_objects
from harvester.engine.increment.predecessors import find_predecessors
from harvester.engine.increment.release_diff import compare_with_release
from harvester.engine.increment.relist import listed_prefixes, relist
from harvester.model import ListedObject, Plan, Shard
from harvester.store.base import Store

_NOTHING: Final = frozenset[str]()


@dataclass(slots=True)
class Increment:
    """What a crawl need not do; call `begin`, then `relist`.

    Args:
        dataset: The dataset; None before it exists.
        lock: The held lock of the dataset.
        whole: Whether the plan covers the whole selection; else nothing is superseded.

    Attributes:
        done: What is in the dataset already.
        elsewhere: The part of `done` that lies in the dataset under another series.
        requests: Number of list requests of `relist`.
    """

    dataset: Dataset | None = None
    lock: Lock | None = None
    whole: bool = True
    done: Done = field(default_factory=Done)
    elsewhere: Done = field(default_factory=Done)
    requests: int = 0
    _tombstones: Tombstones = field(default_factory=Tombstones)
    _known: Mapping[str, KnownObject] = field(default_factory=dict)
    _by_folder: dict[str, list[str]] = field(default_factory=dict)
    _predecessors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def begin(self, catalog: Catalog, plan: Plan) -> Done:
        """Compare dataset, catalog and plan, without a request.

        Raises:
            DatasetError: The dataset cannot be read, or its tombstones cannot be written.
            SelectionError: The catalog cannot be read.
        """
        dataset, lock = self._locked_dataset()
        committed = CommittedSeries.of(dataset.commits())
        self._tombstones = dataset.marks()
        if self.whole:
            self._tombstones = compare_with_release(dataset, lock, catalog, committed)
        self.done = Done.of(committed, plan)
        if not committed.counts:  # a first crawl: there may be millions of objects, and no row
            return self.done
        named = named_objects(plan, self.done)
        prefixes = [one.prefixes[0].url for one in listed_prefixes(plan)] if self.whole else []
        complete = list(catalog.places) if self.whole else []
        folders = self._unlisted(plan) if committed.has_parts_of_series else _NOTHING
        if named or prefixes or folders:
            is_below = below([*prefixes, *complete])
            self._known = known_objects(
                dataset,
                self._tombstones,
                lambda url: url in named or is_below(url) or _folder(url) in folders,
            )
            self._compare(named, plan, complete)
        for url in self._known:
            if _folder(url) in folders:
                self._by_folder.setdefault(_folder(url), []).append(url)
        return self.done

    async def relist(self, plan: Plan, store: Store, limits: LimitsConfig) -> Plan:
        """List the prefixes that were harvested before; return the plan with their new objects.

        Raises:
            DatasetError: The tombstones of superseded rows cannot be written.
        """
        if not self.whole or not self._known:
            return plan
        found = await relist(
            listed_prefixes(plan), self._known, store, concurrency=limits.listing_concurrency
        )
        self.requests += found.requests
        # The commits count the rows of a committed prefix already.
        self.done = self.done.plus(Done(series=found.done.series, objects=found.done.objects))
        if found.superseded:
            await anyio.to_thread.run_sync(partial(self._supersede, found.superseded))
        return found.applied_to(plan)

    def find_predecessors(self) -> None:
        """Find the parts with rows of earlier versions of series.

        Raises:
            DatasetError: The dataset cannot be read.
        """
        dataset, _ = self._locked_dataset()
        self._predecessors = find_predecessors(dataset, self._tombstones)

    def predecessors_of(self, shard: Shard) -> tuple[str, ...]:
        """The parts with rows of earlier versions of a shard's series."""
        uids = [series.series_instance_uid for series in shard.series if series.crdc_series_uuid]
        return tuple(sorted({part for uid in uids if uid for part in self._predecessors.get(uid, ())}))

    def known_of(self, shard: Shard) -> frozenset[str]:
        """The objects in a shard's folders that have a row under another series."""
        if not self._by_folder:
            return _NOTHING
        folders = {canonical_url(prefix.url) for series in shard.series for prefix in series.prefixes}
        return frozenset(url for folder in folders for url in self._by_folder.get(folder, ()))

    def _unlisted(self, plan: Plan) -> frozenset[str]:
        """The folders of series that are not listed yet."""
        return frozenset(
            canonical_url(prefix.url)
            for shard in plan.shards
            for series in self.done.left_of(shard)
            if not series.objects
            for prefix in series.prefixes
        )

    def _compare(self, named: Mapping[str, ListedObject], plan: Plan, complete: list[str]) -> None:
        """Find unchanged and changed objects, and those gone from completely listed prefixes."""
        comparison = ObjectComparison.of(named, self._known)
        self.elsewhere = comparison.done
        self.done = self.done.plus(comparison.done)
        superseded = list(comparison.changed)
        if complete:
            present = {
                canonical_url(one.ref.url)
                for shard in plan.shards
                for series in shard.series
                for one in series.objects
            }
            is_covered = below(complete)
            superseded += [
                one.url
                for url, one in self._known.items()
                if is_covered(url) and url not in present and not one.failed
            ]
        if superseded:
            self._supersede(superseded)

    def _supersede(self, urls: list[str]) -> None:
        dataset, lock = self._locked_dataset()
        self._tombstones = self._tombstones.with_objects(urls, datetime.now(UTC).replace(tzinfo=None))
        dataset.save_marks(lock, self._tombstones)

    def _locked_dataset(self) -> tuple[Dataset, Lock]:
        if self.dataset is None or self.lock is None:
            raise RuntimeError("an increment is of a dataset that is locked")
        return self.dataset, self.lock


def _folder(url: str) -> str:
    return url[: url.rfind("/") + 1]
