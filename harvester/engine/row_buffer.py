"""Buffers the rows of one partition until they are written as a part."""

import time
from array import array
from collections.abc import Container, Sequence
from dataclasses import replace
from itertools import accumulate, chain
from typing import Any, Final

import pyarrow as pa

from harvester.dataset import FRAME_COLUMNS, HARVEST_COLUMNS, PARTITION_COLUMNS
from harvester.dicom import InstanceColumns
from harvester.dicom.frames import FrameIndex
from harvester.fetch.headers import FetchedHeader
from harvester.model import VERSION, Series
from harvester.store.cost import RequestCost

# A row of a slide with thousands of frames weighs megabytes, one of a CT some kilobytes: whichever bound
# is reached first closes the part.
ROWS_AT_ONCE: Final = 10_000
BYTES_AT_ONCE: Final = 32 << 20

_FACTS: Final = pa.schema([PARTITION_COLUMNS.field("collection_id"), *HARVEST_COLUMNS])

_SOP_INSTANCE_UID: Final = 0x00080018
_SERIES_INSTANCE_UID: Final = 0x0020000E


class RowBuffer:
    """Rows of `instances` and `frames` of one partition."""

    def __init__(self) -> None:
        self.columns = InstanceColumns()
        self.bytes = 0
        self._series: list[str] = []
        self._frames: list[tuple[Series, FetchedHeader, FrameIndex]] = []
        self._facts: list[tuple[Any, ...]] = []  # rows of `_FACTS`

    def append(
        self, series: Series, fetched: FetchedHeader, cost: RequestCost, index: FrameIndex | None = None
    ) -> None:
        """Add one instance and its frame index; if this raises, nothing was added."""
        ref, header, size, etag = fetched
        facts = (  # in the order of `_FACTS`
            series.collection_id,
            _storable(ref.url),
            size,
            None if etag is None else _storable(etag),
            series.crdc_series_uuid,
            ref.stem if series.crdc_series_uuid else None,
            series.idc_version,
            header.preamble,
            header.header_bytes,
            header.pixel_data_offset,
            header.pixel_data_keyword,
            header.encapsulated,
            header.basic_offset_table,
            header.extended_offset_table,
            cost.requests,
            cost.bytes_fetched,
            time.time_ns() // 1000,
            VERSION,
        )
        self.columns.append(header)
        self._facts.append(facts)
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
        columns = [*zip(*self._facts, strict=True)] or [()] * len(_FACTS)
        arrays = {one.name: pa.array(values, one.type) for one, values in zip(_FACTS, columns, strict=True)}
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
    known = {tag: fetched.header.value(tag) for tag in (_SOP_INSTANCE_UID, _SERIES_INSTANCE_UID)}
    return fetched._replace(header=replace(fetched.header, elements=(), known_values=known))


def _uid(fetched: FetchedHeader, tag: int) -> str | None:
    raw = fetched.header.value(tag) or b""
    return raw.decode("latin-1").strip(" \0") or None


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
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
