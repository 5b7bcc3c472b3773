"""Which series a made dataset has: those of the installed idc-index release, fewer of each kind."""

from pathlib import Path

import duckdb

from harvester.catalog.database import literal
from harvester.catalog.release import index_tables

# In every collection and modality as large a share of the instances, series by series in the order of a
# hash; the last one is cut short. So a thousandth of IDC has all its partitions, and its small series.
_SHARE = """
    COPY (
        WITH ordered AS (
            SELECT *, instanceCount AS whole,
                   sum(instanceCount) OVER (PARTITION BY collection_id, Modality ORDER BY {order}) AS until,
                   greatest(1, round(sum(instanceCount) OVER (PARTITION BY collection_id, Modality)
                                     * {share})) AS wanted
            FROM released)
        SELECT * EXCLUDE (whole, until, wanted)
               REPLACE (CAST(least(whole, wanted - (until - whole)) AS BIGINT) AS instanceCount,
                        series_size_MB * least(whole, wanted - (until - whole)) / whole AS series_size_MB)
        FROM ordered WHERE until - whole < wanted ORDER BY collection_id, Modality, crdc_series_uuid
    ) TO {target} (FORMAT parquet, COMPRESSION zstd)"""

_SOME = """
    WHERE collection_id IN (SELECT collection_id FROM read_parquet({release}) GROUP BY collection_id
                            ORDER BY sum(instanceCount) DESC LIMIT {count})"""


def select_series(instances: int, target: Path, collections: int | None = None) -> int:
    """Write a catalog, with the columns of idc-index, of about `instances` instances.

    Args:
        instances: How many to have; every collection and modality has at least one.
        target: The Parquet file to write.
        collections: Of how many collections, the largest; None means all.

    Returns:
        How many instances it has.

    Raises:
        ValueError: The release has fewer.
    """
    release = literal(str(index_tables()["idc_index"].path))
    with duckdb.connect() as connection:
        some = "" if collections is None else _SOME.format(release=release, count=collections)
        connection.execute(f"CREATE VIEW released AS SELECT * FROM read_parquet({release}) {some}")
        (there,) = _row(connection, "SELECT sum(instanceCount) FROM released")
        if not 0 < instances <= there:
            raise ValueError(f"there are {there:,} instances, not {instances:,}")
        order = "hash(SeriesInstanceUID), SeriesInstanceUID, crdc_series_uuid"
        connection.execute(
            _SHARE.format(order=order, share=instances / there, release=release, target=literal(str(target)))
        )
        (made,) = _row(connection, f"SELECT sum(instanceCount) FROM read_parquet({literal(str(target))})")
    return int(made)


def _row(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[int, ...]:
    row = connection.execute(sql).fetchone()
    if row is None:
        raise LookupError(sql)
    return row
