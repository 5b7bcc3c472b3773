"""Reads frames of an object by number: as lists, or one after another."""

from collections.abc import AsyncIterator, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, Unpack, overload

from anyio import to_thread

from harvester.errors import ConfigError
from harvester.reader.access import Access, AccessOptions, Address, object_ref
from harvester.reader.dataset_hints import DatasetLike, look_up_hints
from harvester.reader.event_loop import LOOP
from harvester.reader.opened_frames import OpenedFrames, open_frames

if TYPE_CHECKING:
    import numpy as np

Frame: TypeAlias = "np.ndarray | bytes"
_BATCH: Final = 64  # frames read together by an iterator, and as many ahead
_END: Final = object()


@overload
def read_frames(
    url: Address,
    frame_numbers: Iterable[int],
    decode: Literal[True] = True,  # noqa: FBT002
    *,
    dataset: DatasetLike = None,
    **options: Unpack[AccessOptions],
) -> "list[np.ndarray]": ...


@overload
def read_frames(
    url: Address,
    frame_numbers: Iterable[int],
    decode: Literal[False],
    *,
    dataset: DatasetLike = None,
    **options: Unpack[AccessOptions],
) -> list[bytes]: ...


def read_frames(
    url: Address,
    frame_numbers: Iterable[int],
    decode: bool = True,  # noqa: FBT001, FBT002
    *,
    dataset: DatasetLike = None,
    **options: Unpack[AccessOptions],
) -> "list[np.ndarray] | list[bytes]":
    """Read frames of an object by their numbers, from 1.

    Args:
        url: `s3://`, `gs://`, `https://`, `http://`, `file://`, `harvester://`, or a path.
        frame_numbers: Any order; the frames are returned in the same order.
        decode: Return pixels, as from `pydicom.pixels.pixel_array`, by the installed decoders. If False,
            return the stored bytes: the compressed image of an encapsulated frame; the bytes of a native
            one, shifted to start at a byte; the whole stream of a video, as frame 1.
        dataset: A dataset that may hold the frame index.
        options: `endpoint`, `store`, `cache` and `progress`, as in `AccessOptions`.

    Raises:
        FrameIndexError: There is no such frame, or no source gives the frames' positions.
        FrameDecodeError: One of them cannot be decoded, with the reason.
        ObjectError: The object is not DICOM.
        StoreError: The object cannot be read; also an OSError such as FileNotFoundError.
        ConfigError: An argument is not valid.
    """
    numbers = _numbers(frame_numbers)
    opened = _opened(url, dataset, Access(**options))
    return LOOP.call(opened.decoded, numbers) if decode else LOOP.call(opened.raw, numbers)


async def aread_frames(
    url: Address,
    frame_numbers: Iterable[int],
    decode: bool = True,  # noqa: FBT001, FBT002
    *,
    dataset: DatasetLike = None,
    **options: Unpack[AccessOptions],
) -> list[Any]:
    """Read frames as `read_frames` does, for asynchronous callers.

    Without a `store` each call has a connection pool of its own.

    Raises:
        HarvesterError: As `read_frames`.
    """
    access, ref, numbers = Access(**options), object_ref(url), _numbers(frame_numbers)
    (hints,) = await to_thread.run_sync(look_up_hints, dataset, [ref])
    async with access.own_store() as store:
        opened = await open_frames(store, ref, hints)
        return await (opened.decoded(numbers) if decode else opened.raw(numbers))


def iter_frames(
    url: Address,
    frame_numbers: Iterable[int] | None = None,
    decode: bool = True,  # noqa: FBT001, FBT002
    *,
    dataset: DatasetLike = None,
    **options: Unpack[AccessOptions],
) -> Iterator[Any]:
    """Read frames one after another, in the order of their numbers; the next ones are fetched meanwhile.

    For objects with more frames than fit into memory: at most 128 frames are held.

    Args:
        url: As in `read_frames`.
        frame_numbers: As in `read_frames`, or an endless iterator; all frames by default.
        decode: As in `read_frames`.
        dataset: As in `read_frames`.
        options: As in `read_frames`.

    Raises:
        HarvesterError: As `read_frames`.
    """
    if frame_numbers is not None:
        _check_numbers(frame_numbers)
    opened = _opened(url, dataset, Access(**options))
    numbers = iter(range(1, len(opened.index) + 1) if frame_numbers is None else frame_numbers)
    portal, read = LOOP.portal(), opened.decoded if decode else opened.raw
    ahead = portal.start_task_soon(read, list(islice(numbers, _BATCH)))
    try:
        while frames := ahead.result():
            ahead = portal.start_task_soon(read, list(islice(numbers, _BATCH)))
            yield from frames
    finally:
        ahead.cancel()


async def aiter_frames(
    url: Address,
    frame_numbers: Iterable[int] | None = None,
    decode: bool = True,  # noqa: FBT001, FBT002
    *,
    dataset: DatasetLike = None,
    **options: Unpack[AccessOptions],
) -> AsyncIterator[Any]:
    """Read frames one after another as `iter_frames` does, for asynchronous callers.

    Requests run in the reader's own thread; a `store` must not belong to the caller's event loop.

    Raises:
        HarvesterError: As `read_frames`.
    """
    async for frame in in_thread(iter_frames(url, frame_numbers, decode, dataset=dataset, **options)):
        yield frame


async def in_thread(values: Iterator[Any]) -> AsyncIterator[Any]:
    """The values of a blocking iterator, each awaited in a worker thread."""
    while (value := await to_thread.run_sync(next, values, _END)) is not _END:
        yield value


def _opened(url: Address, dataset: DatasetLike, access: Access) -> OpenedFrames:
    ref = object_ref(url)
    (hints,) = look_up_hints(dataset, [ref])
    return LOOP.call(open_frames, access.shared_store(), ref, hints)


def _numbers(frame_numbers: Iterable[int]) -> list[int]:
    _check_numbers(frame_numbers)
    return list(frame_numbers)


def _check_numbers(frame_numbers: object) -> None:
    if isinstance(frame_numbers, str | bytes) or not isinstance(frame_numbers, Iterable):
        raise ConfigError(f"frame_numbers={frame_numbers!r}: it is a list of numbers, such as [1, 2]")
