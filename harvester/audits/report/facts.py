"""The content of a report: a few queries over a dataset, each with a bounded result."""

from collections.abc import Iterable
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any, Final

import duckdb

from harvester.audits.history import StoredAudit, latest_audit, nonconformance
from harvester.audits.vocabulary import attribute_of
from harvester.catalog.database import identifier, literal
from harvester.dataset import Dataset
from harvester.dataset.runs import read_runs
from harvester.dicom.schema import value_type
from harvester.errors import ConfigError
from harvester.query import DatabaseOptions, attributes_in, open_dataset, run_query

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
# An object without a series or a study counts as one of its own.
_SERIES: Final = "COALESCE(SeriesInstanceUID, instance_url)"
_STUDY: Final = "COALESCE(StudyInstanceUID, instance_url)"
_MAX_VALUES: Final = 12
_BINS: Final = 20
_MAX_RUNS: Final = 40
_MAX_SERIES: Final = 5

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
        others: Instances with other values; of a histogram those that are no finite numbers.
        absent: Instances without a value.
        below: Of a histogram, instances with values below the first bin.
        above: Of a histogram, instances with values above the last bin.
    """

    attribute: str
    rows: tuple[Row, ...]
    others: int
    absent: int
    below: int = 0
    above: int = 0


@dataclass(frozen=True, slots=True)
class Facts:
    """The content of the page.

    Attributes:
        dataset: The location of the dataset.
        totals: Sums over all instances.
        groups: Sums by collection and modality, largest first.
        collections: Sums by collection, largest first.
        modalities: Sums by modality, largest first.
        coverage: Multi-frame objects by collection and offset table.
        without: By collection, some series without any offset table.
        headers: Histogram of header sizes, by powers of two.
        runs: The latest crawls.
        failures: Counts by reason.
        distributions: Values of the chosen attributes.
        audit: The latest audit.
        nonconformance: Findings of the rule `conformance`, by module and collection.
        studies: Study Instance UIDs of the series that IDC's viewer has.
    """

    dataset: str
    totals: Row
    groups: tuple[Row, ...]
    collections: tuple[Row, ...]
    modalities: tuple[Row, ...]
    coverage: tuple[Row, ...]
    without: tuple[Row, ...]
    headers: tuple[Row, ...]
    runs: tuple[Row, ...]
    failures: tuple[Row, ...]
    distributions: tuple[Distribution, ...]
    audit: StoredAudit | None
    nonconformance: tuple[Row, ...]
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
                   count(DISTINCT {_SERIES}) AS series
            FROM instances WHERE {_FRAMES} GROUP BY ALL ORDER BY ALL""")
        without = queries.rows(f"""
            SELECT * FROM (
                SELECT collection_id, min(SeriesInstanceUID) AS SeriesInstanceUID, min(Modality) AS Modality,
                       min(instance_url) AS instance_url, count(*) AS instances
                FROM instances WHERE {_FRAMES} AND {_TABLE} = 'none' GROUP BY collection_id, {_SERIES}
            ) AS series
            QUALIFY row_number() OVER (PARTITION BY collection_id ORDER BY instances DESC, instance_url)
                    <= {_MAX_SERIES}
            ORDER BY collection_id, instances DESC, instance_url LIMIT {20 * _MAX_SERIES}""")
        sums = queries.rows(f"""
            SELECT collection_id, Modality, grouping(collection_id, Modality) AS summed,
                   count(DISTINCT study) AS studies, count(DISTINCT series) AS series,
                   COALESCE(sum(instances), 0)::BIGINT AS instances, COALESCE(sum(bytes), 0)::BIGINT AS bytes
            FROM (SELECT collection_id, Modality, {_STUDY} AS study, {_SERIES} AS series,
                         count(*) AS instances, COALESCE(sum(instance_size), 0) AS bytes
                  FROM instances GROUP BY ALL)
            GROUP BY GROUPING SETS ((collection_id, Modality), (collection_id), (Modality), ())
            ORDER BY instances DESC, collection_id, Modality""")
        groups, collections, modalities, whole = (
            tuple(row for row in sums if row["summed"] == level) for level in range(4)
        )
        (totals,) = queries.rows("""
            SELECT count(DISTINCT collection_id) AS collections,
                   COALESCE(sum(header_bytes), 0)::BIGINT AS header_bytes,
                   COALESCE(sum(bytes_fetched), 0)::BIGINT AS bytes_fetched,
                   COALESCE(sum(requests), 0)::BIGINT AS requests,
                   CAST(min(harvested_at) AS VARCHAR) AS first, CAST(max(harvested_at) AS VARCHAR) AS last
            FROM instances""")
        totals |= {name: whole[0][name] for name in ("instances", "series", "studies", "bytes")}
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
        collections=collections,
        modalities=modalities,
        coverage=coverage,
        without=without,
        headers=headers,
        runs=_runs(dataset),
        failures=failures,
        distributions=tuple(one for one in distributions if one.rows or chosen),
        audit=audit,
        nonconformance=tuple(nonconformance(dataset, audit)),
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
        result = run_query(self.connection, sql, attributes=attributes_in(sql))
        return tuple(row for batch in result.batches() for row in batch.to_pylist())

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
            bins, below, above = self._bins(value)
            others = present - below - above - sum(row["instances"] for row in bins)
            return Distribution(name, bins, others, instances - present, below, above)
        others = present - sum(row["instances"] for row in rows)
        return Distribution(name, rows, others, instances - present)

    def _bins(self, value: str) -> tuple[tuple[Row, ...], int, int]:
        """Equal bins, and how many values lie below and above them: outliers must not hide the rest.

        An outlier lies further from the middle nine tenths of the values than these are wide.
        """
        rows = self.rows(f"""
            WITH counts AS (SELECT CAST({value} AS DOUBLE) AS v, count(*) AS n FROM instances
                            WHERE isfinite(CAST({value} AS DOUBLE)) GROUP BY v),
            upto AS (SELECT v, sum(n) OVER (ORDER BY v) AS upto, sum(n) OVER () AS total FROM counts),
            middle AS (SELECT min(v) FILTER (upto >= 0.05 * total) AS low,
                              min(v) FILTER (upto >= 0.95 * total) AS high FROM upto),
            edges AS (SELECT min(v) AS low, max(v) AS high FROM counts, middle
                      WHERE middle.low = middle.high
                         OR v BETWEEN 2 * middle.low - middle.high AND 2 * middle.high - middle.low)
            SELECT CASE WHEN v < low THEN -1 WHEN v > high THEN {_BINS}
                        ELSE least({_BINS - 1}, floor((v - low) / (high - low) * {_BINS}))
                   END::INTEGER AS bin,
                   any_value(low) AS low, any_value(high) AS high, sum(n)::BIGINT AS instances
            FROM counts, edges GROUP BY bin ORDER BY bin""")
        outside = {row["bin"]: row["instances"] for row in rows if row["bin"] in (-1, _BINS)}
        bins = tuple(
            {
                "least": row["low"] + (row["high"] - row["low"]) * row["bin"] / _BINS,
                "most": row["low"] + (row["high"] - row["low"]) * (row["bin"] + 1) / _BINS,
                "instances": row["instances"],
            }
            for row in rows
            if row["bin"] not in outside
        )
        return bins, outside.get(-1, 0), outside.get(_BINS, 0)


def _runs(dataset: Dataset) -> tuple[Row, ...]:
    """The latest crawls, from their run records."""
    newest = [run for _, run in read_runs(dataset.storage, _MAX_RUNS)]
    return tuple(
        {
            "started_at": f"{run.started_at:%Y-%m-%d %H:%M:%S}",
            "processes": run.processes,
            **asdict(run.totals),
            "rate": run.totals.instances / run.totals.seconds if run.totals.seconds else 0.0,
        }
        for run in reversed(newest)
    )
