"""The catalog of a table: idc-index's, or a Parquet file with the same columns."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, TypeAlias

import duckdb
import pyarrow as pa

from harvester.catalog.base import Catalog, ReleaseChanges
from harvester.catalog.clouds import copies, is_idc_bucket, is_series_uuid, parse_prefix
from harvester.catalog.database import arrow_reader, bounded, connect, error_line, first_row, lock
from harvester.catalog.manifest import ManifestSeries, read_manifest
from harvester.catalog.parquet_source import ParquetSource, find_parquet
from harvester.catalog.selection import conditions
from harvester.catalog.views import (
    changes_of_release,
    define_catalog,
    define_places,
    define_rows,
    define_selection,
    newest_release,
)
from harvester.config import CrawlConfig
from harvester.errors import ConfigError, SelectionError
from harvester.model import ObjectRef, Series, SeriesOutline, SeriesTotals, Summary

BATCH_ROWS = 4096

_SUMMARY = """
    SELECT CAST(collection_id AS VARCHAR), CAST(Modality AS VARCHAR), COUNT(*),
           COALESCE(SUM(harvest_instances), 0), COALESCE(SUM(harvest_size), 0),
           COUNT(*) FILTER (harvest_instances IS NULL), COUNT(*) FILTER (harvest_place IS NULL)
    FROM selection GROUP BY ALL ORDER BY ALL
"""

_TWICE = "SELECT harvest_key FROM selection GROUP BY harvest_key HAVING COUNT(*) > 1 LIMIT 1"

# A series without a count counts as the mean.
_PLACES = """
    SELECT split_part(harvest_place, '://', 1), split_part(harvest_place, '/', 3),
           CAST(COUNT(*) * AVG(harvest_instances) AS BIGINT)
    FROM places WHERE harvest_place IS NOT NULL GROUP BY ALL HAVING COUNT(harvest_instances) > 0
"""

_WHERE = "harvest_place, harvest_uuid, CAST(SeriesInstanceUID AS VARCHAR), harvest_release"
_SERIES = """
    SELECT harvest_key, CAST(collection_id AS VARCHAR), CAST(Modality AS VARCHAR), harvest_instances,
           harvest_size{more}
    FROM (SELECT *, COALESCE(CAST(collection_id AS VARCHAR), '') AS harvest_collection,
                 COALESCE(CAST(Modality AS VARCHAR), '') AS harvest_modality FROM selection)
    WHERE (harvest_collection > $first OR harvest_collection = $first AND harvest_modality >= $from)
      AND (harvest_collection < $last OR harvest_collection = $last AND harvest_modality <= $to)
    ORDER BY harvest_collection, harvest_modality, harvest_key
"""

# Sorting all of IDC at once takes 0.5 GB: it is sorted in runs of about this many series.
_SORTED_AT_ONCE = 200_000

_STUDIES = """
    SELECT harvest_key, CAST(StudyInstanceUID AS VARCHAR) FROM selection WHERE StudyInstanceUID IS NOT NULL
"""

_UUID_FOLDER_LENGTH = 38  # of a series' UUID and "/*", as in IDC's buckets

_Group: TypeAlias = tuple[str, str]


class _Row(NamedTuple):
    """The columns of `_SERIES` and `_WHERE`, in their order."""

    key: str
    collection_id: str | None
    modality: str | None
    instances: int | None
    size: int | None
    place: str
    uuid: str | None
    series_instance_uid: str | None
    release: int | None


class TableCatalog(Catalog):
    """The rows of a Parquet file that satisfy `[select]`, one series a row.

    `Series.idc_version` is the release that the catalog describes: the latest in idc-index's
    `version_metadata_index`, or a file's latest `series_revised_idc_version`. A series of a manifest that
    only earlier releases had gets the last of these.
    """

    def __init__(
        self, config: CrawlConfig, connection: duckdb.DuckDBPyConnection, source: ParquetSource
    ) -> None:
        self._config = config
        self._connection = connection
        self._source = source
        self._lock = Lock()
        self._is_closed = False
        self._release: int | None = None
        self._partial: dict[str, ManifestSeries] = {}
        self._summary = Summary({})
        self._buckets: dict[str, tuple[ObjectRef, ...]] = {}

    @classmethod
    def open(cls, config: CrawlConfig) -> "TableCatalog":
        """Find the table, apply the selection and count it.

        Raises:
            ConfigError: The table or the manifest cannot be read.
            SelectionError: The selection has unknown names, is invalid SQL, or matches nothing.
        """
        source = find_parquet(config)
        catalog = cls(config, connect(), source)
        try:
            catalog._select()
            catalog._count()
        except BaseException:
            catalog.close()
            raise
        return catalog

    @property
    def name(self) -> str:
        """The release of idc-index-data, or the file."""
        return self._source.name

    @property
    def release(self) -> int | None:
        """The newest IDC release in the table."""
        return self._release

    def summary(self) -> Summary:
        """Counts of the selection, computed when the catalog was opened."""
        return self._summary

    def series(self, limit: int | None = None) -> Iterator[Series]:
        """The selected series by collection, modality and key, streamed from the table.

        Raises:
            SelectionError: A row gives an invalid location for its series.
        """
        rows = self._sorted(_SERIES.format(more=f", {_WHERE}"))
        return islice((self._one(_Row(*row)) for row in rows), limit)

    def outlines(self) -> Iterator[SeriesOutline]:
        """The selected series in the same order, with five of their columns.

        Raises:
            SelectionError: The table cannot be read to its end.
        """
        return (SeriesOutline(*row) for row in self._sorted(_SERIES.format(more="")))

    @property
    def is_ordered(self) -> bool:
        """True: DuckDB sorts it, and a repeated series is refused."""
        return True

    def _sorted(self, sql: str) -> Iterator[tuple[Any, ...]]:
        for first, last in self._runs():
            bounds = {"first": first[0], "from": first[1], "last": last[0], "to": last[1]}
            yield from self._rows(sql, bounds)

    def _rows(self, sql: str, parameters: dict[str, str] | None = None) -> Iterator[tuple[Any, ...]]:
        """Stream a query; after `close`, which may come from another thread, it ends with an error."""
        with self._open():
            cursor = self._connection.cursor()  # one for each reader: a new query ends the cursor's last one
        try:
            with self._open():
                batches = arrow_reader(cursor.sql(sql, params=parameters), BATCH_ROWS)
            while True:
                with self._open():
                    batch = next(batches, None)
                if batch is None:
                    return
                yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
        finally:
            with self._lock:
                cursor.close()

    @contextmanager
    def _open(self) -> Iterator[None]:
        """Keep the database open during the block; DuckDB ends the process if it is closed meanwhile."""
        with self._lock:
            if self._is_closed:
                raise SelectionError(f"{self._config.name}: the catalog was closed while it was read")
            try:
                yield
            except duckdb.Error as error:
                raise self._error(error) from None

    def _runs(self) -> Iterator[tuple[_Group, _Group]]:
        """The first and last collection and modality of each run that is sorted at once."""
        counts: dict[_Group, int] = defaultdict(int)
        for (collection, modality), tally in self._summary.groups.items():
            counts[(collection or "", modality or "")] += tally.series
        first: _Group | None = None
        held = 0
        for group, last in zip(sorted(counts), [*sorted(counts)[1:], None], strict=True):
            first, held = first or group, held + counts[group]
            if last is None or held + counts[last] > _SORTED_AT_ONCE:
                yield first, group
                first, held = None, 0

    def studies(self) -> Iterator[tuple[str, str]]:
        """Keys and Study Instance UIDs of the selected series.

        Raises:
            SelectionError: The table cannot be read to its end.
        """
        columns = {row[0].lower() for row in self._rows("DESCRIBE selection")}
        if "studyinstanceuid" in columns:
            yield from self._rows(_STUDIES)

    @property
    def is_complete(self) -> bool:
        """Whether this is the installed idc-index release."""
        return self._source.is_idc

    def changes(self, harvested: Mapping[str, str | None]) -> ReleaseChanges:
        """The harvested series that the newest release lacks, or has in another collection.

        Raises:
            SelectionError: The table cannot be read to its end.
        """
        if self._release is None or not harvested:
            return ReleaseChanges()
        asked = pa.table(
            {
                "uuid": pa.array(harvested.keys(), pa.string()),
                "harvested": pa.array(harvested.values(), pa.string()),
            }
        )
        with self._open():
            return changes_of_release(self._connection, self._source, asked, self._release)

    def bucket_totals(self) -> dict[tuple[str, str], int]:
        """Objects of the table and of IDC's earlier releases in each bucket and its copies.

        Raises:
            SelectionError: The table cannot be read to its end.
        """
        with self._open():
            rows = self._connection.execute(_PLACES).fetchall()
        return {
            (place.scheme, place.bucket): int(instances)
            for scheme, bucket, instances in rows
            for place in self._copies(ObjectRef(bucket, "", scheme))
        }

    def close(self) -> None:
        """Close the database, and delete the table if it was downloaded."""
        # A crawl that is stopped leaves a thread behind that reads.
        with self._lock:
            self._is_closed = True
            self._connection.close()
            self._source.close()

    def _select(self) -> None:
        config, connection, source = self._config, self._connection, self._source
        try:
            columns = define_rows(connection, source)
            self._release = newest_release(connection, source, columns)
        except duckdb.Error as error:
            raise ConfigError(f"{config.name}: source.catalog: {source.name}: {error_line(error)}") from None
        manifest = self._read_manifest()
        clauses = conditions(connection, config, columns, source.name)
        try:
            define_catalog(connection, source, self._release, manifest)
            define_places(connection, source)
            lock(connection, [path for path in (source.path, source.prior_versions) if path is not None])
            define_selection(connection, clauses, config.select.where)
        except duckdb.Error as error:
            raise self._error(error) from None

    def _read_manifest(self) -> list[ManifestSeries] | None:
        if self._config.select.manifest is None:
            return None
        path = Path(self._config.select.manifest)
        manifest = read_manifest(path, self._config.source.providers)
        if not manifest:
            raise SelectionError(f"{self._config.name}: select.manifest: {path} names no series")
        self._partial = {series.key: series for series in manifest if series.objects}
        return manifest

    def _count(self) -> None:
        try:
            with bounded(self._connection):
                rows = self._connection.execute(_SUMMARY).fetchall()
                twice = None if self._source.is_idc else first_row(self._connection, _TWICE)
        except duckdb.Error as error:
            raise self._error(error) from None
        if not rows:
            keys = [*self._config.select.columns, *(key for key in ("where", "manifest") if self._given(key))]
            reason = f"satisfies {' and '.join(keys)}" if keys else "is there"
            raise SelectionError(f"{self._config.name}: select: no series of {self.name} {reason}")
        if nowhere := sum(row[6] for row in rows):
            raise SelectionError(
                f"{self.name}: {nowhere:,} of the selected rows have neither series_aws_url "
                "nor aws_bucket and crdc_series_uuid"
            )
        if twice is not None:
            raise SelectionError(
                f"{self.name}: names series {twice[0]!r} more than once; keep one row a series"
            )
        self._summary = Summary(
            {(row[0], row[1]): SeriesTotals(*(int(count) for count in row[2:6])) for row in rows}
        )

    def _given(self, key: str) -> bool:
        return getattr(self._config.select, key) is not None

    def _error(self, error: duckdb.Error) -> SelectionError:
        config = self._config
        culprit = "select.where" if config.select.where is not None else f"source.catalog: {self.name}"
        if isinstance(error, duckdb.InterruptException):
            return SelectionError(f"{config.name}: {culprit}: takes too long; simplify it")
        return SelectionError(f"{config.name}: {culprit}: {error_line(error)}")

    def _one(self, row: "_Row") -> Series:
        partial = self._partial.get(row.key)
        return Series(
            key=row.key,
            prefixes=() if partial else self._prefixes(row.place),
            objects=partial.objects if partial else (),
            series_instance_uid=row.series_instance_uid,
            crdc_series_uuid=row.uuid,
            collection_id=row.collection_id,
            modality=row.modality,
            instance_count=row.instances,
            size=row.size,
            idc_version=row.release,
        )

    def _prefixes(self, place: str) -> tuple[ObjectRef, ...]:
        bucket, folder = place[:-_UUID_FOLDER_LENGTH], place[-_UUID_FOLDER_LENGTH:-1]
        is_uuid_folder = place.endswith("/*") and is_series_uuid(folder[:-1])
        if is_uuid_folder and bucket in self._buckets:  # nearly all of a million series
            return tuple(ObjectRef(one.bucket, folder, one.scheme) for one in self._buckets[bucket])
        prefixes = self._parsed(place)
        if is_uuid_folder and all(prefix.key == folder for prefix in prefixes):
            self._buckets[bucket] = prefixes
        return prefixes

    def _parsed(self, place: str) -> tuple[ObjectRef, ...]:
        try:
            prefix = parse_prefix(place if place.endswith(("/", "*")) else place + "/")
        except ConfigError as error:
            raise SelectionError(f"{self.name}: series_aws_url: {error}") from None
        if not prefix.key:
            raise SelectionError(f"{self.name}: series_aws_url: {place!r} names a whole bucket")
        return self._copies(prefix)

    def _copies(self, place: ObjectRef) -> tuple[ObjectRef, ...]:
        # Another cloud's bucket of the same name may be a stranger's.
        is_alone = place.scheme == "gs" or not self._config.source.failover
        if is_alone and not is_idc_bucket(place.bucket):
            return (place,)
        return copies(place.bucket, place.key, self._config.source.providers)
