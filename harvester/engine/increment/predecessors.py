"""Finds the parts with rows of a revised series' earlier versions."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

import pyarrow as pa

from harvester.catalog.clouds import canonical_key
from harvester.dataset import Dataset, TableName, Tombstones
from harvester.dataset.paths import split_path

_TABLES: Final[tuple[TableName, ...]] = ("instances", "frames")


def find_predecessors(dataset: Dataset, tombstones: Tombstones) -> Mapping[str, tuple[str, ...]]:
    """The parts of `instances` and `frames` that hold rows of superseded series.

    Read from the commits that harvested such series, and from their parts, or the parts that these were
    compacted into.

    Args:
        dataset: The dataset; the result is valid as long as its lock is held.
        tombstones: Its tombstones.

    Returns:
        Paths of parts by SeriesInstanceUID, which the versions of a series have in common.

    Raises:
        DatasetError: A commit record or a part cannot be read.
    """
    superseded = {uuid for uuid, one in tombstones.series.items() if one.superseded_in is not None}
    if not superseded:
        return {}
    paths = _parts_of(dataset, superseded)
    found: defaultdict[str, list[str]] = defaultdict(list)
    uuids = pa.array(sorted(superseded), pa.string())
    for path in paths["instances"]:
        for uid in _series_in(dataset, path, "crdc_series_uuid", uuids):
            found[uid].append(path)
    uids = pa.array(sorted(found), pa.string())
    for path in paths["frames"]:
        for uid in _series_in(dataset, path, "SeriesInstanceUID", uids):
            found[uid].append(path)
    return {uid: tuple(parts) for uid, parts in found.items()}


def _parts_of(dataset: Dataset, series: set[str]) -> Mapping[TableName, list[str]]:
    """The parts that can hold rows of these series, by table."""
    committed = {
        part.path
        for commit in dataset.commits()
        if not series.isdisjoint(map(canonical_key, commit.series))
        for part in commit.parts
    }
    current: dict[TableName, list[str]] = {
        table: [part.path for part in dataset.parts(table)] for table in _TABLES
    }
    # Compaction may have moved rows to other parts of the same folder.
    compacted = {split_path(path)[0] for path in committed.difference(*current.values())}
    return {
        table: sorted(path for path in paths if path in committed or split_path(path)[0] in compacted)
        for table, paths in current.items()
    }


def _series_in(dataset: Dataset, path: str, column: str, values: pa.Array) -> Iterable[str]:
    """The SeriesInstanceUIDs of a part's rows that have one of these values in a column."""
    from pyarrow import compute  # noqa: PLC0415  a tenth of a worker's start, which few crawls need

    found: set[str] = set()
    columns = {"SeriesInstanceUID", column}
    with dataset.storage.part_reader(path) as file:
        if columns <= set(file.schema_arrow.names):
            for batch in file.iter_batches(columns=sorted(columns)):
                rows = batch.filter(compute.is_in(batch.column(column), value_set=values))
                found.update(uid for uid in rows.column("SeriesInstanceUID").to_pylist() if uid is not None)
    return sorted(found)
