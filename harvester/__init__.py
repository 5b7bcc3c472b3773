"""Reads the headers of DICOM objects where they lie and turns them into Parquet that answers SQL."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harvester.reader import (
        AsyncObjectFile,
        DiskCache,
        ObjectFile,
        aiter_frames,
        aiter_headers,
        aopen_object,
        aread_frames,
        aread_header,
        aread_headers,
        iter_frames,
        iter_headers,
        open_object,
        read_frames,
        read_header,
        read_headers,
        series_urls,
    )

__version__ = "0.1.0"

__all__ = [
    "AsyncObjectFile",
    "DiskCache",
    "ObjectFile",
    "__version__",
    "aiter_frames",
    "aiter_headers",
    "aopen_object",
    "aread_frames",
    "aread_header",
    "aread_headers",
    "iter_frames",
    "iter_headers",
    "open_object",
    "read_frames",
    "read_header",
    "read_headers",
    "series_urls",
]


def __getattr__(name: str) -> Any:
    """The reader's names, loaded when the first of them is asked for: a crawl does without."""
    if name not in __all__:
        raise AttributeError(f"module 'harvester' has no attribute {name!r}")
    from harvester import reader  # noqa: PLC0415  it imports pydicom's decoders, and this module

    return getattr(reader, name)


def __dir__() -> list[str]:
    return sorted(__all__)
