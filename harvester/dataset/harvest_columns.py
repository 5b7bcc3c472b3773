"""The columns that every part has, whatever its objects hold."""

from collections.abc import Iterable
from datetime import UTC, datetime

import pyarrow as pa

from harvester.model import Failure

# A message can quote a server's response; this limits the size of a row.
MAXIMUM_MESSAGE = 4000

PARTITION_COLUMNS = pa.schema([("collection_id", pa.string()), ("Modality", pa.string())])

# What the harvest knows of an object, in the order of docs/data.md.
HARVEST_COLUMNS = pa.schema(
    [
        ("instance_url", pa.string()),
        ("instance_size", pa.int64()),
        ("etag", pa.string()),
        ("crdc_series_uuid", pa.string()),
        ("crdc_instance_uuid", pa.string()),
        ("idc_version", pa.int64()),
        ("preamble", pa.string()),
        ("header_bytes", pa.int64()),
        ("pixel_data_offset", pa.int64()),
        ("pixel_data_keyword", pa.string()),
        ("encapsulated", pa.bool_()),
        ("basic_offset_table", pa.bool_()),
        ("extended_offset_table", pa.bool_()),
        ("requests", pa.int64()),
        ("bytes_fetched", pa.int64()),
        ("harvested_at", pa.timestamp("us")),  # UTC, without a zone as every DT column
        ("harvester_version", pa.string()),
    ]
)


def _items(**types: pa.DataType) -> pa.DataType:
    return pa.list_(pa.struct(list(types.items())))


# Elements without a column of their own, at any depth of the header.
REMAINDER_COLUMNS = pa.schema(
    [
        (
            "OtherElements",
            _items(
                path=pa.string(),
                Tag=pa.string(),
                VR=pa.string(),
                Creator=pa.string(),
                Data=pa.list_(pa.string()),
            ),
        ),
        ("bulk_data", _items(path=pa.string(), VR=pa.string(), offset=pa.int64(), length=pa.int64())),
        ("invalid_elements", _items(path=pa.string(), VR=pa.string(), text=pa.string(), reason=pa.string())),
        ("empty_elements", pa.list_(pa.string())),
    ]
)

# Every part of `instances` has these; each attribute seen adds its own column.
INSTANCE_COLUMNS = pa.schema(
    [
        *PARTITION_COLUMNS,
        ("SOPInstanceUID", pa.string()),
        ("SOPClassUID", pa.string()),
        ("SeriesInstanceUID", pa.string()),
        ("StudyInstanceUID", pa.string()),
        ("PatientID", pa.string()),
        ("TransferSyntaxUID", pa.string()),
        *HARVEST_COLUMNS,
        *REMAINDER_COLUMNS,
    ]
)

FRAME_COLUMNS = pa.schema(
    [
        *PARTITION_COLUMNS,
        ("SOPInstanceUID", pa.string()),
        ("SeriesInstanceUID", pa.string()),
        ("instance_url", pa.string()),
        ("instance_size", pa.int64()),
        ("etag", pa.string()),
        ("source", pa.string()),
        ("frame_offsets", pa.list_(pa.uint64())),
        ("frame_lengths", pa.list_(pa.uint64())),
    ]
)

FAILURE_COLUMNS = pa.schema(
    [
        ("instance_url", pa.string()),
        ("instance_size", pa.int64()),
        ("reason", pa.string()),
        ("message", pa.string()),
        ("status", pa.int64()),
        ("offset", pa.int64()),
        ("attempts", pa.int64()),
        ("series_key", pa.string()),
        ("collection_id", pa.string()),
        ("Modality", pa.string()),
        ("SeriesInstanceUID", pa.string()),
        ("crdc_series_uuid", pa.string()),
        ("idc_version", pa.int64()),
        ("harvested_at", pa.timestamp("us")),
        ("harvester_version", pa.string()),
    ]
)


def failure_table(
    failures: Iterable[Failure], *, harvester_version: str, harvested_at: datetime | None = None
) -> pa.Table:
    """Failures as rows of `failures`.

    Args:
        failures: One for each object, or series, that gave no row in `instances`.
        harvester_version: The version that failed.
        harvested_at: When it failed, with its zone; now, if not given.
    """
    moment = (harvested_at or datetime.now(UTC)).astimezone(UTC).replace(tzinfo=None)
    rows = [
        {**_failure_row(failure), "harvested_at": moment, "harvester_version": harvester_version}
        for failure in failures
    ]
    return pa.Table.from_pylist(rows, schema=FAILURE_COLUMNS)


def _failure_row(failure: Failure) -> dict[str, object]:
    series = failure.series
    return {
        "instance_url": _storable(failure.url),
        "instance_size": failure.size,
        "reason": failure.reason,
        "message": _storable(failure.message[:MAXIMUM_MESSAGE]),
        "status": failure.status,
        "offset": failure.offset,
        "attempts": failure.attempts,
        "series_key": series and _storable(series.key),
        "collection_id": series and series.collection_id,
        "Modality": series and series.modality,
        "SeriesInstanceUID": series and series.series_instance_uid,
        "crdc_series_uuid": series and series.crdc_series_uuid,
        "idc_version": series and series.idc_version,
    }


def _storable(text: str) -> str:
    # A file name that is not UTF-8 reaches Python as lone surrogates, which Arrow refuses.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
