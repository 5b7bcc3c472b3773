"""Local files as objects: ranges by positioned reads, listings by a sorted walk."""

import errno
import os
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio
from anyio import to_thread

from harvester.config.operating_system import open_flags, read_at
from harvester.errors import (
    AccessDeniedError,
    ListingError,
    NotFoundError,
    ObjectChangedError,
    RequestRejectedError,
    ServerFaultError,
    StoreError,
)
from harvester.model import ByteRange, ListedObject, ObjectRef, RangeResponse, file_etag

_THREADS = 8
_MISSING = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
_DENIED = frozenset({errno.EACCES, errno.EPERM})


class LocalStore:
    """A store over `file` refs, whose key is the path."""

    def __init__(self) -> None:
        self._threads = anyio.CapacityLimiter(_THREADS)

    async def get_range(self, ref: ObjectRef, wanted: ByteRange, *, etag: str | None = None) -> RangeResponse:
        """Read one range of a file. The ETag combines its modification time, size and inode.

        Raises:
            NotFoundError: There is no such file.
            AccessDeniedError: It may not be read.
            RequestRejectedError: It is a folder, a pipe or a device, or the path is invalid.
            ObjectChangedError: Its ETag is not `etag`, or it changed while it was read.
            ServerFaultError: The file system failed.
        """
        return await to_thread.run_sync(partial(_read_range, ref, wanted, etag), limiter=self._threads)

    async def list_objects(self, prefix: ObjectRef) -> AsyncIterator[ListedObject]:
        """All files under a folder (or the one file at the prefix), in the order of their paths.

        Unlike in a bucket, the prefix is a whole name: `/data/ct` does not list `/data/ct2`. Symbolic links
        are followed, each folder is visited once, and pipes and devices are skipped. A broken link is
        listed, so that reading it gives an error.

        Raises:
            ListingError: The folder is missing, or one below it cannot be read.
        """
        if prefix.scheme != "file":
            raise ListingError(f"{prefix.scheme}:// is not a local file", url=prefix.url)
        visited: set[tuple[int, int]] = set()
        waiting = [prefix.key]
        while waiting:
            path = waiting.pop()
            found = await to_thread.run_sync(partial(_look_at, path, visited), limiter=self._threads)
            if found.listed is not None:
                yield found.listed
            waiting.extend(reversed(found.below))


@dataclass(frozen=True, slots=True)
class _Found:
    """A file to list, or a folder's entries in the order they are visited."""

    listed: ListedObject | None = None
    below: tuple[str, ...] = ()


def _read_range(ref: ObjectRef, wanted: ByteRange, etag: str | None) -> RangeResponse:
    if ref.scheme != "file":
        raise RequestRejectedError(f"{ref.scheme}:// is not a local file", url=ref.url)
    try:
        # Without O_NONBLOCK, opening a pipe waits for its other end.
        descriptor = os.open(ref.key, open_flags("O_RDONLY", "O_NONBLOCK"))
        try:
            return _read_open(descriptor, ref, wanted, etag)
        finally:
            os.close(descriptor)
    except StoreError:
        raise
    except OSError as error:
        raise _error_of(error, ref) from error
    except ValueError as error:  # a null byte, or a lone surrogate
        raise RequestRejectedError(f"{ref.key!r} is not a path") from error


def _read_open(descriptor: int, ref: ObjectRef, wanted: ByteRange, etag: str | None) -> RangeResponse:
    before = os.fstat(descriptor)
    if not stat.S_ISREG(before.st_mode):
        raise RequestRejectedError("not a regular file", url=ref.url)
    if etag is not None and etag != file_etag(before):
        raise ObjectChangedError("the file was replaced", url=ref.url, offset=wanted.start)
    parts: list[bytes] = []
    position, stop = wanted.start, min(wanted.stop, before.st_size)
    while position < stop and (part := read_at(descriptor, stop - position, position)):
        parts.append(part)
        position += len(part)
    if file_etag(os.fstat(descriptor)) != file_etag(before):
        raise ObjectChangedError("the file changed while it was read", url=ref.url, offset=wanted.start)
    if position < stop:
        raise ServerFaultError("the file is shorter than its size", url=ref.url, offset=position)
    return RangeResponse(data=b"".join(parts), size=before.st_size, etag=file_etag(before))


def _look_at(path: str, visited: set[tuple[int, int]]) -> _Found:
    ref = ObjectRef(bucket="", key=path, scheme="file")
    try:
        status = Path(path).stat()
        if stat.S_ISDIR(status.st_mode):
            identity = (status.st_dev, status.st_ino)
            if identity in visited:
                return _Found()
            visited.add(identity)
            return _Found(below=_entries(path))
    except OSError as error:
        if error.errno in _MISSING and Path(path).is_symlink():
            return _Found(listed=ListedObject(ref=ref, size=0))
        raise ListingError(f"the folder cannot be listed: {error.strerror}", url=ref.url) from error
    except ValueError as error:
        raise ListingError(f"{path!r} is not a path") from error
    if not stat.S_ISREG(status.st_mode):
        return _Found()
    return _Found(listed=ListedObject(ref=ref, size=status.st_size, etag=file_etag(status)))


def _entries(folder: str) -> tuple[str, ...]:
    with os.scandir(folder) as entries:
        # A folder sorts with its slash, so that whole paths are in order, like the keys of a bucket.
        names = sorted((os.fsencode(entry.name) + b"/" * _is_folder(entry), entry.name) for entry in entries)
    return tuple(str(Path(folder) / name) for _, name in names)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a circular link
        return False


def _error_of(error: OSError, ref: ObjectRef) -> StoreError:
    cause = error.strerror or type(error).__name__
    if error.errno in _MISSING:
        return NotFoundError(
            "no such file" if error.errno == errno.ENOENT else f"no such file: {cause}", url=ref.url
        )
    if error.errno in _DENIED:
        return AccessDeniedError(f"no permission to read the file: {cause}", url=ref.url)
    return ServerFaultError(f"the file cannot be read: {cause}", url=ref.url)
