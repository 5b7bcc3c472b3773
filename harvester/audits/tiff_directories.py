"""Reads the TIFF directories of dual-personality DICOM-TIFF objects with range requests."""

from collections.abc import Generator, Mapping, Sequence
from itertools import count
from typing import Final, TypeAlias

import anyio
import pyarrow as pa

from harvester.dicom.frames import Wanted
from harvester.dicom.frames.tiff import read_tiff_numbers
from harvester.errors import ConnectionFailedError, FrameIndexError, HarvestError, TimedOutError, ungrouped
from harvester.model import ByteRange, ObjectRef
from harvester.reader.event_loop import LOOP
from harvester.store.base import Store
from harvester.store.open import StoreSettings, open_store
from harvester.store.resilience.retrying_store import RetryPolicy

DIRECTORIES: Final = pa.schema(
    [
        ("instance_url", pa.string()),
        ("directory", pa.int64()),
        ("width", pa.int64()),
        ("length", pa.int64()),
        ("bits", pa.int64()),
        ("compression", pa.int64()),
        ("photometric", pa.int64()),
        ("samples", pa.int64()),
        ("tile_width", pa.int64()),
        ("tile_length", pa.int64()),
        ("error", pa.string()),
    ]
)
"""One row per directory; for an object whose directory cannot be read, one row with the `error`."""

TiffObject: TypeAlias = tuple[str, str | None]
"""URL and ETag of an object."""
_Rows: TypeAlias = list[dict[str, object]]

# TIFF 6.0 section 8 and page 66.
_TAGS: Final = {
    "width": 256,
    "length": 257,
    "bits": 258,
    "compression": 259,
    "photometric": 262,
    "samples": 277,
    "tile_width": 322,
    "tile_length": 323,
}
_START_BYTES: Final = 16
_CONCURRENCY: Final = 64
_SETTINGS: Final = StoreSettings(
    concurrency=_CONCURRENCY, retry=RetryPolicy(attempts=4, longest_seconds=8.0, patience_seconds=30.0)
)
_PROBE: Final = StoreSettings(timeout_seconds=10.0, retry=RetryPolicy(attempts=1, patience_seconds=1.0))
_PROBE_SECONDS: Final = 15.0


def read_directories(objects: Sequence[TiffObject], endpoint: str | None) -> pa.Table | None:
    """Read the TIFF directories of objects.

    Args:
        objects: URLs and ETags.
        endpoint: Replaces the endpoint of the cloud.

    Returns:
        A table of `DIRECTORIES`; None if the server of the first object cannot be reached.
    """
    rows: list[_Rows] | None = LOOP.call(_read_all, objects, endpoint)
    if rows is None:
        return None
    return pa.Table.from_pylist([row for some in rows for row in some], schema=DIRECTORIES)


async def _read_all(objects: Sequence[TiffObject], endpoint: str | None) -> list[_Rows] | None:
    # A crawl waits for the network; an audit skips this rule and runs the others.
    if not await _reachable(objects[0][0], endpoint):
        return None
    rows: list[_Rows] = [[] for _ in objects]
    indices = count()

    async def read_some(store: Store) -> None:
        while (index := next(indices)) < len(objects):
            rows[index] = await _read_one(store, *objects[index])

    with ungrouped():
        async with open_store(_SETTINGS, endpoint=endpoint) as store, anyio.create_task_group() as tasks:
            for _ in range(min(_CONCURRENCY, len(objects))):
                tasks.start_soon(read_some, store)
    return rows


async def _reachable(url: str, endpoint: str | None) -> bool:
    """Whether the server of an object responds at all."""
    with anyio.move_on_after(_PROBE_SECONDS):
        async with open_store(_PROBE, endpoint=endpoint) as store:
            try:
                await store.get_range(ObjectRef.parse(url), ByteRange(0, _START_BYTES))
            except (ConnectionFailedError, TimedOutError):
                return False
            except HarvestError:
                return True  # an error of this object is reported when its directory is read
            return True
    return False


async def _read_one(store: Store, url: str, etag: str | None) -> _Rows:
    try:
        directories = await _read_numbers(store, ObjectRef.parse(url), etag)
    except HarvestError as error:
        message = f"its TIFF directory cannot be read: {error.message}"
        return [{"instance_url": url, "directory": 0, "error": message[:300]}]
    return [
        {"instance_url": url, "directory": number, **{name: numbers.get(tag) for name, tag in _TAGS.items()}}
        for number, numbers in enumerate(directories)
    ]


async def _read_numbers(store: Store, ref: ObjectRef, etag: str | None) -> list[Mapping[int, int]]:
    first = await store.get_range(ref, ByteRange(0, _START_BYTES), etag=etag)
    steps: Generator[Wanted, Sequence[bytes], list[Mapping[int, int]]] = read_tiff_numbers(
        first.size, tuple(_TAGS.values())
    )
    data: list[bytes] | None = None
    while True:
        try:
            wanted = next(steps) if data is None else steps.send(data)
        except StopIteration as stopped:
            directories: list[Mapping[int, int]] = stopped.value
            return directories
        if any(one.start >= first.size for one in wanted):
            raise FrameIndexError("the TIFF directory lies beyond the end of the object", url=ref.url)
        data = [(await store.get_range(ref, one, etag=etag)).data for one in wanted]
