"""Rows that a revised series takes over from its earlier version, for objects that the revision left alone.

IDC gives a revised series a new folder, and in it an object that was not revised keeps its name, its CRDC
instance UUID, which names these very bytes. So its header need not be read a second time.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from harvester.catalog.clouds import is_series_uuid
from harvester.dataset import FRAME_COLUMNS, INSTANCE_COLUMNS, Dataset, Partition, TableName
from harvester.dataset.paths import encode_value
from harvester.dataset.schema_merge import conform, unite
from harvester.errors import DatasetError
from harvester.model import ListedObject, Series

_KNOWN: Final = (
    *("SeriesInstanceUID", "crdc_instance_uuid", "instance_url", "instance_size", "etag", "harvested_at"),
    *("encapsulated", "NumberOfFrames"),
)
_FRAMES_KNOWN: Final = ("SeriesInstanceUID", "instance_url", "etag")
_BYTES_AT_ONCE: Final = 32 << 20

_Row = tuple[str, int, int]
"""Where a row is: a part's path, the number of a row group, the row's number in it."""


class _Earlier(NamedTuple):
    """An object as it was harvested with an earlier version of its series."""

    row: _Row
    frames: _Row | None
    size: int
    etag: str | None
    harvested_at: datetime
    may_have_frames: bool


class _Taken(NamedTuple):
    """A row that is carried over."""

    earlier: _Earlier
    series: Series
    listed: ListedObject


@dataclass(slots=True)
class ReusedRows:
    """What one shard need not read; make it by `find_earlier`.

    Args:
        dataset: Where the earlier rows are.
        with_frames: Whether an object that can have a row of `frames` must have one to be carried over.
    """

    dataset: Dataset
    with_frames: bool
    _earlier: Mapping[tuple[str, str], _Earlier] = field(default_factory=dict)
    _taken: dict[str, list[_Taken]] = field(default_factory=dict)

    def take(self, series: Series, listed: ListedObject) -> bool:
        """Whether an object's row can be carried over; it is from now on expected to be.

        Its name has to be the same CRDC UUID and its size the same; where both the row and the listing have
        an ETag, that, too.
        """
        if series.crdc_series_uuid is None or series.series_instance_uid is None:
            return False
        uuid = listed.ref.stem
        one = self._earlier.get((series.series_instance_uid, uuid))
        if one is None or one.size != listed.size or not is_series_uuid(uuid):
            return False
        if None not in (one.etag, listed.etag) and one.etag != listed.etag:
            return False
        if not _is_of_modality(one.row, series) or (
            self.with_frames and one.may_have_frames and one.frames is None
        ):
            return False
        self._taken.setdefault(series.key, []).append(_Taken(one, series, listed))
        return True

    def count(self, series: str) -> int:
        """How many rows of `instances` a series takes over, by its key."""
        return len(self._taken.get(series, ()))

    def tables(self, series: Collection[str]) -> Iterator[tuple[TableName, Partition, pa.Table]]:
        """The rows of these series as they are to be written, some megabytes at once.

        What the headers say is as it was read, `harvester_version` included, which says by what. What the
        harvest says of where the object is and what it cost is that of now: no request, no byte.

        Raises:
            DatasetError: A part cannot be read, or parts do not unite.
        """
        taken = [one for key in series for one in self._taken.get(key, ())]
        yield from self._tables("instances", [(one.earlier.row, one) for one in taken])
        frames = [(one.earlier.frames, one) for one in taken]
        yield from self._tables("frames", [(row, one) for row, one in frames if row is not None])

    def _tables(
        self, kind: TableName, rows: Iterable[tuple[_Row, _Taken]]
    ) -> Iterator[tuple[TableName, Partition, pa.Table]]:
        groups: dict[Partition, dict[tuple[str, int], dict[int, _Taken]]] = {}
        for (path, group, row), one in rows:
            partition = Partition(one.series.collection_id, one.series.modality)
            groups.setdefault(partition, {}).setdefault((path, group), {})[row] = one
        for partition, places in groups.items():
            together: list[pa.Table] = []
            for (path, group), chosen in sorted(places.items()):
                together.append(self._renewed(kind, path, group, chosen))
                if sum(table.nbytes for table in together) >= _BYTES_AT_ONCE:
                    yield kind, partition, _united(together)
                    together = []
            if together:
                yield kind, partition, _united(together)

    def _renewed(self, kind: TableName, path: str, group: int, chosen: Mapping[int, _Taken]) -> pa.Table:
        table = _opened(self.dataset, path, lambda file: file.read_row_group(group))
        table = table.filter(pa.array([row in chosen for row in range(table.num_rows)], pa.bool_()))
        facts = [_facts(chosen[row]) for row in sorted(chosen)]
        columns = INSTANCE_COLUMNS if kind == "instances" else FRAME_COLUMNS
        for name in facts[0]:
            if name in columns.names:
                kind_of = columns.field(name)
                values = pa.array([one[name] for one in facts], kind_of.type)
                place = table.schema.get_field_index(name)
                table = (
                    table.append_column(kind_of, values)
                    if place < 0
                    else table.set_column(place, kind_of, values)
                )
        return table


def find_earlier(
    dataset: Dataset, parts: Iterable[str], series: Iterable[Series], *, with_frames: bool
) -> ReusedRows:
    """Look for rows of earlier versions of these series.

    Args:
        dataset: Where.
        parts: The paths of the parts of `instances` and `frames` that can hold some.
        series: The series as they are to be harvested now.
        with_frames: See `ReusedRows`.

    Raises:
        DatasetError: A part cannot be read.
    """
    uids = {one.series_instance_uid for one in series if one.crdc_series_uuid}
    wanted = pa.array(sorted(uid for uid in uids if uid), pa.string())
    paths = list(parts)
    frames: dict[tuple[str, str | None], _Row] = {}
    for path in paths:
        if path.startswith("frames/"):
            for row, one in _known(dataset, path, _FRAMES_KNOWN, wanted):
                frames[one["instance_url"], one["etag"]] = row
    earlier: dict[tuple[str, str], _Earlier] = {}
    for path in paths:
        if path.startswith("instances/"):
            for row, one in _known(dataset, path, _KNOWN, wanted):
                name = (one["SeriesInstanceUID"], one["crdc_instance_uuid"])
                before = earlier.get(name)
                # It may have been carried over before, or replaced in its place: the last counts.
                if _is_whole(one) and (before is None or before.harvested_at < one["harvested_at"]):
                    earlier[name] = _Earlier(
                        row,
                        frames.get((one["instance_url"], one["etag"])),
                        one["instance_size"],
                        one["etag"],
                        one["harvested_at"],
                        bool(one["encapsulated"]) and (one["NumberOfFrames"] or 1) > 1,
                    )
    return ReusedRows(dataset, with_frames, earlier)


def _known(
    dataset: Dataset, path: str, names: Iterable[str], wanted: pa.Array
) -> Iterator[tuple[_Row, dict[str, Any]]]:
    """What some columns say of the rows of these series; a column that is not there says None."""

    def rows(file: pq.ParquetFile) -> list[tuple[_Row, dict[str, Any]]]:
        present = [name for name in names if name in file.schema_arrow.names]
        if "SeriesInstanceUID" not in present:
            return []
        nothing = dict.fromkeys(names)
        found: list[tuple[_Row, dict[str, Any]]] = []
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, columns=present)
            hit = pc.is_in(table["SeriesInstanceUID"], value_set=wanted)
            numbers = pc.indices_nonzero(hit).to_pylist()
            said = table.filter(hit).to_pylist()
            found += [
                ((path, group, number), {**nothing, **one}) for number, one in zip(numbers, said, strict=True)
            ]
        return found

    yield from _opened(dataset, path, rows)


def _opened(dataset: Dataset, path: str, read: Callable[[pq.ParquetFile], Any]) -> Any:
    try:
        with dataset.storage.parquet(path) as file:
            return read(file)
    except (OSError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise DatasetError(f"{dataset.storage.folder}/{path}: cannot be read ({reason})") from error


def _is_whole(known: Mapping[str, Any]) -> bool:
    return None not in (known["crdc_instance_uuid"], known["instance_size"], known["harvested_at"])


def _is_of_modality(row: _Row, series: Series) -> bool:
    """Whether the row lies in a folder of the modality that the catalog has the series in now."""
    folder = f"Modality={encode_value(series.modality)}"
    return series.modality is not None and row[0].split("/")[2] == folder


def _facts(one: _Taken) -> dict[str, Any]:
    return {
        "collection_id": one.series.collection_id,
        "instance_url": one.listed.ref.url,
        "etag": one.listed.etag,
        "crdc_series_uuid": one.series.crdc_series_uuid,
        "idc_version": one.series.idc_version,
        "requests": 0,
        "bytes_fetched": 0,
        "harvested_at": datetime.now(UTC).replace(tzinfo=None),
    }


def _united(tables: list[pa.Table]) -> pa.Table:
    schema = unite(table.schema for table in tables)
    return pa.concat_tables([conform(table, schema) for table in tables])
