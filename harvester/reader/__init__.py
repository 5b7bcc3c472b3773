"""Objects read where they lie: as files, as data sets of their headers, and frame by frame."""

from harvester.reader.file import AsyncObjectFile, ObjectFile
from harvester.reader.frames import read_frames
from harvester.reader.headers import read_header, read_headers
from harvester.reader.open import aopen_object, open_object
from harvester.reader.series import series_urls
from harvester.reader.table_choice import OffsetTable

__all__ = [
    "AsyncObjectFile",
    "ObjectFile",
    "OffsetTable",
    "aopen_object",
    "open_object",
    "read_frames",
    "read_header",
    "read_headers",
    "series_urls",
]
