"""Opens an object where it lies."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal, TypeAlias

from anyio import to_thread

from harvester.dataset import Dataset
from harvester.dicom import Header
from harvester.dicom.frames import FrameIndex, PixelData
from harvester.errors import FrameIndexError
from harvester.model import ObjectRef
from harvester.reader.engine import ENGINE, KEPT_INDEXES
from harvester.reader.file import AsyncObjectFile, ObjectFile
from harvester.reader.known import NOTHING_KNOWN, Known, look_up
from harvester.reader.source import ObjectSource
from harvester.reader.view import ObjectView, has_one_fragment_a_frame
from harvester.reader.virtual import VirtualTable, fits_basic, lacks_table
from harvester.store.base import Store
from harvester.store.open import open_store

OffsetTable = Literal["auto", "extended", "none"]
"""Which table is put into a file of many frames that has none.

`auto`: an extended one where it is known, from a dataset or from an earlier scan, where the frames lie.
Where it is not, a basic one: it stands inside the pixel data, so that reading the metadata alone does not
set off the scan that reading the table does. `extended`: an extended one always. `none`: none.
"""

Where: TypeAlias = Dataset | str | Path | None


def open_object(
    url: str,
    dataset: Where = None,
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
    known = NOTHING_KNOWN if dataset is None else look_up(dataset, ref)
    chosen = ENGINE.store(endpoint) if store is None else store
    return ObjectFile(ENGINE.call(opened_view, chosen, ref, known, offset_table), ENGINE)


@asynccontextmanager
async def aopen_object(
    url: str,
    dataset: Where = None,
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
    known = NOTHING_KNOWN if dataset is None else await to_thread.run_sync(look_up, dataset, ref)
    if store is not None:
        yield AsyncObjectFile(await opened_view(store, ref, known, offset_table))
        return
    async with open_store(endpoint=endpoint) as own:
        yield AsyncObjectFile(await opened_view(own, ref, known, offset_table))


async def opened_view(
    store: Store, ref: ObjectRef, known: Known = NOTHING_KNOWN, offset_table: OffsetTable = "auto"
) -> ObjectView:
    """Open an object of a store.

    Raises:
        StoreError: It cannot be read.
    """
    source = ObjectSource(store, ref)
    await source.open(known)
    if known.index is not None and known.etag == source.etag:
        KEPT_INDEXES.put(ref.url, source.etag, known.index)
    index = KEPT_INDEXES.get(ref.url, source.etag)
    table = None
    if source.header is not None and offset_table != "none":
        table = await _table(source, source.header, index, offset_table)
    return ObjectView(source, table, index)


async def _table(
    source: ObjectSource, header: Header, index: FrameIndex | None, wanted: OffsetTable
) -> VirtualTable | None:
    if not lacks_table(header):
        return None
    try:
        pixels = PixelData.of(header, source.size)
        pixels.check_number_of_frames()
    except FrameIndexError:
        return None
    if pixels.number_of_frames == 1 or pixels.is_stream:
        return None
    is_extended = wanted == "extended" or not fits_basic(source.size)
    if not is_extended and index is not None:
        is_extended = await has_one_fragment_a_frame(source, index)
    return VirtualTable("extended" if is_extended else "basic", pixels.number_of_frames, header)
