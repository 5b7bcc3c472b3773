"""Buffers the rows of one partition until they are written as a part."""

from array import array
from collections.abc import Container, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import accumulate, chain
from typing import Any, Final

import pyarrow as pa

from harvester.dataset import FRAME_COLUMNS, HARVEST_COLUMNS
from harvester.dicom import HeaderColumns
from harvester.dicom.frames import FrameIndex
from harvester.fetch.headers import FetchedHeader
from harvester.model import VERSION, Series
from harvester.store.cost import RequestCost

# A row of a slide with thousands of frames weighs megabytes, one of a CT some kilobytes: whichever bound
# is reached first closes the part.
ROWS_AT_ONCE: Final = 10_000
BYTES_AT_ONCE: Final = 32 << 20

_SOP_INSTANCE_UID: Final = 0x00080018
_SERIES_INSTANCE_UID: Final = 0x0020000E


class RowBuffer:
    """Rows of `instances` and `frames` of one partition."""

    def __init__(self) -> None:
        self.columns = HeaderColumns()
        self.bytes = 0
        self._series: list[str] = []
        self._frames: list[tuple[Series, FetchedHeader, FrameIndex]] = []
        self._facts: dict[str, list[Any]] = {
            "collection_id": [],
            **{name: [] for name in HARVEST_COLUMNS.names},
        }

    def append(
        self, series: Series, fetched: FetchedHeader, cost: RequestCost, index: FrameIndex | None = None
    ) -> None:
        """Add one instance and its frame index; if this raises, nothing was added."""
        header, ref = fetched.header, fetched.ref
        facts = {
            "collection_id": series.collection_id,
            "instance_url": _storable(ref.url),
            "instance_size": fetched.size,
            "etag": None if fetched.etag is None else _storable(fetched.etag),
            "crdc_series_uuid": series.crdc_series_uuid,
            "crdc_instance_uuid": ref.stem if series.crdc_series_uuid else None,
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
            "harvester_version": VERSION,
        }
        self.columns.append(header)
        for name, values in self._facts.items():
            values.append(facts[name])
        self._series.append(series.key)
        if index is not None:
            self._frames.append((series, _uids_only(fetched), index))
            self.bytes += 16 * len(index)
        # A skipped value takes no memory; an inflated header takes more than was fetched.
        self.bytes += header.header_bytes if header.deflated else min(header.header_bytes, cost.bytes_fetched)

    @property
    def full(self) -> bool:
        """Whether the rows are to be written now."""
        return self.columns.rows >= ROWS_AT_ONCE or self.bytes >= BYTES_AT_ONCE or self.columns.crowded

    @property
    def series(self) -> set[str]:
        """Keys of the series that have rows here."""
        return set(self._series)

    def table(self, dropped: Container[str] = ()) -> pa.Table:
        """The rows of `instances` without those of `dropped` series; ends the buffer."""
        arrays = {"collection_id": pa.array(self._facts["collection_id"], pa.string())}
        arrays |= {field.name: pa.array(self._facts[field.name], field.type) for field in HARVEST_COLUMNS}
        arrays |= self.columns.finish()
        table = pa.table(arrays)
        return table.filter(pa.array([key not in dropped for key in self._series])) if dropped else table

    def frame_table(self, dropped: Container[str] = ()) -> pa.Table:
        """The rows of `frames` without those of `dropped` series."""
        frames = [one for one in self._frames if one[0].key not in dropped]
        facts = [
            {
                "collection_id": series.collection_id,
                "SOPInstanceUID": _uid(fetched, _SOP_INSTANCE_UID),
                "SeriesInstanceUID": _uid(fetched, _SERIES_INSTANCE_UID),
                "instance_url": _storable(fetched.ref.url),
                "instance_size": fetched.size,
                "etag": None if fetched.etag is None else _storable(fetched.etag),
                "source": index.source,
                "frame_offsets": index.offsets,
                "frame_lengths": index.lengths,
            }
            for series, fetched, index in frames
        ]
        return pa.table(
            {
                field.name: _column([one[field.name] for one in facts], field.type)
                for field in FRAME_COLUMNS
                if field.name != "Modality"
            }
        )


def _uids_only(fetched: FetchedHeader) -> FetchedHeader:
    """The header reduced to what a row of `frames` needs, so that it is not held until the part is full."""
    named = [one for one in fetched.header.elements if one[0] in (_SOP_INSTANCE_UID, _SERIES_INSTANCE_UID)]
    return replace(fetched, header=replace(fetched.header, elements=named))


def _uid(fetched: FetchedHeader, tag: int) -> str | None:
    raw = next((one[2] for one in reversed(fetched.header.elements) if one[0] == tag), None)
    return raw.decode("latin-1").strip(" \0") or None if isinstance(raw, bytes) else None


def _column(values: list[Any], kind: pa.DataType) -> pa.Array:
    return _offset_lists(values) if pa.types.is_list(kind) else pa.array(values, kind)


def _offset_lists(values: list[Sequence[int]]) -> pa.ListArray:
    """Lists of frame offsets or lengths, joined in one buffer."""
    offsets = pa.array(accumulate((len(one) for one in values), initial=0), pa.int32())
    joined = array("Q", chain.from_iterable(values))
    return pa.ListArray.from_arrays(
        offsets, pa.Array.from_buffers(pa.uint64(), len(joined), [None, pa.py_buffer(joined)])
    )


def _storable(text: str) -> str:
    # A file name or a header field that is not UTF-8 reaches Python as lone surrogates, which Arrow refuses.
    return text.encode("utf-8", "backslashreplace").decode()
