"""The rows of one partition on their way into a part: what headers say, and what the harvest knows."""

from collections.abc import Callable, Container
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any, Final

import pyarrow as pa

from harvester import __version__
from harvester.dataset import HARVEST_COLUMNS
from harvester.dicom import HeaderColumns
from harvester.fetch import Cost, FetchedHeader
from harvester.model import Series

# One row of a slide with thousands of frames weighs megabytes, one of a CT some kilobytes: a part is
# closed by whichever of the two comes first.
ROWS_AT_ONCE: Final = 20_000
BYTES_AT_ONCE: Final = 64 << 20

Columns = Callable[[], HeaderColumns]
"""Makes the columns of one part."""


class Rows:
    """Rows that come together; see the module.

    Args:
        columns: Makes what takes the headers.
    """

    def __init__(self, columns: Columns = HeaderColumns) -> None:
        self.columns = columns()
        self.bytes = 0
        self._series: list[str] = []
        self._facts: dict[str, list[Any]] = {
            "collection_id": [],
            **{name: [] for name in HARVEST_COLUMNS.names},
        }

    def append(self, series: Series, fetched: FetchedHeader, cost: Cost) -> None:
        """Add one instance; if anything is raised, nothing was added."""
        header, ref = fetched.header, fetched.ref
        facts = {
            "collection_id": series.collection_id,
            "instance_url": _storable(ref.url),
            "instance_size": fetched.size,
            "etag": None if fetched.etag is None else _storable(fetched.etag),
            "crdc_series_uuid": series.crdc_series_uuid,
            "crdc_instance_uuid": PurePosixPath(ref.key).stem if series.crdc_series_uuid else None,
            "idc_version": series.idc_version,
            "preamble": header.preamble,
            "header_bytes": header.header_bytes,
            "pixel_data_offset": header.pixel_data_offset,
            "pixel_data_keyword": header.pixel_data_keyword,
            "encapsulated": header.encapsulated,
            "basic_offset_table": header.basic_offset_table,
            "extended_offset_table": header.extended_offset_table,
            "requests": cost.requests,
            "bytes_fetched": cost.bytes_fetched,
            "harvested_at": datetime.now(UTC).replace(tzinfo=None),
            "harvester_version": __version__,
        }
        self.columns.append(header)
        for name, values in self._facts.items():
            values.append(facts[name])
        self._series.append(series.key)
        # Values that were hopped over take no memory; what was inflated takes more than was fetched.
        self.bytes += header.header_bytes if header.deflated else min(header.header_bytes, cost.bytes_fetched)

    @property
    def full(self) -> bool:
        """Whether it is time to write them."""
        return self.columns.rows >= ROWS_AT_ONCE or self.bytes >= BYTES_AT_ONCE or self.columns.crowded

    @property
    def series(self) -> set[str]:
        """The keys of the series that they are of."""
        return set(self._series)

    def table(self, dropped: Container[str] = ()) -> pa.Table:
        """All rows but those of the series that are dropped; none can be added any more."""
        arrays = {"collection_id": pa.array(self._facts["collection_id"], pa.string())}
        arrays |= {field.name: pa.array(self._facts[field.name], field.type) for field in HARVEST_COLUMNS}
        arrays |= self.columns.finish()
        table = pa.table(arrays)
        return table.filter(pa.array([key not in dropped for key in self._series])) if dropped else table


def _storable(text: str) -> str:
    # A file name or a header field that is not UTF-8 reaches Python as lone surrogates, which Arrow refuses.
    return text.encode("utf-8", "backslashreplace").decode()
