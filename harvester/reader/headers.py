"""Reads the metadata of objects as pydicom data sets, with as few bytes as possible."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final, TypeAlias

import anyio
import pydicom
from anyio import to_thread
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import FileDataset
from pydicom.tag import BaseTag, Tag

from harvester.dicom.dictionary import attributes_by_keyword
from harvester.errors import ConfigError, NotDicomError, ungrouped
from harvester.fetch.window_predictor import WindowPredictor
from harvester.messages import did_you_mean
from harvester.model import ObjectRef
from harvester.reader.dataset_hints import DatasetLike, ObjectHints, look_up_hints
from harvester.reader.event_loop import LOOP
from harvester.reader.file import ObjectFile, OpenOptions
from harvester.reader.header_lengths import RECENT_LENGTHS
from harvester.reader.view import open_view
from harvester.store.base import Store

Attributes: TypeAlias = Sequence[str | int | BaseTag] | None
_AT_ONCE: Final = 64  # objects
_FIRST_WINDOW: Final = 64 << 10  # bytes, of the first of many objects


def read_header(
    url: str,
    attributes: Attributes = None,
    *,
    dataset: DatasetLike = None,
    endpoint: str | None = None,
    store: Store | None = None,
) -> pydicom.FileDataset:
    """Read an object's metadata: everything before its pixel data, as `pydicom.dcmread` reads it.

    Args:
        url: `s3://`, `gs://`, `https://`, `http://`, `file://` or a path.
        attributes: Keywords or tags of the attributes to read; all by default.
        dataset: A dataset that may hold the length of the header.
        endpoint: Replaces the cloud's address: `http://HOST:PORT`.
        store: Replaces the shared store.

    Raises:
        ObjectError: The object is not DICOM, or its header cannot be read.
        StoreError: The object cannot be read.
        ConfigError: The address is not valid, or there is no such attribute.
    """
    (header,) = read_headers([url], attributes, dataset=dataset, endpoint=endpoint, store=store)
    return header


def read_headers(
    urls: Iterable[str],
    attributes: Attributes = None,
    *,
    dataset: DatasetLike = None,
    endpoint: str | None = None,
    store: Store | None = None,
) -> list[pydicom.FileDataset]:
    """Read the metadata of many objects at once, in the order of their addresses.

    Args:
        urls: The objects' addresses.
        attributes: Keywords or tags of the attributes to read; all by default.
        dataset: A dataset that may hold the lengths of the headers.
        endpoint: Replaces the cloud's address.
        store: Replaces the shared store.

    Raises:
        ObjectError: One of them is not DICOM, or its header cannot be read.
        StoreError: One of them cannot be read.
        ConfigError: An address is not valid, or there is no such attribute.
    """
    refs = [ObjectRef.parse(url) for url in urls]
    tags = None if attributes is None else [_tag(name) for name in attributes]
    hints = look_up_hints(dataset, refs)
    chosen = LOOP.store(endpoint) if store is None else store
    return LOOP.call(_read_all, chosen, refs, hints, tags)


async def _read_all(
    store: Store, refs: Sequence[ObjectRef], hints: Sequence[ObjectHints], tags: list[int] | None
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
    store: Store, ref: ObjectRef, expected: tuple[ObjectHints, WindowPredictor], tags: list[int] | None
) -> FileDataset:
    hints, predictor = expected
    view = await open_view(store, ref, hints, "none", predictor)
    if view.source.header is None:
        raise view.source.header_error or NotDicomError("the object has no DICOM header", url=ref.url)
    # In a thread, because the file waits for this loop where a long value was skipped.
    file = ObjectFile(view, OpenOptions(store=store))
    return await to_thread.run_sync(partial(_parsed, file, tags))


def _parsed(file: ObjectFile, tags: list[int] | None) -> FileDataset:
    header = pydicom.dcmread(file, stop_before_pixels=True, force=True, specific_tags=tags)
    header.buffer = None  # everything is read; a data set with a buffer cannot be pickled
    return header


def _tag(name: str | int | BaseTag) -> int:
    tag = tag_for_keyword(name) if isinstance(name, str) else Tag(name)
    if tag is None:
        keywords = [attribute.keyword for attribute in attributes_by_keyword().values()]
        raise ConfigError(f"{name!r} is not a keyword of an attribute{did_you_mean(str(name), keywords)}")
    return int(tag)
