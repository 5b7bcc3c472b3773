"""Where the rows of a revised series' earlier versions lie: most of its objects are as they were."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from harvester.catalog.clouds import canonical_key
from harvester.dataset import Dataset, TableName, Tombstones
from harvester.dataset.paths import split_path
from harvester.errors import DatasetError

_KINDS: Final[tuple[TableName, ...]] = ("instances", "frames")


def find_predecessors(dataset: Dataset, marks: Tombstones) -> Mapping[str, tuple[str, ...]]:
    """The parts of `instances` and `frames` that hold rows of superseded series.

    Read from the commits that harvested such series, and from their parts, or what these were merged into.

    Args:
        dataset: The dataset; what is found holds for as long as its lock is held.
        marks: Its marks.

    Returns:
        The parts' paths, by the SeriesInstanceUID, which the versions of a series have in common.

    Raises:
        DatasetError: A commit record or a part cannot be read.
    """
    gone = {uuid for uuid, mark in marks.series.items() if mark.superseded_in is not None}
    if not gone:
        return {}
    paths = _parts_of(dataset, gone)
    found: defaultdict[str, list[str]] = defaultdict(list)
    uuids = pa.array(sorted(gone), pa.string())
    for path in paths["instances"]:
        for uid in _series_in(dataset, path, "crdc_series_uuid", uuids):
            found[uid].append(path)
    uids = pa.array(sorted(found), pa.string())
    for path in paths["frames"]:
        for uid in _series_in(dataset, path, "SeriesInstanceUID", uids):
            found[uid].append(path)
    return {uid: tuple(parts) for uid, parts in found.items()}


def _parts_of(dataset: Dataset, gone: set[str]) -> Mapping[TableName, list[str]]:
    """The parts that can hold rows of these series, by table."""
    mine = {
        part.path
        for commit in dataset.commits()
        if not gone.isdisjoint(map(canonical_key, commit.series))
        for part in commit.parts
    }
    there: dict[TableName, list[str]] = {kind: [part.path for part in dataset.parts(kind)] for kind in _KINDS}
    # A compaction may have moved rows to other parts of their folder.
    moved = {split_path(path)[0] for path in mine.difference(*there.values())}
    return {
        kind: sorted(path for path in paths if path in mine or split_path(path)[0] in moved)
        for kind, paths in there.items()
    }


def _series_in(dataset: Dataset, path: str, column: str, values: pa.Array) -> Iterable[str]:
    """The SeriesInstanceUIDs of a part's rows that have one of these values."""
    found: set[str] = set()
    for batch in _batches(dataset, path, {"SeriesInstanceUID", column}):
        rows = batch.filter(pc.is_in(batch.column(column), value_set=values))
        found.update(uid for uid in rows.column("SeriesInstanceUID").to_pylist() if uid is not None)
    return sorted(found)


def _batches(dataset: Dataset, path: str, columns: set[str]) -> Iterator[pa.RecordBatch]:
    try:
        with dataset.storage.parquet(path) as file:
            if columns <= set(file.schema_arrow.names):
                yield from file.iter_batches(columns=sorted(columns))
    except (OSError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise DatasetError(f"{dataset.storage.folder}/{path}: cannot be read ({reason})") from error
