"""Reads the metadata of objects as pydicom data sets, with as few bytes as possible."""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import partial
from itertools import islice
from typing import Final, Literal, TypeAlias, Unpack, get_args, overload

import anyio
import pydicom
from anyio import from_thread, to_thread
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import FileDataset
from pydicom.tag import BaseTag, Tag

from harvester.config import check_choice
from harvester.dicom.dictionary import attributes_by_keyword
from harvester.errors import ConfigError, HarvestError, NotDicomError, ungrouped, without_frames
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
Policy: TypeAlias = Literal["raise", "return", "skip"]
"""What becomes of an object that cannot be read: an error, its place holds the error, or it is left out."""

Found: TypeAlias = FileDataset | HarvestError
_AT_ONCE: Final = 64  # objects
_FIRST_WINDOW: Final = 64 << 10  # bytes, of the first of many objects


def read_header(
    url: Address,
    attributes: Attributes = None,
    *,
    dataset: DatasetLike = None,
    **options: Unpack[AccessOptions],
) -> FileDataset:
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


@overload
def read_headers(
    urls: Iterable[Address],
    attributes: Attributes = None,
    *,
    dataset: DatasetLike = None,
    errors: Literal["raise", "skip"] = "raise",
    **options: Unpack[AccessOptions],
) -> list[FileDataset]: ...


@overload
def read_headers(
    urls: Iterable[Address],
    attributes: Attributes = None,
    *,
    dataset: DatasetLike = None,
    errors: Literal["return"],
    **options: Unpack[AccessOptions],
) -> list[Found]: ...


def read_headers(
    urls: Iterable[Address],
    attributes: Attributes = None,
    *,
    dataset: DatasetLike = None,
    errors: Policy = "raise",
    **options: Unpack[AccessOptions],
) -> list[FileDataset] | list[Found]:
    """Read the metadata of many objects at once, in the order of their addresses.

    Args:
        urls: The objects' addresses.
        attributes: Keywords or tags of the attributes to read; all by default.
        dataset: A dataset that may hold the lengths of the headers.
        errors: `raise`: the first object that cannot be read raises its error. `return`: the list has the
            error in its place. `skip`: it is left out.
        options: As in `read_header`.

    Raises:
        ObjectError: One of them is not DICOM, or its header cannot be read.
        StoreError: One of them cannot be read.
        ConfigError: An argument is not valid, or there is no such attribute.
    """
    access, tags = Access(**options), _tags(attributes)
    check_choice("errors", errors, get_args(Policy))
    refs = [object_ref(url) for url in _many(urls)]
    hints = look_up_hints(dataset, refs)
    return _by_policy(LOOP.call(_read_all, access.shared_store(), refs, hints, tags, errors), errors)


async def aread_header(
    url: Address,
    attributes: Attributes = None,
    *,
    dataset: DatasetLike = None,
    **options: Unpack[AccessOptions],
) -> FileDataset:
    """Read an object's metadata as `read_header` does, for asynchronous callers.

    Without a `store` each call has a connection pool of its own.

    Raises:
        HarvesterError: As `read_header`.
    """
    (header,) = await aread_headers([url], attributes, dataset=dataset, **options)
    return header


@overload
async def aread_headers(
    urls: Iterable[Address],
    attributes: Attributes = None,
    *,
    dataset: DatasetLike = None,
    errors: Literal["raise", "skip"] = "raise",
    **options: Unpack[AccessOptions],
) -> list[FileDataset]: ...


@overload
async def aread_headers(
    urls: Iterable[Address],
    attributes: Attributes = None,
    *,
    dataset: DatasetLike = None,
    errors: Literal["return"],
    **options: Unpack[AccessOptions],
) -> list[Found]: ...


async def aread_headers(
    urls: Iterable[Address],
    attributes: Attributes = None,
    *,
    dataset: DatasetLike = None,
    errors: Policy = "raise",
    **options: Unpack[AccessOptions],
) -> list[FileDataset] | list[Found]:
    """Read the metadata of many objects at once as `read_headers` does, for asynchronous callers.

    Without a `store` each call has a connection pool of its own.

    Raises:
        HarvesterError: As `read_headers`.
    """
    access, tags = Access(**options), _tags(attributes)
    check_choice("errors", errors, get_args(Policy))
    refs = [object_ref(url) for url in _many(urls)]
    hints = await to_thread.run_sync(look_up_hints, dataset, refs)
    async with access.own_store() as store:
        return _by_policy(await _read_all(store, refs, hints, tags, errors), errors)


@overload
def iter_headers(
    urls: Iterable[Address],
    attributes: Attributes = None,
    *,
    errors: Literal["raise", "skip"] = "raise",
    **options: Unpack[AccessOptions],
) -> Iterator[tuple[Address, FileDataset]]: ...


@overload
def iter_headers(
    urls: Iterable[Address],
    attributes: Attributes = None,
    *,
    errors: Literal["return"],
    **options: Unpack[AccessOptions],
) -> Iterator[tuple[Address, Found]]: ...


def iter_headers(
    urls: Iterable[Address],
    attributes: Attributes = None,
    *,
    errors: Policy = "raise",
    **options: Unpack[AccessOptions],
) -> Iterator[tuple[Address, FileDataset]] | Iterator[tuple[Address, Found]]:
    """Read the metadata of any number of objects, each as soon as it is there.

    At most 64 objects are read or held at once; `urls` may have no end.

    Args:
        urls: The objects' addresses.
        attributes: Keywords or tags of the attributes to read; all by default.
        errors: As in `read_headers`; `return` yields the error with its address.
        options: As in `read_header`.

    Yields:
        The address as it was given, and the metadata.

    Raises:
        HarvesterError: As `read_header`; it ends the iteration.
    """
    store, tags, places = Access(**options).shared_store(), _tags(attributes), iter(_many(urls))
    check_choice("errors", errors, get_args(Policy))
    expected, portal = (NO_HINTS, WindowPredictor(_FIRST_WINDOW)), LOOP.portal()
    running: dict[Future[Found], Address] = {}
    try:
        while True:
            for url in islice(places, _AT_ONCE - len(running)):
                one = (store, object_ref(url), expected, tags, errors)
                running[portal.start_task_soon(_read_by_policy, *one)] = url
            if not running:
                return
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                url, found = running.pop(done), done.result()
                if errors != "skip" or isinstance(found, FileDataset):
                    yield url, found
    finally:
        for future in running:
            future.cancel()


@overload
def aiter_headers(
    urls: Iterable[Address],
    attributes: Attributes = None,
    *,
    errors: Literal["raise", "skip"] = "raise",
    **options: Unpack[AccessOptions],
) -> AsyncIterator[tuple[Address, FileDataset]]: ...


@overload
def aiter_headers(
    urls: Iterable[Address],
    attributes: Attributes = None,
    *,
    errors: Literal["return"],
    **options: Unpack[AccessOptions],
) -> AsyncIterator[tuple[Address, Found]]: ...


async def aiter_headers(
    urls: Iterable[Address],
    attributes: Attributes = None,
    *,
    errors: Policy = "raise",
    **options: Unpack[AccessOptions],
) -> AsyncIterator[tuple[Address, Found]]:
    """Read the metadata of any number of objects as `iter_headers` does, for asynchronous callers.

    Requests run in the reader's own thread; a `store` must not belong to the caller's event loop.

    Raises:
        HarvesterError: As `read_header`; it ends the iteration.
    """
    found: Iterator[tuple[Address, Found]] = iter_headers(urls, attributes, errors=errors, **options)
    async for one in in_thread(found):
        yield one


async def _read_all(
    store: ReaderStore,
    refs: Sequence[ObjectRef],
    hints: Sequence[ObjectHints],
    tags: list[int] | None,
    policy: Policy,
) -> list[Found]:
    headers: dict[int, Found] = {}
    # In a series the first header predicts the lengths of the others.
    predictor = WindowPredictor(_FIRST_WINDOW) if len(refs) > 1 else RECENT_LENGTHS
    places = iter(range(len(refs)))

    async def read_some() -> None:
        for place in places:
            expected = (hints[place], predictor)
            headers[place] = await _read_by_policy(store, refs[place], expected, tags, policy)

    with ungrouped():
        async with anyio.create_task_group() as tasks:
            for _ in range(min(_AT_ONCE, len(refs))):
                tasks.start_soon(read_some)
    return [headers[place] for place in range(len(refs))]


async def _read_by_policy(
    store: ReaderStore,
    ref: ObjectRef,
    expected: tuple[ObjectHints, WindowPredictor],
    tags: list[int] | None,
    policy: Policy,
) -> Found:
    try:
        return await _read_one(store, ref, expected, tags)
    except HarvestError as error:
        if policy == "raise":
            raise
        return without_frames(error)


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


def _by_policy(found: list[Found], errors: Policy) -> list[FileDataset] | list[Found]:
    if errors == "return":
        return found
    return [one for one in found if isinstance(one, FileDataset)]


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
