"""The metadata of objects as pydicom data sets, read with as few bytes as it takes."""

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
from harvester.reader.dataset_hints import NO_HINTS, ObjectHints, look_up_all_hints
from harvester.reader.event_loop import LOOP
from harvester.reader.file import ObjectFile
from harvester.reader.header_lengths import RECENT_LENGTHS
from harvester.reader.open import DatasetLike, opened_view
from harvester.store.base import Store

Attributes: TypeAlias = Sequence[str | int | BaseTag] | None
_AT_ONCE: Final = 64  # objects
_FIRST_WINDOW: Final = 64 << 10  # bytes, of the first of many


def read_header(
    url: str,
    attributes: Attributes = None,
    *,
    dataset: DatasetLike = None,
    endpoint: str | None = None,
    store: Store | None = None,
) -> pydicom.FileDataset:
    """Read an object's metadata: everything in front of its pixel data, as `pydicom.dcmread` reads it.

    Args:
        url: `s3://`, `gs://`, `https://`, `http://`, `file://` or a path.
        attributes: Keywords or tags, to have only these.
        dataset: A dataset that may know how long the header is.
        endpoint: Replaces the cloud's address: `http://HOST:PORT`.
        store: Takes the place of the shared one.

    Raises:
        ObjectError: The object is not DICOM, or its header cannot be read.
        StoreError: The object cannot be read.
        ConfigError: The address cannot be one, or there is no such attribute.
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
        urls: Their addresses.
        attributes: Keywords or tags, to have only these.
        dataset: A dataset that may know how long the headers are.
        endpoint: Replaces the cloud's address.
        store: Takes the place of the shared one.

    Raises:
        ObjectError: One of them is not DICOM, or its header cannot be read.
        StoreError: One of them cannot be read.
        ConfigError: An address cannot be one, or there is no such attribute.
    """
    refs = [ObjectRef.parse(url) for url in urls]
    tags = None if attributes is None else [_tag(name) for name in attributes]
    known = [NO_HINTS] * len(refs) if dataset is None else look_up_all_hints(dataset, refs)
    chosen = LOOP.store(endpoint) if store is None else store
    return LOOP.call(_read_all, chosen, refs, known, tags)


async def _read_all(
    store: Store, refs: Sequence[ObjectRef], known: Sequence[ObjectHints], tags: list[int] | None
) -> list[FileDataset]:
    headers: dict[int, FileDataset] = {}
    # Of a series the first object says how long the headers of the others are.
    predictor = WindowPredictor(_FIRST_WINDOW) if len(refs) > 1 else RECENT_LENGTHS
    places = iter(range(len(refs)))

    async def read_some() -> None:
        for place in places:
            headers[place] = await _read_one(store, refs[place], (known[place], predictor), tags)

    with ungrouped():
        async with anyio.create_task_group() as tasks:
            for _ in range(min(_AT_ONCE, len(refs))):
                tasks.start_soon(read_some)
    return [headers[place] for place in range(len(refs))]


async def _read_one(
    store: Store, ref: ObjectRef, expected: tuple[ObjectHints, WindowPredictor], tags: list[int] | None
) -> FileDataset:
    known, predictor = expected
    view = await opened_view(store, ref, known, "none", predictor)
    if view.source.header is None:
        raise view.source.refusal or NotDicomError("the object has no DICOM header", url=ref.url)
    # A thread, because the file asks this loop where a value is long and was hopped over.
    file = ObjectFile(view, LOOP)
    return await to_thread.run_sync(partial(_parsed, file, tags))


def _parsed(file: ObjectFile, tags: list[int] | None) -> FileDataset:
    header = pydicom.dcmread(file, stop_before_pixels=True, force=True, specific_tags=tags)
    header.buffer = None  # nothing is left to read; without it a data set can be pickled
    return header


def _tag(name: str | int | BaseTag) -> int:
    tag = tag_for_keyword(name) if isinstance(name, str) else Tag(name)
    if tag is None:
        keywords = [attribute.keyword for attribute in attributes_by_keyword().values()]
        raise ConfigError(f"{name!r} is no attribute's keyword{did_you_mean(str(name), keywords)}")
    return int(tag)
