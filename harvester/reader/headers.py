"""Reads the metadata of objects as pydicom data sets, with as few bytes as possible."""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import partial
from itertools import islice
from typing import Final, TypeAlias, Unpack

import anyio
import pydicom
from anyio import from_thread, to_thread
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import FileDataset
from pydicom.tag import BaseTag, Tag

from harvester.dicom.dictionary import attributes_by_keyword
from harvester.errors import ConfigError, NotDicomError, ungrouped
from harvester.fetch.window_predictor import WindowPredictor
from harvester.messages import did_you_mean
from harvester.model import ObjectRef
from harvester.reader.access import Access, AccessOptions, Address, ReaderStore, object_ref
from harvester.reader.dataset_hints import NO_HINTS, DatasetLike, ObjectHints, look_up_hints
from harvester.reader.event_loop import LOOP
from harvester.reader.file import ObjectFile
from harvester.reader.frames import in_thread
from harvester.reader.header_lengths import RECENT_LENGTHS
from harvester.reader.view import open_view

Attributes: TypeAlias = Iterable[str | int | BaseTag] | None
_AT_ONCE: Final = 64  # objects
_FIRST_WINDOW: Final = 64 << 10  # bytes, of the first of many objects


def read_header(
    url: Address,
    attributes: Attributes = None,
    *,
    dataset: DatasetLike = None,
    **options: Unpack[AccessOptions],
) -> pydicom.FileDataset:
    """Read an object's metadata: everything before its pixel data, as `pydicom.dcmread` reads it.

    Args:
        url: `s3://`, `gs://`, `https://`, `http://`, `file://`, `harvester://`, or a path.
        attributes: Keywords or tags of the attributes to read; all by default.
        dataset: A dataset that may hold the length of the header.
        options: `endpoint`, `store` and `cache`, as in `AccessOptions`.

    Raises:
        ObjectError: The object is not DICOM, or its header cannot be read.
        StoreError: The object cannot be read; also an OSError such as FileNotFoundError.
        ConfigError: An argument is not valid, or there is no such attribute.
    """
    (header,) = read_headers([url], attributes, dataset=dataset, **options)
    return header


def read_headers(
    urls: Iterable[Address],
    attributes: Attributes = None,
    *,
    dataset: DatasetLike = None,
    **options: Unpack[AccessOptions],
) -> list[pydicom.FileDataset]:
    """Read the metadata of many objects at once, in the order of their addresses.

    Args:
        urls: The objects' addresses.
        attributes: Keywords or tags of the attributes to read; all by default.
        dataset: A dataset that may hold the lengths of the headers.
        options: As in `read_header`.

    Raises:
        ObjectError: One of them is not DICOM, or its header cannot be read.
        StoreError: One of them cannot be read.
        ConfigError: An argument is not valid, or there is no such attribute.
    """
    access, tags = Access(**options), _tags(attributes)
    refs = [object_ref(url) for url in _many(urls)]
    return LOOP.call(_read_all, access.shared_store(), refs, look_up_hints(dataset, refs), tags)


async def aread_header(
    url: Address,
    attributes: Attributes = None,
    *,
    dataset: DatasetLike = None,
    **options: Unpack[AccessOptions],
) -> pydicom.FileDataset:
    """Read an object's metadata as `read_header` does, for asynchronous callers.

    Without a `store` each call has a connection pool of its own.

    Raises:
        HarvesterError: As `read_header`.
    """
    (header,) = await aread_headers([url], attributes, dataset=dataset, **options)
    return header


async def aread_headers(
    urls: Iterable[Address],
    attributes: Attributes = None,
    *,
    dataset: DatasetLike = None,
    **options: Unpack[AccessOptions],
) -> list[pydicom.FileDataset]:
    """Read the metadata of many objects at once as `read_headers` does, for asynchronous callers.

    Without a `store` each call has a connection pool of its own.

    Raises:
        HarvesterError: As `read_headers`.
    """
    access, tags = Access(**options), _tags(attributes)
    refs = [object_ref(url) for url in _many(urls)]
    hints = await to_thread.run_sync(look_up_hints, dataset, refs)
    async with access.own_store() as store:
        return await _read_all(store, refs, hints, tags)


def iter_headers(
    urls: Iterable[Address], attributes: Attributes = None, **options: Unpack[AccessOptions]
) -> Iterator[tuple[Address, pydicom.FileDataset]]:
    """Read the metadata of any number of objects, each as soon as it is there.

    At most 64 objects are read or held at once; `urls` may have no end.

    Args:
        urls: The objects' addresses.
        attributes: Keywords or tags of the attributes to read; all by default.
        options: As in `read_header`.

    Yields:
        The address as it was given, and the metadata.

    Raises:
        HarvesterError: As `read_header`; it ends the iteration.
    """
    store, tags, places = Access(**options).shared_store(), _tags(attributes), iter(_many(urls))
    expected, portal = (NO_HINTS, WindowPredictor(_FIRST_WINDOW)), LOOP.portal()
    running: dict[Future[FileDataset], Address] = {}
    try:
        while True:
            for url in islice(places, _AT_ONCE - len(running)):
                running[portal.start_task_soon(_read_one, store, object_ref(url), expected, tags)] = url
            if not running:
                return
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(done), done.result()
    finally:
        for future in running:
            future.cancel()


async def aiter_headers(
    urls: Iterable[Address], attributes: Attributes = None, **options: Unpack[AccessOptions]
) -> AsyncIterator[tuple[Address, pydicom.FileDataset]]:
    """Read the metadata of any number of objects as `iter_headers` does, for asynchronous callers.

    Requests run in the reader's own thread; a `store` must not belong to the caller's event loop.

    Raises:
        HarvesterError: As `read_header`; it ends the iteration.
    """
    async for found in in_thread(iter_headers(urls, attributes, **options)):
        yield found


async def _read_all(
    store: ReaderStore, refs: Sequence[ObjectRef], hints: Sequence[ObjectHints], tags: list[int] | None
) -> list[FileDataset]:
    headers: dict[int, FileDataset] = {}
    # In a series the first header predicts the lengths of the others.
    predictor = WindowPredictor(_FIRST_WINDOW) if len(refs) > 1 else RECENT_LENGTHS
    places = iter(range(len(refs)))

    async def read_some() -> None:
        for place in places:
            headers[place] = await _read_one(store, refs[place], (hints[place], predictor), tags)

    with ungrouped():
        async with anyio.create_task_group() as tasks:
            for _ in range(min(_AT_ONCE, len(refs))):
                tasks.start_soon(read_some)
    return [headers[place] for place in range(len(refs))]


async def _read_one(
    store: ReaderStore, ref: ObjectRef, expected: tuple[ObjectHints, WindowPredictor], tags: list[int] | None
) -> FileDataset:
    hints, predictor = expected
    view = await open_view(store, ref, hints, "none", predictor)
    if view.source.header is None:
        raise view.source.header_error or NotDicomError("the object has no DICOM header", url=ref.url)
    # In a thread, because the file waits for this loop where a long value was skipped.
    file = ObjectFile(view, Access(), "none", from_thread.run)
    return await to_thread.run_sync(partial(_parsed, file, tags))


def _parsed(file: ObjectFile, tags: list[int] | None) -> FileDataset:
    header = pydicom.dcmread(file, stop_before_pixels=True, force=True, specific_tags=tags)
    header.buffer = None  # everything is read; a data set with a buffer cannot be pickled
    return header


def _many(urls: Iterable[Address]) -> Iterable[Address]:
    if isinstance(urls, str | bytes) or not isinstance(urls, Iterable):
        raise ConfigError(f"urls={urls!r}: it is a list of addresses; read_header reads a single object")
    return urls


def _tags(attributes: Attributes) -> list[int] | None:
    if isinstance(attributes, str | bytes | int):
        raise ConfigError(f"attributes={attributes!r}: it is a list, such as ['PatientID']")
    return None if attributes is None else [_tag(name) for name in attributes]


def _tag(name: str | int | BaseTag) -> int:
    tag = tag_for_keyword(name) if isinstance(name, str) else Tag(name)
    if tag is None:
        keywords = [attribute.keyword for attribute in attributes_by_keyword().values()]
        raise ConfigError(f"{name!r} is not a keyword of an attribute{did_you_mean(str(name), keywords)}")
    return int(tag)
