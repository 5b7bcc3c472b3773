"""Reads objects where they lie: as files, as data sets of their headers, and frame by frame."""

from harvester.reader.access import AccessOptions
from harvester.reader.disk_cache import DiskCache
from harvester.reader.file import AsyncObjectFile, ObjectFile
from harvester.reader.frames import aiter_frames, aread_frames, iter_frames, read_frames
from harvester.reader.headers import (
    aiter_headers,
    aread_header,
    aread_headers,
    iter_headers,
    read_header,
    read_headers,
)
from harvester.reader.open import aopen_object, open_object
from harvester.reader.series import aseries_urls, series_urls
from harvester.reader.table_choice import OffsetTable

__all__ = [
    "AccessOptions",
    "AsyncObjectFile",
    "DiskCache",
    "ObjectFile",
    "OffsetTable",
    "aiter_frames",
    "aiter_headers",
    "aopen_object",
    "aread_frames",
    "aread_header",
    "aread_headers",
    "aseries_urls",
    "iter_frames",
    "iter_headers",
    "open_object",
    "read_frames",
    "read_header",
    "read_headers",
    "series_urls",
]
