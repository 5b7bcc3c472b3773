"""The cohort of an audit as database tables: which series are expected, and which rows belong to it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

import pyarrow as pa

from harvester.audits.config import AuditConfig
from harvester.catalog import open_catalog
from harvester.catalog.database import in_memory, literal
from harvester.catalog.release import index_tables
from harvester.dataset import Dataset, TableName
from harvester.dataset.paths import PLANS
from harvester.model import Series

EXPECTED: Final = pa.schema(
    [
        ("series_key", pa.string()),
        ("SeriesInstanceUID", pa.string()),
        ("StudyInstanceUID", pa.string()),
        ("crdc_series_uuid", pa.string()),
        ("collection_id", pa.string()),
        ("Modality", pa.string()),
        ("expected", pa.int64()),
        ("place", pa.string()),
        ("by_object", pa.bool_()),
    ]
)
"""One row per series of the catalog or of the dataset's plans; `by_object`: only its objects are listed."""

_OBJECTS: Final = pa.schema([("instance_url", pa.string())])
_BATCH_ROWS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Cohort:
    """What an audit checks.

    Attributes:
        expected_known: Whether a catalog or a plan lists the expected series.
        tables: `expected_series`, and `expected_objects` where the source lists single objects.
        rows: Conditions on the dataset's tables, if the dataset holds more than the cohort.
    """

    expected_known: bool
    tables: Mapping[str, pa.Table]
    rows: Mapping[TableName, str] = field(default_factory=dict)


def read_cohort(config: AuditConfig, dataset: Dataset) -> Cohort:
    """Read the series of an audit: those of `[select]`, else those of the dataset's plans.

    Raises:
        UserError: The catalog, the selection or a plan cannot be read.
    """
    if not config.selects:
        expected = _with_studies(_table(_planned(dataset), {}))
        return Cohort(expected_known=expected.num_rows > 0, tables={"expected_series": expected})
    objects: list[str] = []
    with open_catalog(config.crawl) as catalog:
        studies = dict(catalog.studies())
        expected = _with_studies(_table(_collect_objects(catalog.series(), objects), studies))
    tables = {"expected_series": expected}
    if objects:
        tables["expected_objects"] = pa.table([pa.array(objects, pa.string())], schema=_OBJECTS)
    keys = set(expected["series_key"].to_pylist())
    whole = all(key in keys for commit in dataset.commits() for key in commit.series)
    return Cohort(expected_known=True, tables=tables, rows={} if whole else _rows(objects=bool(objects)))


def _rows(*, objects: bool) -> dict[TableName, str]:
    """Conditions for the cohort's rows: by CRDC UUID, else by Series Instance UID, or by object URL."""
    instances = [
        """crdc_series_uuid IN (SELECT crdc_series_uuid FROM expected_series
                                WHERE crdc_series_uuid IS NOT NULL)""",
        """SeriesInstanceUID IN (SELECT SeriesInstanceUID FROM expected_series
                                 WHERE crdc_series_uuid IS NULL AND SeriesInstanceUID IS NOT NULL)""",
        *(("instance_url IN (SELECT instance_url FROM expected_objects)",) if objects else ()),
    ]
    return {
        "instances": f"({' OR '.join(f'COALESCE({one}, false)' for one in instances)})",
        "failures": "series_key IN (SELECT series_key FROM expected_series)",
    }


def _planned(dataset: Dataset) -> Iterator[Series]:
    """The series of all crawls of a dataset; a later crawl takes precedence."""
    seen: set[str] = set()
    files = dataset.storage.stamps(PLANS)
    for path in sorted(files, key=lambda path: files[path][1], reverse=True):
        plan = dataset.load_plan(path.rpartition("/")[2].partition(".")[0])
        for shard in plan.shards if plan is not None else ():
            for series in shard.series:
                if series.key not in seen:
                    seen.add(series.key)
                    yield series


def _collect_objects(series: Iterable[Series], objects: list[str]) -> Iterator[Series]:
    for one in series:
        objects.extend(listed.ref.url for listed in one.objects)
        yield one


def _table(series: Iterable[Series], studies: Mapping[str, str]) -> pa.Table:
    iterator = iter(series)
    batches = []
    while some := list(islice(iterator, _BATCH_ROWS)):
        rows = [
            {
                "series_key": one.key,
                "SeriesInstanceUID": one.series_instance_uid,
                "StudyInstanceUID": studies.get(one.key),
                "crdc_series_uuid": one.crdc_series_uuid,
                "collection_id": one.collection_id,
                "Modality": one.modality,
                "expected": one.instance_count,
                "place": one.prefixes[0].url if one.prefixes else None,
                "by_object": one.crdc_series_uuid is None and one.series_instance_uid is None,
            }
            for one in some
        ]
        batches.append(pa.RecordBatch.from_pylist(rows, schema=EXPECTED))
    return pa.Table.from_batches(batches, schema=EXPECTED)


def _with_studies(expected: pa.Table) -> pa.Table:
    """Add the Study Instance UIDs that the installed idc-index release has for the series."""
    path = index_tables()["idc_index"].path
    if path is None or expected.num_rows == 0 or expected["StudyInstanceUID"].null_count == 0:
        return expected
    with in_memory() as connection:
        connection.register("expected", expected)
        return connection.sql(f"""
            SELECT e.* REPLACE (COALESCE(e.StudyInstanceUID, r.StudyInstanceUID) AS StudyInstanceUID)
            FROM expected AS e
            LEFT JOIN (SELECT SeriesInstanceUID, StudyInstanceUID
                       FROM read_parquet({literal(str(path))})) AS r
            ON e.SeriesInstanceUID = r.SeriesInstanceUID""").to_arrow_table()
