"""Compares a dataset with a catalog's release: which series left it or moved to another collection."""

import logging
from dataclasses import replace
from datetime import UTC, datetime

from harvester.catalog import Catalog
from harvester.dataset import Dataset, Lock, Tombstone, Tombstones
from harvester.engine.increment.committed import CommittedSeries

_logger = logging.getLogger("harvester")


def compare_with_release(
    dataset: Dataset, lock: Lock, catalog: Catalog, committed: CommittedSeries
) -> Tombstones:
    """Set tombstones for series that the release lacks; remove those of series that it has again.

    This is a set difference between commits and catalog, without a request. The installed idc-index names
    all series of its release. A Parquet file counts as complete if its release is later than the one that
    the dataset was last compared with. An earlier release changes nothing.

    Args:
        dataset: The dataset.
        lock: The held lock of the dataset.
        catalog: The catalog of the crawl.
        committed: The committed series.

    Returns:
        The current tombstones, which are saved if they have changed.

    Raises:
        DatasetError: The tombstones cannot be read or written.
        SelectionError: The catalog cannot be read.
    """
    tombstones = dataset.marks()
    release = catalog.release
    if release is None or (tombstones.release is not None and release < tombstones.release):
        return tombstones
    if not catalog.is_complete and release == tombstones.release:
        return tombstones
    changes = catalog.changes(committed.collections)
    now = datetime.now(UTC).replace(tzinfo=None)
    series: dict[str, Tombstone] = {}
    for uuid in {*changes.gone, *changes.moved}:
        series[uuid] = _tombstone(tombstones.series.get(uuid, Tombstone()), changes.gone.get(uuid), now)
    for uuid, collection in changes.moved.items():
        before = tombstones.series.get(uuid, Tombstone())
        since = before.moved_in if before.collection_id == collection else release
        series[uuid] = replace(
            series[uuid], collection_id=collection, moved_from=committed.collections[uuid], moved_in=since
        )
    updated = replace(tombstones, release=release, series=series)
    if updated != tombstones:
        dataset.save_marks(lock, updated)
        _log(release, tombstones, updated)
    return updated


def _tombstone(before: Tombstone, gone: int | None, now: datetime) -> Tombstone:
    if gone is None:
        return Tombstone()
    return replace(before, superseded_in=gone, superseded_at=before.superseded_at or now)


def _log(release: int, before: Tombstones, now: Tombstones) -> None:
    superseded = [uuid for uuid, one in now.series.items() if one.superseded_in is not None]
    fresh = [uuid for uuid in superseded if uuid not in before.series]
    if fresh:
        _logger.info(
            "release %d: %d harvested series have left the catalog; their rows are marked as superseded",
            release,
            len(fresh),
        )
