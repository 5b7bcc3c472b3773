"""Rows of `instances`, `frames` and `failures` for the series of a few shards of one modality."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from harvester import __version__
from harvester.catalog.database import identifier, literal
from harvester.dataset import FRAME_COLUMNS, HARVEST_COLUMNS, REMAINDER_COLUMNS
from harvester.dicom.dictionary import attributes_by_keyword
from harvester.dicom.schema import column_type
from harvester.model import Failure, Series, Shard
from harvester.query.sql_types import arrow_type, sql_type
from making.attributes import MACROS, attributes

WITHOUT_PIXELS = frozenset({"SR", "RTSTRUCT", "ANN", "PR", "KO", "REG", "RWV", "RTPLAN", "M3D", "DOC"})
# PS3.5 annex A: the transfer syntaxes of native pixel data.
NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")

_HEADER_BYTES = {
    "CT": "3600 + part(h, 8, 4000)",
    "MR": "4200 + part(h, 8, 9000)",
    "SM": "9000 + part(h, 8, 24000)",
    "SEG": "6000 + 620 * (2 + part(h, 8, 60))",
}
_OTHER_HEADER_BYTES = "2800 + part(h, 8, 3000)"

# One row an instance. One object of 5,003 cannot be read; of 1,009 series one lacks an object.
_MADE = """
    CREATE OR REPLACE TEMP TABLE made AS
    SELECT *, greatest(header + 2000, CAST(series_size_MB * 1e6 / instanceCount AS BIGINT)) AS size,
           's3://' || aws_bucket || '/' || crdc_series_uuid || '/' || uuid || '.dcm' AS url,
           CASE WHEN {pixels} THEN TransferSyntaxUID NOT IN {native} END AS packed,
           -- Most slides have an offset table; a twelfth has none, nor has what is but one frame.
           CASE WHEN Modality <> 'SM' OR (h >> 29) % 12 = 11 THEN 'none'
                WHEN (h >> 29) % 12 < 6 THEN 'basic' ELSE 'extended' END AS offsets,
           n = 1 AND instanceCount > 1 AND hs % 1009 = 0 AS absent,
           h % 5003 = 0 AS unreadable
    FROM (
        SELECT *, one_of(syntaxes, h) AS TransferSyntaxUID, CAST({header} AS BIGINT) AS header,
               CAST(CAST(md5(crdc_series_uuid || n) AS UUID) AS VARCHAR) AS uuid
        FROM (
            SELECT s.* EXCLUDE (TransferSyntaxUID), s.TransferSyntaxUID AS syntaxes, n, w.shard, w.place,
                   hash(s.crdc_series_uuid, n) AS h, hash(s.SeriesInstanceUID) AS hs,
                   hash(s.StudyInstanceUID) AS ht, hash(s.PatientID) AS hp
            FROM wanted AS w JOIN series AS s USING (crdc_series_uuid),
                 unnest(range(1, s.instanceCount + 1)) AS counted(n)))"""

_HARVESTED = {
    "collection_id": "collection_id",
    "instance_url": "url",
    "instance_size": "size",
    "etag": "md5(uuid)",
    "crdc_series_uuid": "crdc_series_uuid",
    "crdc_instance_uuid": "uuid",
    "preamble": "CASE WHEN Modality = 'SM' AND (h >> 33) % 3 > 0 THEN 'tiff' ELSE 'zero' END",
    "header_bytes": "CASE WHEN packed IS NULL THEN size ELSE header END",
    "pixel_data_offset": "CASE WHEN packed IS NOT NULL THEN header + 12 END",
    "pixel_data_keyword": "CASE WHEN packed IS NOT NULL THEN 'PixelData' END",
    "encapsulated": "packed",
    "basic_offset_table": "CASE WHEN packed THEN offsets = 'basic' END",
    "extended_offset_table": "CASE WHEN packed THEN offsets = 'extended' END",
    "requests": "CASE WHEN header > 16384 THEN 2 ELSE 1 END",
    "bytes_fetched": "least(size, CASE WHEN header > 16384 THEN 81920 ELSE 16384 END)",
    "harvested_at": "TIMESTAMP '2026-01-15 08:00:00' + to_seconds(part(h, 7, 36000))",
    "harvester_version": literal(__version__),
    "OtherElements": "CASE WHEN hs % 4 = 0 THEN [] ELSE [{'path': '00130010', 'Tag': '00130010', 'VR': 'LO',"
    " 'Creator': NULL, 'Data': ['CTP']}, {'path': '00131010', 'Tag': '00131010', 'VR': 'LO',"
    " 'Creator': 'CTP', 'Data': [collection_id]}, {'path': '00131013', 'Tag': '00131013', 'VR': 'LO',"
    " 'Creator': 'CTP', 'Data': [CAST(part(hs, 8, 99999999) AS VARCHAR)]}] END",
    "bulk_data": "[{'path': 'FileMetaInformationVersion', 'VR': 'OB', 'offset': 156, 'length': 2}]",
    "empty_elements": "['AccessionNumber', 'ReferringPhysicianName']",
    "invalid_elements": "CASE WHEN hs % 211 = 0 THEN [{'path': 'PatientSize', 'VR': 'DS', 'text': 'N/A',"
    " 'reason': 'not a decimal string'}] ELSE [] END",
}

# A slide's frames lie one after the other, as long as each other.
_STEP = "greatest(16, (size - header) // frames)"
_FRAMES = f"""
    SELECT shard, collection_id, Modality, made_uid(h) AS SOPInstanceUID, SeriesInstanceUID,
           url AS instance_url, size AS instance_size, md5(uuid) AS etag, offsets AS source,
           [header + 20 + frame * {_STEP} FOR frame IN range(frames)] AS frame_offsets,
           [{_STEP} - 8 FOR frame IN range(frames)] AS frame_lengths
    FROM (SELECT *, 1 + part(h, 12, 400) AS frames FROM made)
    WHERE packed AND offsets <> 'none' AND frames > 1 AND NOT absent AND NOT unreadable
    ORDER BY place, uuid"""

_COUNTS = """
    SELECT count(*) FILTER (NOT absent AND NOT unreadable), count(*) FILTER (absent OR unreadable)
    FROM made GROUP BY place ORDER BY place"""

_LOST = (
    "SELECT place, absent, url, size, h, instanceCount FROM made WHERE absent OR unreadable ORDER BY place, n"
)

_REASONS = (
    ("truncated", "the header says more bytes than the object has", None),
    ("not_dicom", "no DICM at byte 128, and no data element at the start", None),
    ("not_found", "the server has no such object", 404),
    ("timeout", "the response was not complete in 60 s", None),
)


@dataclass(slots=True)
class ShardRows:
    """What a shard harvested: its tables, its failures, and by the series' keys how many of each."""

    instances: pa.Table
    frames: pa.Table
    failures: list[Failure] = field(default_factory=list)
    counts: dict[str, tuple[int, int]] = field(default_factory=dict)


class RowMaker:
    """Makes the rows of shards; those that are made at once are of one collection and modality.

    Args:
        catalog: The Parquet file that has the series.
    """

    def __init__(self, catalog: Path) -> None:
        self._connection = duckdb.connect(config={"threads": 1, "memory_limit": "1500MB"})
        self._connection.execute("SET enable_progress_bar = false")
        for macro in MACROS:
            self._connection.execute(f"CREATE MACRO {macro}")
        self._connection.execute(
            f"CREATE TABLE series AS SELECT * FROM read_parquet({literal(str(catalog))})"
        )
        self._queries: dict[str, tuple[str, pa.Schema]] = {}

    def make(self, shards: Sequence[Shard]) -> Iterator[ShardRows]:
        """The rows of each shard, in the order that a listing has its objects in."""
        series = [(number, one) for number, shard in enumerate(shards) for one in shard.series]
        first = series[0][1]
        self._make_instances(series)
        query, schema = self._query(first)
        instances = self._connection.sql(query).to_arrow_table().cast(schema)
        frames = self._connection.sql(_FRAMES).to_arrow_table()
        counts = self._connection.execute(_COUNTS).fetchall()
        lost = self._connection.execute(_LOST).fetchall()
        places, row = iter(range(len(series))), 0
        for number, shard in enumerate(shards):
            mine = set(islice(places, len(shard.series)))
            rows = sum(counts[place][0] for place in mine)
            yield ShardRows(
                instances=instances.slice(row, rows),
                frames=_frames_of(frames, number),
                failures=[_failure(series[place][1], *facts) for place, *facts in lost if place in mine],
                counts={series[place][1].key: counts[place] for place in sorted(mine)},
            )
            row += rows

    def _make_instances(self, series: Sequence[tuple[int, Series]]) -> None:
        connection, modality = self._connection, series[0][1].modality or ""
        wanted = {
            "crdc_series_uuid": [one.crdc_series_uuid for _, one in series],
            "shard": [number for number, _ in series],
            "place": list(range(len(series))),
        }
        connection.register("wanted", pa.table(wanted))
        connection.execute(
            _MADE.format(
                header=_HEADER_BYTES.get(modality, _OTHER_HEADER_BYTES),
                pixels=modality not in WITHOUT_PIXELS,
                native=NATIVE,
            )
        )
        connection.unregister("wanted")

    def _query(self, series: Series) -> tuple[str, pa.Schema]:
        """The query for a modality's instances, and the schema that the data dictionary gives them."""
        modality = series.modality or ""
        if modality not in self._queries:
            release = "NULL" if series.idc_version is None else str(series.idc_version)
            pixels = modality not in WITHOUT_PIXELS
            columns = {**_HARVESTED, "idc_version": release, **attributes(modality, pixels=pixels)}
            columns = {name: columns[name] for name in _order(columns)}
            there = self._connection.sql(f"SELECT {_named(columns)} FROM made LIMIT 0")
            kinds = {
                name: _right_type(name, arrow_type(kind))
                for name, kind in zip(there.columns, there.types, strict=True)
            }
            cast = {name: f"CAST({sql} AS {sql_type(kinds[name])})" for name, sql in columns.items()}
            query = (
                f"SELECT {_named(cast)} FROM made WHERE NOT absent AND NOT unreadable ORDER BY place, uuid"
            )
            self._queries[modality] = query, pa.schema(list(kinds.items()))
        return self._queries[modality]


def _order(columns: Mapping[str, str]) -> list[str]:
    """As the crawl writes them: what the harvest knows, then the header, then what has no column."""
    first = ["collection_id", *HARVEST_COLUMNS.names]
    last = REMAINDER_COLUMNS.names
    return [*first, *(name for name in columns if name not in (*first, *last)), *last]


def _named(columns: Mapping[str, str]) -> str:
    return ", ".join(f"{sql} AS {identifier(name)}" for name, sql in columns.items())


_CONTRACT = {field.name: field.type for field in (*HARVEST_COLUMNS, *REMAINDER_COLUMNS)}


def _right_type(name: str, kind: pa.DataType) -> pa.DataType:
    """The contract's type of a column, whatever SQL made of it; only a sequence's fields follow from that."""
    if name == "collection_id":
        return pa.string()
    if name in _CONTRACT:
        return _CONTRACT[name]
    attribute = attributes_by_keyword()[name.lower()]
    if attribute.vr != "SQ":
        return column_type(attribute)
    return pa.list_(
        pa.struct([(inner.name, _right_type(inner.name, inner.type)) for inner in kind.value_type])
    )


def _frames_of(frames: pa.Table, shard: int) -> pa.Table:
    mine = frames.filter(pc.equal(frames.column("shard"), shard)).drop_columns(["shard"])
    return mine.cast(pa.schema([FRAME_COLUMNS.field(name) for name in mine.column_names]))


def _failure(series: Series, absent: int, url: str, size: int, h: int, count: int) -> Failure:
    if absent:
        message = f"{count - 1} objects are there, the catalog counts {count}"
        return Failure(series.prefixes[0].url, "incomplete_series", message, series=series)
    reason, message, status = _REASONS[h // 5003 % len(_REASONS)]
    attempts = 5 if reason == "timeout" else 1
    return Failure(url, reason, message, status=status, attempts=attempts, series=series, size=size)
