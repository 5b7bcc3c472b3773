"""The content of a report: a few queries over a dataset, each with a bounded result."""

import json
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

import duckdb

from harvester.audits.history import StoredAudit, latest_audit
from harvester.audits.vocabulary import attribute_of
from harvester.catalog.database import identifier, literal
from harvester.dataset import Dataset
from harvester.dataset.paths import PRIVATE
from harvester.dicom.schema import value_type
from harvester.errors import ConfigError, DatasetError
from harvester.query import DatabaseOptions, open_dataset, run_query

DEFAULT_ATTRIBUTES: Final = (
    "Manufacturer",
    "TransferSyntaxUID",
    "SliceThickness",
    "PixelSpacing",
    "KVP",
    "PatientSex",
    "BodyPartExamined",
    "ObjectiveLensPower",
)
MAX_COLLECTIONS: Final = 40
_MAX_VALUES: Final = 12
_BINS: Final = 20
_MAX_RUNS: Final = 40
_MAX_SERIES: Final = 5
_MAX_RECORD_BYTES: Final = 16 << 20

Row = dict[str, Any]

# Compressed multi-frame objects, as in the rule `offset_table`.
_FRAMES: Final = """
    encapsulated AND NumberOfFrames > 1
    AND NOT COALESCE(starts_with(TransferSyntaxUID, '1.2.840.10008.1.2.4.10'), false)"""
TABLES: Final = ("extended", "basic", "TIFF only", "none")
_TABLE: Final = """
    CASE WHEN extended_offset_table THEN 'extended' WHEN basic_offset_table THEN 'basic'
         WHEN preamble = 'tiff' THEN 'TIFF only' ELSE 'none' END"""


@dataclass(frozen=True, slots=True)
class Distribution:
    """The values of one attribute: the most frequent ones, or a histogram.

    Attributes:
        attribute: The keyword.
        rows: `value` and `instances`; in a histogram `least`, `most` and `instances`.
        others: Instances with other values.
        absent: Instances without a value.
    """

    attribute: str
    rows: tuple[Row, ...]
    others: int
    absent: int


@dataclass(frozen=True, slots=True)
class Facts:
    """The content of the page.

    Attributes:
        dataset: The location of the dataset.
        totals: Sums over all instances.
        groups: Sums by collection and modality.
        coverage: Multi-frame objects by collection and offset table.
        without: By collection, some series without any offset table.
        headers: Histogram of header sizes, by powers of two.
        runs: The latest crawls.
        failures: Counts by reason.
        distributions: Values of the chosen attributes.
        audit: The latest audit.
        studies: Study Instance UIDs of the series that IDC's viewer has.
    """

    dataset: str
    totals: Row
    groups: tuple[Row, ...]
    coverage: tuple[Row, ...]
    without: tuple[Row, ...]
    headers: tuple[Row, ...]
    runs: tuple[Row, ...]
    failures: tuple[Row, ...]
    distributions: tuple[Distribution, ...]
    audit: StoredAudit | None
    studies: dict[str, str]


def gather(path: str, attributes: Iterable[str] = (), memory: str = "2500MB") -> Facts:
    """Query a dataset for its report.

    Args:
        path: The location of the dataset.
        attributes: Keywords of the attributes whose values are shown; the default is those of
            `DEFAULT_ATTRIBUTES` that have values.
        memory: Memory limit of the database.

    Raises:
        ConfigError: An attribute is unknown.
        UserError: The dataset cannot be read.
    """
    chosen = [_attribute(name) for name in attributes]
    dataset = Dataset.open(path)
    audit = latest_audit(dataset)
    with closing(open_dataset(dataset.location, DatabaseOptions(memory, asked_often=True))) as connection:
        queries = _Queries(connection)
        coverage = queries.rows(f"""
            SELECT collection_id, {_TABLE} AS source, count(*) AS instances,
                   count(DISTINCT SeriesInstanceUID) AS series
            FROM instances WHERE {_FRAMES} GROUP BY ALL ORDER BY ALL""")
        without = queries.rows(f"""
            SELECT * FROM (
                SELECT collection_id, SeriesInstanceUID, min(instance_url) AS instance_url,
                       count(*) AS instances
                FROM instances WHERE {_FRAMES} AND {_TABLE} = 'none' GROUP BY collection_id, SeriesInstanceUID
            ) AS series
            QUALIFY row_number() OVER (PARTITION BY collection_id ORDER BY instances DESC, SeriesInstanceUID)
                    <= {_MAX_SERIES}
            ORDER BY collection_id, instances DESC, SeriesInstanceUID LIMIT {20 * _MAX_SERIES}""")
        groups = queries.rows("""
            SELECT collection_id, Modality, count(*) AS series, count(DISTINCT StudyInstanceUID) AS studies,
                   sum(instances)::BIGINT AS instances, sum(bytes)::BIGINT AS bytes
            FROM (SELECT any_value(collection_id) AS collection_id, any_value(Modality) AS Modality,
                         any_value(StudyInstanceUID) AS StudyInstanceUID, count(*) AS instances,
                         COALESCE(sum(instance_size), 0) AS bytes
                  FROM instances GROUP BY SeriesInstanceUID)
            GROUP BY ALL ORDER BY instances DESC""")
        (totals,) = queries.rows("""
            SELECT count(*) AS instances, COALESCE(sum(instance_size), 0)::BIGINT AS bytes,
                   COALESCE(sum(header_bytes), 0)::BIGINT AS header_bytes,
                   COALESCE(sum(bytes_fetched), 0)::BIGINT AS bytes_fetched,
                   COALESCE(sum(requests), 0)::BIGINT AS requests,
                   CAST(min(harvested_at) AS VARCHAR) AS first, CAST(max(harvested_at) AS VARCHAR) AS last
            FROM instances""")
        headers = queries.rows("""
            SELECT CAST(floor(log2(greatest(header_bytes, 1))) AS BIGINT) AS power, count(*) AS instances
            FROM instances WHERE header_bytes IS NOT NULL GROUP BY ALL ORDER BY ALL""")
        failures = queries.rows(
            "SELECT reason, count(*) AS objects FROM failures GROUP BY ALL ORDER BY objects DESC, reason"
        )
        distributions = [
            queries.distribution(name, totals["instances"]) for name in chosen or DEFAULT_ATTRIBUTES
        ]
        shown = [one["SeriesInstanceUID"] for one in without]
        shown += [] if audit is None else [one.series_instance_uid for r in audit.rules for one in r.examples]
        studies = queries.studies({uid for uid in shown if uid})
    return Facts(
        dataset=dataset.storage.folder,
        totals=totals,
        groups=groups,
        coverage=coverage,
        without=without,
        headers=headers,
        runs=_runs(dataset),
        failures=failures,
        distributions=tuple(one for one in distributions if one.rows or chosen),
        audit=audit,
        studies=studies,
    )


def _attribute(name: str) -> str:
    try:
        attribute = attribute_of(name)
    except ValueError as error:
        raise ConfigError(f"--attribute: {error}") from None
    if value_type(attribute.vr) is None:
        raise ConfigError(f"--attribute: {attribute.keyword} ({attribute.vr}) has items, not values")
    return attribute.keyword


@dataclass(frozen=True, slots=True)
class _Queries:
    """Queries over one open dataset."""

    connection: duckdb.DuckDBPyConnection

    def rows(self, sql: str) -> tuple[Row, ...]:
        """All rows of a query."""
        return tuple(row for batch in run_query(self.connection, sql).batches() for row in batch.to_pylist())

    def studies(self, series: Iterable[str]) -> dict[str, str]:
        """The studies of the series that the installed idc-index release, and so IDC's viewer, has."""
        listed = ", ".join(literal(one) for one in sorted(series))
        if not listed:
            return {}
        rows = self.rows(f"""
            SELECT SeriesInstanceUID, StudyInstanceUID FROM idc_index
            WHERE SeriesInstanceUID IN ({listed})""")
        return {row["SeriesInstanceUID"]: row["StudyInstanceUID"] for row in rows}

    def distribution(self, name: str, instances: int) -> Distribution:
        """The values of one attribute; of a multi-valued attribute the first."""
        attribute = attribute_of(name)
        column = identifier(name)
        value = f"{column}[1]" if attribute.many else column
        if attribute.vr == "PN":
            value = f"{value}.Alphabetic"
        rows = self.rows(f"""
            SELECT left(CAST(value AS VARCHAR), 200) AS value, instances, kinds, present FROM (
                SELECT value, count(*) AS instances, count(*) OVER () AS kinds,
                       (sum(count(*)) OVER ())::BIGINT AS present
                FROM (SELECT {value} AS value FROM instances) WHERE value IS NOT NULL GROUP BY value)
            ORDER BY instances DESC, value LIMIT {_MAX_VALUES}""")
        present = rows[0]["present"] if rows else 0
        if rows and rows[0]["kinds"] > _MAX_VALUES and attribute.vr in ("DS", "FD", "FL", "IS", "US", "UL"):
            rows = self._bins(value)
        others = present - sum(row["instances"] for row in rows)
        return Distribution(name, rows, others, instances - present)

    def _bins(self, value: str) -> tuple[Row, ...]:
        """Equal bins between the 0.5th and the 99.5th percentile: one outlier must not hide the rest."""
        return self.rows(f"""
            WITH v AS (SELECT CAST({value} AS DOUBLE) AS v FROM instances WHERE {value} IS NOT NULL),
            edges AS (SELECT approx_quantile(v, 0.005) AS low, approx_quantile(v, 0.995) AS high FROM v
                      WHERE isfinite(v))
            SELECT low + (high - low) * bin / {_BINS} AS least,
                   low + (high - low) * (bin + 1) / {_BINS} AS most, count(*) AS instances
            FROM (SELECT low, high, CASE WHEN high > low THEN
                         greatest(0, least({_BINS - 1}, floor((v - low) / (high - low) * {_BINS})))
                         ELSE 0 END AS bin FROM v, edges WHERE isfinite(v))
            GROUP BY low, high, bin ORDER BY least""")


def _runs(dataset: Dataset) -> tuple[Row, ...]:
    """The latest crawls, from their run records."""
    found = []
    paths = [path for path in dataset.storage.list_files(f"{PRIVATE}/runs") if path.endswith(".json")]
    for path in sorted(paths)[-_MAX_RUNS:]:
        content = dataset.storage.read(path)
        try:
            record: Any = json.loads(content) if len(content) <= _MAX_RECORD_BYTES else None
            totals, rates = record["totals"], record["rates"]
            found.append(
                {
                    "started_at": str(record["started_at"])[:19].replace("T", " "),
                    "processes": int(record["processes"]),
                    **{
                        key: int(totals[key])
                        for key in ("instances", "failures", "requests", "bytes_fetched")
                    },
                    "seconds": float(totals["seconds"]),
                    "rate": float(rates["instances_per_second"] or 0),
                }
            )
        except (ValueError, TypeError, KeyError) as error:
            raise DatasetError(
                f"{dataset.storage.folder}/{path}: corrupt record of a crawl ({error}); delete it"
            ) from error
    return tuple(found)
