"""The catalog of a demo bucket: one row per series, with the columns of the installed idc-index."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import idc_index_data
import pyarrow as pa
import pyarrow.parquet as pq
from pydicom.uid import UID

from harvester.demo.layout import BUCKET, DemoLayout, DemoSeries
from harvester.errors import ConfigError


def _catalog_table(layout: DemoLayout) -> pa.Table:
    """One row per series; columns that the files do not give are NULL."""
    schema = pq.read_schema(idc_index_data.IDC_INDEX_PARQUET_FILEPATH).remove_metadata()
    rows = [_row(series) for series in layout.series]
    columns = [pa.array([row.get(field.name) for row in rows], field.type) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def write_catalog(layout: DemoLayout, path: Path) -> None:
    """Save the catalog as Parquet, atomically.

    Args:
        layout: The series.
        path: The file; an existing one is replaced.

    Raises:
        ConfigError: The file can't be written.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with unfinished.open("wb") as stream:
            pq.write_table(_catalog_table(layout), stream, compression="zstd")
        unfinished.replace(path)
    except OSError as error:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise ConfigError(f"{path}: the catalog can't be written here ({error.strerror or error})") from error


def _row(series: DemoSeries) -> Mapping[str, object]:
    attributes = series.attributes
    return {
        **attributes,
        "collection_id": series.collection_id,
        "sop_class_name": _name_of(attributes.get("SOPClassUID")),
        "transfer_syntax_name": _name_of(attributes.get("TransferSyntaxUID")),
        "instanceCount": len(series.instances),
        "aws_bucket": BUCKET,
        "crdc_series_uuid": series.crdc_series_uuid,
        "series_aws_url": f"s3://{BUCKET}/{series.crdc_series_uuid}/*",
        "series_size_MB": series.size / 1e6,
    }


def _name_of(uid: str | None) -> str | None:
    """The name of a UID in PS3.6 A, if it has one."""
    name = UID(uid or "").name
    return name if name != (uid or "") else None
