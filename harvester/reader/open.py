"""Opens an object where it lies."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias

from anyio import to_thread

from harvester.dataset import Dataset
from harvester.fetch.window_predictor import WindowPredictor
from harvester.model import ObjectRef
from harvester.reader.dataset_hints import NO_HINTS, ObjectHints, look_up_hints
from harvester.reader.event_loop import LOOP
from harvester.reader.file import AsyncObjectFile, ObjectFile, Origin
from harvester.reader.frame_lookup import known_index
from harvester.reader.header_lengths import RECENT_LENGTHS
from harvester.reader.source import ObjectSource
from harvester.reader.table_choice import OffsetTable, shown_with_table
from harvester.reader.view import ObjectView
from harvester.store.base import Store
from harvester.store.open import open_store

DatasetLike: TypeAlias = Dataset | str | Path | None


def open_object(
    url: str,
    dataset: DatasetLike = None,
    *,
    endpoint: str | None = None,
    offset_table: OffsetTable = "auto",
    store: Store | None = None,
) -> ObjectFile:
    """Open an object where it lies, as a binary file that can be read at any place.

    For `pydicom.dcmread`, `highdicom.imread`, `wsidicom`, `tifffile` and whatever else takes a file. Its
    header is in memory when this returns. A multi-frame object whose file has no offset table is shown
    with one, and what lies behind that is moved. So it is no TIFF file any more, if it was one, too: for
    a program that reads it as TIFF say `offset_table="none"`.

    Args:
        url: `s3://`, `gs://`, `https://`, `http://`, `file://` or a path.
        dataset: A dataset that may know how long the object's header is and where its frames lie.
        endpoint: Replaces the cloud's address: `http://HOST:PORT`, with the bucket in the path.
        offset_table: Which offset table is put into a file that has none.
        store: Takes the place of the shared one.

    Raises:
        StoreError: The object cannot be read.
        ConfigError: The address cannot be one.
        DatasetError: The dataset cannot be read.
    """
    ref = ObjectRef.parse(url)
    known = NO_HINTS if dataset is None else look_up_hints(dataset, ref)
    chosen = LOOP.store(endpoint) if store is None else store
    view = LOOP.call(opened_view, chosen, ref, known, offset_table)
    return ObjectFile(view, LOOP, Origin(endpoint, store))


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
        dataset: A dataset that may know of the object.
        endpoint: Replaces the cloud's address.
        offset_table: Which offset table is put into a file that has none.
        store: Of several objects the common one (`harvester.store.open.open_store`); else each has its own.

    Raises:
        StoreError: The object cannot be read.
        ConfigError: The address cannot be one.
        DatasetError: The dataset cannot be read.
    """
    ref = ObjectRef.parse(url)
    known = NO_HINTS if dataset is None else await to_thread.run_sync(look_up_hints, dataset, ref)
    if store is not None:
        yield AsyncObjectFile(await opened_view(store, ref, known, offset_table))
        return
    async with open_store(endpoint=endpoint) as own:
        yield AsyncObjectFile(await opened_view(own, ref, known, offset_table))


async def opened_view(
    store: Store,
    ref: ObjectRef,
    known: ObjectHints = NO_HINTS,
    offset_table: OffsetTable = "auto",
    predictor: WindowPredictor = RECENT_LENGTHS,
) -> ObjectView:
    """Open an object of a store.

    Raises:
        StoreError: It cannot be read.
    """
    source = ObjectSource(store, ref, predictor)
    await source.open(known)
    index = await known_index(source, known)
    if source.header is None or offset_table == "none":
        return ObjectView(source, None, index)
    return await shown_with_table(source, source.header, index, offset_table)
