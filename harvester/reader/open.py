"""Opens an object where it lies, as a file."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Unpack

from anyio import to_thread

from harvester.reader.access import Access, AccessOptions, Address, object_ref
from harvester.reader.dataset_hints import DatasetLike, look_up_hints
from harvester.reader.event_loop import LOOP
from harvester.reader.file import AsyncObjectFile, ObjectFile
from harvester.reader.table_choice import OffsetTable, check_offset_table
from harvester.reader.view import open_view


def open_object(
    url: Address,
    dataset: DatasetLike = None,
    *,
    offset_table: OffsetTable = "auto",
    **options: Unpack[AccessOptions],
) -> ObjectFile:
    """Open an object where it lies, as a binary file that can be read at any position.

    The file works with `pydicom.dcmread`, `highdicom.imread`, `wsidicom`, `tifffile` and other programs that
    read files. Its header is in memory when this returns. A multi-frame object without an offset table is
    shown with one, which moves the bytes after it; a program that reads the file as TIFF needs
    `offset_table="none"`. An object, ETag and `offset_table` always give the same bytes.

    Args:
        url: `s3://`, `gs://`, `https://`, `http://`, `file://`, `harvester://`, or a path.
        dataset: A dataset that may hold the length of the header and the frame index.
        offset_table: Which offset table is put into a file that has none: `auto`, `extended` or `none`.
        options: `endpoint`, `store`, `cache` and `progress`, as in `AccessOptions`.

    Raises:
        StoreError: The object cannot be read; also an OSError such as FileNotFoundError.
        ConfigError: An argument is not valid.
        DatasetError: The dataset cannot be read.
    """
    access, ref = Access(**options), object_ref(url)
    check_offset_table(offset_table)
    (hints,) = look_up_hints(dataset, [ref])
    view = LOOP.call(open_view, access.shared_store(), ref, hints, offset_table)
    return ObjectFile(view, access, offset_table)


@asynccontextmanager
async def aopen_object(
    url: Address,
    dataset: DatasetLike = None,
    *,
    offset_table: OffsetTable = "auto",
    **options: Unpack[AccessOptions],
) -> AsyncIterator[AsyncObjectFile]:
    """Open an object as `open_object` does, for asynchronous callers.

    Args:
        url: As in `open_object`.
        dataset: A dataset that may hold the length of the header and the frame index.
        offset_table: Which offset table is put into a file that has none.
        options: As in `open_object`. Without a `store` the file has a connection pool of its own.

    Raises:
        StoreError: The object cannot be read.
        ConfigError: An argument is not valid.
        DatasetError: The dataset cannot be read.
    """
    access, ref = Access(**options), object_ref(url)
    check_offset_table(offset_table)
    (hints,) = await to_thread.run_sync(look_up_hints, dataset, [ref])
    async with access.own_store() as store:
        yield AsyncObjectFile(await open_view(store, ref, hints, offset_table))
