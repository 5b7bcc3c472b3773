"""Looks up in a dataset how long an object's header is and where its frames lie, before it is opened."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias, get_args

import pyarrow.parquet as pq

from harvester.dataset import Dataset, TableName
from harvester.dicom import Header
from harvester.dicom.frames import FrameIndex, FrameSource
from harvester.errors import DatasetError
from harvester.model import ObjectRef

DatasetLike: TypeAlias = Dataset | str | Path | None
"""An opened dataset, its path or URL, or None."""

# Bytes. A header that is longer than what the crawl fetched has long values, which a reader skips as well.
_LONGEST_WINDOW: Final = 4 << 20
_INSTANCE_COLUMNS: Final = ("etag", "header_bytes", "pixel_data_offset", "encapsulated", "bytes_fetched")
_FRAME_COLUMNS: Final = ("etag", "source", "frame_offsets", "frame_lengths")


@dataclass(frozen=True, slots=True)
class ObjectHints:
    """What is known of an object before it is read.

    Attributes:
        etag: The ETag of the object that the other attributes describe.
        header_window: Number of bytes that hold its header and the start of its pixel data.
        index: Its frame index.
    """

    etag: str | None = None
    header_window: int | None = None
    index: FrameIndex | None = field(default=None, repr=False)


NO_HINTS: Final = ObjectHints()


def look_up_hints(dataset: DatasetLike, refs: Sequence[ObjectRef]) -> list[ObjectHints]:
    """Look up objects in a dataset; `NO_HINTS` for those that it does not hold. Each part is read once.

    Raises:
        DatasetError: There is no such dataset, or it cannot be read.
    """
    if dataset is None:
        return [NO_HINTS] * len(refs)
    opened = dataset if isinstance(dataset, Dataset) else Dataset.open(dataset)
    instances = _rows(opened, "instances", _INSTANCE_COLUMNS, [ref.url for ref in refs])
    frames = _rows(opened, "frames", _FRAME_COLUMNS, list(instances))
    return [
        _hints(instances[ref.url], frames.get(ref.url)) if ref.url in instances else NO_HINTS for ref in refs
    ]


def header_window(header: Header) -> int:
    """Number of bytes that hold a header and the start of its pixel data."""
    offset = header.pixel_data_offset
    return min(header.header_bytes if offset is None else offset + 8, _LONGEST_WINDOW)


def _hints(instance: dict[str, Any], frames: dict[str, Any] | None) -> ObjectHints:
    etag = instance["etag"]
    return ObjectHints(etag, _header_window(instance), _index(frames, etag))


def _header_window(instance: dict[str, Any]) -> int | None:
    window: int | None = instance["header_bytes"]
    if instance["pixel_data_offset"] is not None:  # the first item holds the length of the offset table
        window = instance["pixel_data_offset"] + (8 if instance["encapsulated"] else 0)
    if window is None or window < 1:
        return None
    return window if window <= (instance["bytes_fetched"] or 0) else min(window, _LONGEST_WINDOW)


def _index(frames: dict[str, Any] | None, etag: str | None) -> FrameIndex | None:
    if frames is None or frames["etag"] != etag or etag is None:
        return None
    source, offsets, lengths = (frames[name] for name in _FRAME_COLUMNS[1:])
    if source not in get_args(FrameSource) or not offsets or not lengths:
        return None
    return FrameIndex(source, array("Q", offsets), array("Q", lengths))


def _rows(
    dataset: Dataset, kind: TableName, columns: Sequence[str], urls: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """The rows of some objects, by URL."""
    wanted, found, storage = set(urls), dict[str, dict[str, Any]](), dataset.storage
    for part in dataset.parts(kind):
        if not wanted:
            break
        try:
            table = pq.read_table(
                storage.file(part.path),
                columns=["instance_url", *columns],
                filters=[("instance_url", "in", wanted)],
                partitioning=None,
                filesystem=storage.filesystem,
            )
        except (OSError, ValueError) as error:
            raise DatasetError(f"{storage.folder}/{part.path}: cannot be read ({error})") from error
        for row in table.to_pylist():
            found[row["instance_url"]] = row
        wanted -= found.keys()
    return found
