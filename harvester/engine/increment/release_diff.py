"""A dataset held against a catalog's release: which of its series left it, or moved to another collection."""

import logging
from dataclasses import replace
from datetime import UTC, datetime

from harvester.catalog import Catalog
from harvester.dataset import Dataset, Lock, Tombstone, Tombstones
from harvester.engine.increment.committed import CommittedSeries

_logger = logging.getLogger("harvester")


def hold_against_release(
    dataset: Dataset, lock: Lock, catalog: Catalog, survey: CommittedSeries
) -> Tombstones:
    """Mark the series that the release has no more; take back the marks of those that it has again.

    A set difference between the commits and the catalog's table: no object is asked for. The installed
    idc-index names all of its release; a Parquet file is taken to do so when its release is a later one
    than the dataset was last held against. An earlier release than that changes nothing.

    Args:
        dataset: The dataset.
        lock: Proof that nobody else writes.
        catalog: The catalog of the crawl.
        survey: The series that are committed.

    Returns:
        The marks as they are now; they are saved where they have changed.

    Raises:
        DatasetError: The marks cannot be read or written.
        SelectionError: The catalog cannot be read.
    """
    marks = dataset.marks()
    release = catalog.release
    if release is None or (marks.release is not None and release < marks.release):
        return marks
    if not catalog.is_complete and release == marks.release:
        return marks
    changes = catalog.changes(survey.collections)
    now = datetime.now(UTC).replace(tzinfo=None)
    series: dict[str, Tombstone] = {}
    for uuid in {*changes.gone, *changes.moved}:
        series[uuid] = _mark(marks.series.get(uuid, Tombstone()), changes.gone.get(uuid), now)
    for uuid, collection in changes.moved.items():
        before = marks.series.get(uuid, Tombstone())
        since = before.moved_in if before.collection_id == collection else release
        series[uuid] = replace(
            series[uuid], collection_id=collection, moved_from=survey.collections[uuid], moved_in=since
        )
    following = replace(marks, release=release, series=series)
    if following != marks:
        dataset.save_marks(lock, following)
        _tell(release, marks, following)
    return following


def _mark(before: Tombstone, gone: int | None, now: datetime) -> Tombstone:
    if gone is None:
        return Tombstone()
    return replace(before, superseded_in=gone, superseded_at=before.superseded_at or now)


def _tell(release: int, before: Tombstones, now: Tombstones) -> None:
    left = [uuid for uuid, mark in now.series.items() if mark.superseded_in is not None]
    fresh = [uuid for uuid in left if uuid not in before.series]
    if fresh:
        _logger.info(
            "release %d: %d series that were harvested have left the catalog; their rows are marked",
            release,
            len(fresh),
        )
