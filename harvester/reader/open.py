"""Opens an object where it lies, as a file."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import to_thread

from harvester.model import ObjectRef
from harvester.reader.dataset_hints import DatasetLike, look_up_hints
from harvester.reader.event_loop import LOOP
from harvester.reader.file import AsyncObjectFile, ObjectFile, OpenOptions
from harvester.reader.table_choice import OffsetTable
from harvester.reader.view import open_view
from harvester.store.base import Store
from harvester.store.open import open_store


def open_object(
    url: str,
    dataset: DatasetLike = None,
    *,
    endpoint: str | None = None,
    offset_table: OffsetTable = "auto",
    store: Store | None = None,
) -> ObjectFile:
    """Open an object where it lies, as a binary file that can be read at any position.

    The file works with `pydicom.dcmread`, `highdicom.imread`, `wsidicom`, `tifffile` and other programs that
    read files. Its header is in memory when this returns. A multi-frame object without an offset table is
    shown with one, which moves the bytes after it; a program that reads the file as TIFF needs
    `offset_table="none"`. An object, ETag and `offset_table` always give the same bytes.

    Args:
        url: `s3://`, `gs://`, `https://`, `http://`, `file://` or a path.
        dataset: A dataset that may hold the length of the header and the frame index.
        endpoint: Replaces the cloud's address: `http://HOST:PORT`, with the bucket in the path.
        offset_table: Which offset table is put into a file that has none.
        store: Replaces the shared store.

    Raises:
        StoreError: The object cannot be read.
        ConfigError: The address is not valid.
        DatasetError: The dataset cannot be read.
    """
    ref = ObjectRef.parse(url)
    (hints,) = look_up_hints(dataset, [ref])
    chosen = LOOP.store(endpoint) if store is None else store
    view = LOOP.call(open_view, chosen, ref, hints, offset_table)
    return ObjectFile(view, OpenOptions(endpoint, offset_table, store))


@asynccontextmanager
async def aopen_object(
    url: str,
    dataset: DatasetLike = None,
    *,
    endpoint: str | None = None,
    offset_table: OffsetTable = "auto",
    store: Store | None = None,
) -> AsyncIterator[AsyncObjectFile]:
    """Open an object as `open_object` does, for asynchronous callers.

    Args:
        url: `s3://`, `gs://`, `https://`, `http://`, `file://` or a path.
        dataset: A dataset that may hold the length of the header and the frame index.
        endpoint: Replaces the cloud's address.
        offset_table: Which offset table is put into a file that has none.
        store: A store for several objects (`harvester.store.open.open_store`); else each object has its own.

    Raises:
        StoreError: The object cannot be read.
        ConfigError: The address is not valid.
        DatasetError: The dataset cannot be read.
    """
    ref = ObjectRef.parse(url)
    (hints,) = await to_thread.run_sync(look_up_hints, dataset, [ref])
    if store is not None:
        yield AsyncObjectFile(await open_view(store, ref, hints, offset_table))
        return
    async with open_store(endpoint=endpoint) as own:
        yield AsyncObjectFile(await open_view(own, ref, hints, offset_table))
