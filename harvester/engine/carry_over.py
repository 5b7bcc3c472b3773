"""Reuses rows of a revised series' earlier version for the objects that the revision left unchanged.

IDC gives a revised series a new folder. An object in it that was not revised keeps its name, its CRDC
instance UUID, which identifies these very bytes. So its header need not be read again.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import pyarrow as pa

from harvester.catalog.clouds import is_series_uuid
from harvester.dataset import FRAME_COLUMNS, INSTANCE_COLUMNS, Dataset, Partition, TableName
from harvester.dataset.paths import encode_value
from harvester.dataset.schema_merge import conform, unite
from harvester.model import ListedObject, Series

_INSTANCE_FIELDS: Final = (
    *("SeriesInstanceUID", "crdc_instance_uuid", "instance_url", "instance_size", "etag", "harvested_at"),
    *("encapsulated", "NumberOfFrames"),
)
_FRAME_FIELDS: Final = ("SeriesInstanceUID", "instance_url", "etag")
_BYTES_AT_ONCE: Final = 32 << 20


class _RowPlace(NamedTuple):
    """A row's part, row group and number in the group."""

    path: str
    group: int
    number: int


class _EarlierInstance(NamedTuple):
    """An object as it was harvested with an earlier version of its series."""

    row: _RowPlace
    frames: _RowPlace | None
    size: int
    etag: str | None
    harvested_at: datetime
    may_have_frames: bool


class _Reuse(NamedTuple):
    """An earlier row and the series and object that it is reused for."""

    earlier: _EarlierInstance
    series: Series
    listed: ListedObject


@dataclass(slots=True)
class ReusedRows:
    """The rows that one shard reuses; made by `find_reusable_rows`.

    Args:
        dataset: The dataset with the earlier rows.
        with_frames: Whether a multi-frame object is reused only together with its row of `frames`.
    """

    dataset: Dataset
    with_frames: bool
    _earlier: Mapping[tuple[str, str], _EarlierInstance] = field(default_factory=dict)
    _taken: dict[str, list[_Reuse]] = field(default_factory=dict)

    def take(self, series: Series, listed: ListedObject) -> bool:
        """Reuse the row of an object, if there is one; return whether there is.

        The CRDC UUID in its name and its size must be the same, and the ETag if the row and the listing
        both have one.
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
        self._taken.setdefault(series.key, []).append(_Reuse(one, series, listed))
        return True

    def count(self, series: str) -> int:
        """Number of rows of `instances` that a series reuses, by its key."""
        return len(self._taken.get(series, ()))

    def tables(self, series: Collection[str]) -> Iterator[tuple[TableName, Partition, pa.Table]]:
        """The rows of these series as they are to be written, some megabytes at a time.

        Header columns stay as they were read, and so does `harvester_version`. The object's address and
        the cost are those of this harvest: no request, no byte.

        Raises:
            DatasetError: A part cannot be read, or parts do not unite.
        """
        taken = [one for key in series for one in self._taken.get(key, ())]
        yield from self._tables("instances", [(one.earlier.row, one) for one in taken])
        frames = [(one.earlier.frames, one) for one in taken]
        yield from self._tables("frames", [(row, one) for row, one in frames if row is not None])

    def _tables(
        self, table: TableName, rows: Iterable[tuple[_RowPlace, _Reuse]]
    ) -> Iterator[tuple[TableName, Partition, pa.Table]]:
        partitions: dict[Partition, dict[tuple[str, int], dict[int, _Reuse]]] = {}
        for (path, group, row), one in rows:
            partition = Partition(one.series.collection_id, one.series.modality)
            partitions.setdefault(partition, {}).setdefault((path, group), {})[row] = one
        for partition, groups in partitions.items():
            pending: list[pa.Table] = []
            for (path, group), chosen in sorted(groups.items()):
                pending.append(self._updated(table, path, group, chosen))
                if sum(one.nbytes for one in pending) >= _BYTES_AT_ONCE:
                    yield table, partition, _united(pending)
                    pending = []
            if pending:
                yield table, partition, _united(pending)

    def _updated(self, table: TableName, path: str, group: int, chosen: Mapping[int, _Reuse]) -> pa.Table:
        with self.dataset.storage.part_reader(path) as file:
            rows = file.read_row_group(group)
        rows = rows.filter(pa.array([number in chosen for number in range(rows.num_rows)], pa.bool_()))
        facts = [_facts(chosen[number]) for number in sorted(chosen)]
        columns = INSTANCE_COLUMNS if table == "instances" else FRAME_COLUMNS
        for name in (name for name in facts[0] if name in columns.names):
            column = columns.field(name)
            values = pa.array([one[name] for one in facts], column.type)
            place = rows.schema.get_field_index(name)
            rows = rows.append_column(column, values) if place < 0 else rows.set_column(place, column, values)
        return rows


def find_reusable_rows(
    dataset: Dataset, parts: Iterable[str], series: Iterable[Series], *, with_frames: bool
) -> ReusedRows:
    """Find rows of earlier versions of these series.

    Args:
        dataset: The dataset.
        parts: Paths of the parts of `instances` and `frames` that can hold such rows.
        series: The series as they are to be harvested now.
        with_frames: See `ReusedRows`.

    Raises:
        DatasetError: A part cannot be read.
    """
    uids = {one.series_instance_uid for one in series if one.crdc_series_uuid}
    wanted = pa.array(sorted(uid for uid in uids if uid), pa.string())
    paths = list(parts)
    frames: dict[tuple[str, str | None], _RowPlace] = {}
    for path in paths:
        if path.startswith("frames/"):
            for row, values in _rows_of(dataset, path, _FRAME_FIELDS, wanted):
                frames[values["instance_url"], values["etag"]] = row
    earlier: dict[tuple[str, str], _EarlierInstance] = {}
    for path in paths:
        if path.startswith("instances/"):
            for row, values in _rows_of(dataset, path, _INSTANCE_FIELDS, wanted):
                key = (values["SeriesInstanceUID"], values["crdc_instance_uuid"])
                before = earlier.get(key)
                # A row may have been reused before, or its object replaced: the last one counts.
                if _is_complete(values) and (before is None or before.harvested_at < values["harvested_at"]):
                    earlier[key] = _EarlierInstance(
                        row,
                        frames.get((values["instance_url"], values["etag"])),
                        values["instance_size"],
                        values["etag"],
                        values["harvested_at"],
                        bool(values["encapsulated"]) and (values["NumberOfFrames"] or 1) > 1,
                    )
    return ReusedRows(dataset, with_frames, earlier)


def _rows_of(
    dataset: Dataset, path: str, names: Iterable[str], uids: pa.Array
) -> list[tuple[_RowPlace, dict[str, Any]]]:
    """Some columns of the rows of these SeriesInstanceUIDs; None for a column that the part lacks."""
    from pyarrow import compute  # noqa: PLC0415  a tenth of a worker's start, which few crawls need

    found: list[tuple[_RowPlace, dict[str, Any]]] = []
    missing = dict.fromkeys(names)
    with dataset.storage.part_reader(path) as file:
        present = [name for name in names if name in file.schema_arrow.names]
        if "SeriesInstanceUID" not in present:
            return []
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, columns=present)
            matches = compute.is_in(table["SeriesInstanceUID"], value_set=uids)
            numbers = compute.indices_nonzero(matches).to_pylist()
            values = table.filter(matches).to_pylist()
            found += [
                (_RowPlace(path, group, number), {**missing, **one})
                for number, one in zip(numbers, values, strict=True)
            ]
    return found


def _is_complete(values: Mapping[str, Any]) -> bool:
    return None not in (values["crdc_instance_uuid"], values["instance_size"], values["harvested_at"])


def _is_of_modality(row: _RowPlace, series: Series) -> bool:
    """Whether the row lies in the folder of the modality that the catalog gives now."""
    folder = f"Modality={encode_value(series.modality)}"
    return series.modality is not None and row.path.split("/")[2] == folder


def _facts(one: _Reuse) -> dict[str, Any]:
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
