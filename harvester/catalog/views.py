"""SQL views of the catalog's table: its rows, the series of a manifest, and the selection."""

from collections.abc import Sequence

import duckdb
import pyarrow as pa

from harvester.catalog.base import ReleaseChanges
from harvester.catalog.clouds import is_idc_bucket, parse_prefix
from harvester.catalog.database import add_table, first_row, identifier, literal
from harvester.catalog.manifest import ManifestSeries
from harvester.catalog.parquet_source import ParquetSource
from harvester.errors import ConfigError

# Columns that harvester reads; a catalog may lack those that do not locate its series.
READ_COLUMNS = {
    "collection_id": "VARCHAR",
    "Modality": "VARCHAR",
    "SeriesInstanceUID": "VARCHAR",
    "instanceCount": "BIGINT",
    "series_size_MB": "DOUBLE",
    "crdc_series_uuid": "VARCHAR",
    "series_aws_url": "VARCHAR",
    "aws_bucket": "VARCHAR",
}

# Derived columns, under names that no catalog has. series_size_MB counts 10^6 bytes.
_ROW = """
    *,
    CAST(crdc_series_uuid AS VARCHAR) AS harvest_uuid,
    COALESCE(CAST(series_aws_url AS VARCHAR),
             's3://' || aws_bucket || '/' || crdc_series_uuid || '/*') AS harvest_place,
    COALESCE(harvest_uuid, harvest_place) AS harvest_key,
    CASE WHEN TRY_CAST(instanceCount AS BIGINT) >= 0 THEN TRY_CAST(instanceCount AS BIGINT) END
        AS harvest_instances,
    CASE WHEN TRY_CAST(series_size_MB AS DOUBLE) >= 0
         THEN TRY_CAST(ROUND(TRY_CAST(series_size_MB AS DOUBLE) * 1e6) AS BIGINT) END AS harvest_size
"""


def define_rows(connection: duckdb.DuckDBPyConnection, source: ParquetSource) -> dict[str, str]:
    """Create the view `series_rows` of the file; missing columns are NULL.

    Returns:
        The file's own columns and their DuckDB types.

    Raises:
        ConfigError: The file has no columns that locate a series.
    """
    file = f"read_parquet({literal(str(source.path))})"
    columns = {row[0]: row[1] for row in connection.execute(f"DESCRIBE SELECT * FROM {file}").fetchall()}
    present = {column.lower() for column in columns}  # as DuckDB compares names
    if "series_aws_url" not in present and not {"aws_bucket", "crdc_series_uuid"} <= present:
        raise ConfigError(
            f"{source.name}: has neither the column series_aws_url nor aws_bucket and crdc_series_uuid, "
            f"so its series cannot be located; it has {', '.join(list(columns)[:12])}"
        )
    missing = [
        f"CAST(NULL AS {kind}) AS {identifier(name)}"
        for name, kind in READ_COLUMNS.items()
        if name.lower() not in present
    ]
    connection.execute(f"CREATE VIEW series_rows AS SELECT {', '.join(['*', *missing])} FROM {file}")
    return columns


def newest_release(
    connection: duckdb.DuckDBPyConnection, source: ParquetSource, columns: dict[str, str]
) -> int | None:
    """The newest IDC release in the table, or None if it has no releases."""
    if source.releases is not None:
        sql = f"SELECT MAX(idc_version) FROM read_parquet({literal(str(source.releases))})"
    elif "series_revised_idc_version" in columns:
        sql = "SELECT MAX(TRY_CAST(series_revised_idc_version AS BIGINT)) FROM series_rows"
    else:
        return None
    row = first_row(connection, sql)
    return None if row is None or row[0] is None else int(row[0])


def define_catalog(
    connection: duckdb.DuckDBPyConnection,
    source: ParquetSource,
    release: int | None,
    manifest: Sequence[ManifestSeries] | None,
) -> None:
    """Create the view `catalog` for `where`: all rows, or the series of a manifest.

    A series of the manifest that the table lacks is taken from IDC's earlier releases; else it has only its
    location, and every column of the catalog is NULL.
    """
    version = "NULL" if release is None else str(release)
    rows = f"SELECT {_ROW}, CAST({version} AS BIGINT) AS harvest_release FROM series_rows"
    if manifest is None:
        connection.execute(f"CREATE VIEW catalog AS {rows}")
        return
    _store_manifest(connection, manifest)
    if source.prior_versions is None:
        known = rows
    else:
        prior = literal(str(source.prior_versions))
        # a series that earlier releases had in several buckets counts once: its last row
        known = f"""{rows} UNION ALL BY NAME
            SELECT {_ROW}, max_idc_version AS harvest_release FROM
            (SELECT *, CAST(NULL AS BIGINT) AS instanceCount FROM read_parquet({prior})
             QUALIFY ROW_NUMBER() OVER (PARTITION BY crdc_series_uuid
                                        ORDER BY max_idc_version DESC, series_aws_url) = 1)
            WHERE crdc_series_uuid NOT IN (SELECT crdc_series_uuid FROM series_rows
                                           WHERE crdc_series_uuid IS NOT NULL)"""
    connection.execute(f"CREATE VIEW known AS {known}")
    # IDC's series are identified by UUID, others by UUID and location
    connection.execute("""
        CREATE TABLE matched AS
        SELECT manifest.key, manifest.objects, known.harvest_uuid
        FROM known JOIN manifest ON known.harvest_uuid = manifest.uuid
        WHERE manifest.idc_uuid IS NOT NULL
           OR split_part(known.harvest_place, '://', 2) = split_part(manifest.place, '://', 2)
    """)
    connection.execute("""
        CREATE VIEW catalog AS
        SELECT known.* REPLACE (
            CASE WHEN objects IS NULL THEN known.harvest_key ELSE key END AS harvest_key,
            COALESCE(objects, known.harvest_instances) AS harvest_instances,
            CASE WHEN objects IS NULL THEN known.harvest_size END AS harvest_size)
        FROM known JOIN matched ON known.harvest_uuid = matched.harvest_uuid
        UNION ALL BY NAME
        SELECT key AS harvest_key, place AS harvest_place, idc_uuid AS harvest_uuid,
               idc_uuid AS crdc_series_uuid, objects AS harvest_instances
        FROM manifest WHERE key NOT IN (SELECT key FROM matched)
    """)


def changes_of_release(
    connection: duckdb.DuckDBPyConnection, source: ParquetSource, asked: pa.Table, release: int
) -> ReleaseChanges:
    """The harvested series that no row has, and those that are in another collection now.

    If earlier releases are unknown, a series that is gone counts as removed in the newest one.

    Args:
        connection: A database with the view `series_rows`.
        source: The catalog's files.
        asked: The columns `uuid` and `harvested`.
        release: The newest release.
    """
    add_table(connection, "asked", asked)
    last = "NULL"
    if source.prior_versions is not None:
        prior = literal(str(source.prior_versions))
        last = (
            f"(SELECT MAX(max_idc_version) FROM read_parquet({prior}) AS p WHERE p.crdc_series_uuid = uuid)"
        )
    gone = connection.execute(f"""
        SELECT uuid, LEAST(COALESCE({last} + 1, {release}), {release}) FROM asked
        WHERE uuid NOT IN (SELECT CAST(crdc_series_uuid AS VARCHAR) FROM series_rows
                           WHERE crdc_series_uuid IS NOT NULL)""").fetchall()
    moved = connection.execute("""
        SELECT uuid, CAST(any_value(collection_id) AS VARCHAR) AS now
        FROM asked JOIN series_rows ON uuid = CAST(crdc_series_uuid AS VARCHAR)
        GROUP BY uuid, harvested HAVING now IS NOT NULL AND now IS DISTINCT FROM harvested""").fetchall()
    connection.execute("DROP TABLE asked")
    return ReleaseChanges(
        {str(uuid): int(since) for uuid, since in gone}, {str(uuid): str(now) for uuid, now in moved}
    )


def define_places(connection: duckdb.DuckDBPyConnection, source: ParquetSource) -> None:
    """Create the view `places`: the location and the number of objects of each series.

    IDC's buckets keep the series of earlier releases, whose number of objects is unknown (NULL).
    """
    rows = f"SELECT harvest_place, harvest_instances FROM (SELECT {_ROW} FROM series_rows)"
    if source.prior_versions is not None:
        prior = literal(str(source.prior_versions))
        rows += f" UNION ALL SELECT DISTINCT series_aws_url, NULL FROM read_parquet({prior})"
    connection.execute(f"CREATE VIEW places AS {rows}")


def _store_manifest(connection: duckdb.DuckDBPyConnection, manifest: Sequence[ManifestSeries]) -> None:
    places = [parse_prefix(series.place) for series in manifest]
    columns = {
        "key": pa.array([series.key for series in manifest], pa.string()),
        "place": pa.array([series.place for series in manifest], pa.string()),
        "uuid": pa.array([series.uuid for series in manifest], pa.string()),
        # outside IDC's buckets a folder may be named by any UUID
        "idc_uuid": pa.array(
            [
                series.uuid if is_idc_bucket(place.bucket) else None
                for series, place in zip(manifest, places, strict=True)
            ],
            pa.string(),
        ),
        "objects": pa.array([series.object_count for series in manifest], pa.int64()),
    }
    add_table(connection, "manifest", pa.table(columns))


def define_selection(
    connection: duckdb.DuckDBPyConnection, conditions: Sequence[str], where: str | None
) -> None:
    """Create the view `selection` of the rows that satisfy all conditions and `where`.

    `where` is bound as one expression: DuckDB's parser accepts no second statement and no other clause.
    """
    clause = " AND ".join(f"({condition})" for condition in conditions) or "true"
    relation = connection.sql(f"SELECT * FROM catalog WHERE {clause}")
    if where is not None:
        relation = relation.filter(where)
    relation.create_view("selection")
