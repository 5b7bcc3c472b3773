"""Which series and objects are superseded: no longer in the catalog, moved, or changed since their harvest.

Parts are immutable, so the marks are a small table of their own, `_harvest/marks.parquet`, which is replaced
as a whole, and which the SQL views join. The next crawl makes lost marks again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from harvester.dataset.paths import MARKS
from harvester.dataset.storage import Storage
from harvester.errors import DatasetError
from harvester.messages import one_line, short_repr

_RELEASE: Final = b"release"

_COLUMNS: Final = pa.schema(
    [
        ("crdc_series_uuid", pa.string()),
        ("instance_url", pa.string()),
        ("superseded_in", pa.int64()),
        ("superseded_at", pa.timestamp("us")),  # UTC
        ("collection_id", pa.string()),
        ("moved_from", pa.string()),
        ("moved_in", pa.int64()),
    ]
)


@dataclass(frozen=True, slots=True)
class Tombstone:
    """The state of a series in the catalog.

    Attributes:
        superseded_in: The first release without it; None: the newest release has it.
        superseded_at: When that was found (UTC).
        collection_id: Its collection in the catalog, if it has moved.
        moved_from: The collection of its rows.
        moved_in: The release in which it moved.
    """

    superseded_in: int | None = None
    superseded_at: datetime | None = None
    collection_id: str | None = None
    moved_from: str | None = None
    moved_in: int | None = None


@dataclass(frozen=True, slots=True)
class Tombstones:
    """All marks of a dataset.

    Attributes:
        release: The newest release that the dataset was compared with; None: none so far.
        series: By CRDC UUID.
        objects: By address: rows harvested before this time (UTC) are superseded.
    """

    release: int | None = None
    series: Mapping[str, Tombstone] = field(default_factory=dict)
    objects: Mapping[str, datetime] = field(default_factory=dict)

    def with_objects(self, urls: Iterable[str], before: datetime) -> "Tombstones":
        """These marks, with rows of these objects superseded that were harvested before a time."""
        return replace(self, objects={**self.objects, **dict.fromkeys(urls, before)})

    def series_table(self) -> pa.Table:
        """The marks of series."""
        if not self.series:
            return _empty(name for name in _COLUMNS.names if name != "instance_url")
        table = self._table()
        return table.filter(table["instance_url"].is_null()).drop_columns(["instance_url"])

    def object_table(self) -> pa.Table:
        """The marks of objects: `instance_url`, `superseded_at`."""
        if not self.objects:
            return _empty(("instance_url", "superseded_at"))
        table = self._table()
        named = table.filter(table["instance_url"].is_valid())
        return named.select(["instance_url", "superseded_at"])

    def _table(self) -> pa.Table:
        rows: list[dict[str, Any]] = [
            {"crdc_series_uuid": uuid, **asdict(mark)} for uuid, mark in sorted(self.series.items())
        ]
        rows += [
            {"instance_url": url, "superseded_at": before} for url, before in sorted(self.objects.items())
        ]
        return pa.Table.from_pylist(rows, _COLUMNS)


def _empty(names: Iterable[str]) -> pa.Table:
    # pyarrow converts lists by importing pandas, which takes longer than most queries.
    return pa.Table.from_batches([], pa.schema([_COLUMNS.field(name) for name in names]))


def read_marks(storage: Storage) -> Tombstones:
    """Read a dataset's marks; empty before the first comparison with a catalog.

    Raises:
        DatasetError: They are corrupt.
    """
    content = storage.find(MARKS)
    if content is None:
        return Tombstones()
    try:
        table = pq.read_table(pa.BufferReader(content))
        release = (table.schema.metadata or {}).get(_RELEASE)
        rows = table.select(_COLUMNS.names).cast(_COLUMNS).to_pylist()
        _require_valid(rows)
        return Tombstones(
            None if release is None else int(release),
            {row["crdc_series_uuid"]: _mark(row) for row in rows if row["crdc_series_uuid"] is not None},
            {row["instance_url"]: row["superseded_at"] for row in rows if row["instance_url"] is not None},
        )
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise DatasetError(
            f"{storage.folder}/{MARKS}: corrupt ({one_line(error)}); delete it, "
            "and the next crawl makes it again"
        ) from error


def write_marks(storage: Storage, marks: Tombstones) -> None:
    """Replace a dataset's marks.

    Raises:
        DatasetError: They cannot be written, or the lock is lost.
    """
    metadata = {} if marks.release is None else {_RELEASE: str(marks.release).encode()}
    table = marks._table().replace_schema_metadata(metadata)  # noqa: SLF001  its own module
    storage.confirm()
    with storage.write(MARKS) as stream:
        pq.write_table(table, stream, compression="zstd")


def _require_valid(rows: Iterable[Mapping[str, Any]]) -> None:
    for row in rows:
        is_of_object = row["instance_url"] is not None
        if is_of_object == (row["crdc_series_uuid"] is not None):
            raise ValueError("a row marks no series and no object, or both")
        if is_of_object and row["superseded_at"] is None:
            raise ValueError(f"no time for {short_repr(row['instance_url'])}")


def _mark(row: Mapping[str, Any]) -> Tombstone:
    return Tombstone(**{field.name: row[field.name] for field in fields(Tombstone)})
