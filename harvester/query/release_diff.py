"""Compares two IDC releases, by collection, in a dataset that was crawled under each of them."""

from typing import Final

import duckdb

from harvester.dataset import Dataset
from harvester.dataset.paths import PLANS
from harvester.errors import QueryError
from harvester.query.run import Result, run_query

# `since` is the release that revised the series, according to the installed index, but not later than the
# one under which the series was harvested.
_ROWS: Final = """
    SELECT i.collection_id, i.SeriesInstanceUID AS series, i.SOPInstanceUID AS instance,
           i.crdc_series_uuid, i.crdc_instance_uuid, i.instance_size,
           LEAST(i.idc_version, COALESCE(x.series_revised_idc_version, i.idc_version)) AS since,
           i.superseded_in AS until, m.moved_from, m.moved_in
    FROM memory.main.instances AS i
    LEFT JOIN memory.main.idc_index AS x ON i.crdc_series_uuid = x.crdc_series_uuid
    LEFT JOIN memory.harvest.series_marks AS m ON i.crdc_series_uuid = m.crdc_series_uuid
    WHERE i.crdc_series_uuid IS NOT NULL AND i.idc_version IS NOT NULL"""

_CHANGES: Final = """
WITH rows AS ({rows}),
old AS (SELECT * REPLACE (
            CASE WHEN moved_in > {before} THEN moved_from ELSE collection_id END AS collection_id)
        FROM rows WHERE since <= {before} AND COALESCE(until > {before}, true)),
new AS (SELECT * REPLACE (
            CASE WHEN moved_in > {after} THEN moved_from ELSE collection_id END AS collection_id)
        FROM rows WHERE since <= {after} AND COALESCE(until > {after}, true)),
old_series AS (SELECT series, any_value(collection_id) AS collection_id, any_value(crdc_series_uuid) AS uuid
               FROM old GROUP BY series),
new_series AS (SELECT series, any_value(collection_id) AS collection_id, any_value(crdc_series_uuid) AS uuid
               FROM new GROUP BY series),
series_changes AS (
    SELECT COALESCE(n.collection_id, o.collection_id) AS collection_id,
           count(*) FILTER (o.series IS NULL) AS series_new,
           count(*) FILTER (o.uuid <> n.uuid) AS series_revised,
           count(*) FILTER (n.series IS NULL) AS series_gone,
           count(*) FILTER (o.series IS NOT NULL AND n.series IS NOT NULL
                            AND o.collection_id IS DISTINCT FROM n.collection_id) AS series_moved_here
    FROM old_series AS o FULL JOIN new_series AS n ON o.series = n.series GROUP BY ALL),
paired AS (
    SELECT COALESCE(n.collection_id, o.collection_id) AS collection_id,
           COALESCE(n.instance_size, o.instance_size) AS size,
           CASE WHEN o.instance IS NULL THEN 'new' WHEN n.instance IS NULL THEN 'gone'
                WHEN o.crdc_instance_uuid <> n.crdc_instance_uuid THEN 'revised' END AS change
    FROM old AS o FULL JOIN new AS n ON o.instance = n.instance),
instance_changes AS (
    SELECT collection_id,
           {counts}
    FROM paired GROUP BY ALL)
SELECT s.collection_id, series_new, series_revised, series_gone, series_moved_here,
       instances_new, instances_revised, instances_gone, bytes_new, bytes_revised, bytes_gone
FROM series_changes AS s JOIN instance_changes AS i ON s.collection_id IS NOT DISTINCT FROM i.collection_id
WHERE series_new + series_revised + series_gone + series_moved_here
      + instances_new + instances_revised + instances_gone > 0
ORDER BY collection_id NULLS LAST"""


def crawled_releases(path: str) -> list[int]:
    """The IDC releases that a dataset's crawls selected from, in order.

    Raises:
        DatasetError: The dataset or a plan cannot be read.
    """
    dataset = Dataset.open(path)
    names = [file.rpartition("/")[2].partition(".")[0] for file in dataset.storage.list_files(PLANS)]
    plans = [plan for plan in map(dataset.load_plan, names) if plan is not None]
    series = (one for plan in plans for shard in plan.shards for one in shard.series)
    return sorted({one.idc_version for one in series if one.idc_version is not None})


def changes(connection: duckdb.DuckDBPyConnection, before: int, after: int) -> Result:
    """What is new, revised and gone from one release to a later one, one row a collection that changed.

    A series is known by its SeriesInstanceUID, an instance by its SOPInstanceUID; revised is what has
    another CRDC UUID. What was never harvested, or was pruned, is not seen.

    Args:
        connection: From `open_dataset`.
        before: The earlier release.
        after: The later one.

    Raises:
        QueryError: The second release is not later than the first.
    """
    if before >= after:
        raise QueryError(f"--from {before} --to {after}: the second release has to be the later one")
    counts = ",\n           ".join(
        f"CAST(COALESCE({sql} FILTER (change = '{change}'), 0) AS BIGINT) AS {name}_{change}"
        for name, sql in (("instances", "count(*)"), ("bytes", "sum(size)"))
        for change in ("new", "revised", "gone")
    )
    sql = _CHANGES.format(rows=_ROWS, before=int(before), after=int(after), counts=counts)
    return run_query(connection, sql)
