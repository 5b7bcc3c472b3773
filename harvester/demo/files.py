"""Ranges of the files behind a demo bucket, each opened anew so that nothing stays open between reads."""

import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Final

from harvester.demo.conditions import Decision
from harvester.demo.layout import DemoInstance

CHUNK: Final = 256 * 1024  # bytes in memory for each answer under way
_LAST_SECOND: Final = 253_402_300_799  # the end of year 9999: a file's time may lie anywhere
# A pipe in a file's place must not block, nor a link lead elsewhere.
_FLAGS: Final = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


@dataclass(frozen=True, slots=True)
class FirstChunk:
    """A file as it is now, what a request gets of it, and the first bytes of that."""

    size: int
    etag: str
    modified: int
    decision: Decision
    data: bytes


def read_first_chunk(
    stored: DemoInstance, decide: Callable[[int, str], Decision], *, body: bool
) -> FirstChunk:
    """Look at a file, decide what of it is wanted, and read the first `CHUNK` bytes of that.

    Raises:
        OSError: The file is gone, is no regular file any more, lies elsewhere, or can't be read.
    """
    descriptor = _open(stored.path)
    try:
        status = os.fstat(descriptor)
        etag = entity_tag(stored.key, status.st_size, status.st_mtime_ns)
        decision = decide(status.st_size, etag)
        wanted = min(CHUNK, decision.stop - decision.start) if body else 0
        data = _read_exactly(descriptor, wanted, decision.start)
        return FirstChunk(status.st_size, etag, status.st_mtime_ns, decision, data)
    finally:
        os.close(descriptor)


def read_chunk(stored: DemoInstance, start: int, stop: int, etag: str) -> bytes:
    """Read the bytes from `start` up to `stop`, or to `CHUNK` bytes.

    Raises:
        OSError: As for the first chunk; or the file is another one than that with this ETag.
    """
    descriptor = _open(stored.path)
    try:
        status = os.fstat(descriptor)
        if entity_tag(stored.key, status.st_size, status.st_mtime_ns) != etag:
            raise OSError(f"{stored.path}: changed while it was sent")
        return _read_exactly(descriptor, min(CHUNK, stop - start), start)
    finally:
        os.close(descriptor)


def _open(path: str) -> int:
    # Folders are no links when the layout is made; one put in a folder's place later leads nowhere.
    if os.path.realpath(path) != path:
        raise FileNotFoundError(f"{path}: leads elsewhere")
    descriptor = os.open(path, _FLAGS)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileNotFoundError(f"{path}: not a regular file")
    return descriptor


def _read_exactly(descriptor: int, wanted: int, start: int) -> bytes:
    data = os.pread(descriptor, wanted, start) if wanted else b""
    if len(data) != wanted:
        raise OSError("shrank while it was read")
    return data


def entity_tag(key: str, size: int, modified: int) -> str:
    """An ETag, unquoted, that changes with a file's size or time.

    It has the form of an S3 multipart upload's, since it is no MD5 of the content and nobody should check it.
    """
    text = f"{key}\0{size}\0{modified}"
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() + "-1"


def iso_time(modified: int) -> str:
    """A file's time in ns since 1970, as listings write it."""
    moment = datetime.fromtimestamp(_seconds(modified), UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def http_time(modified: int) -> str:
    """A file's time in ns since 1970, as header fields write it."""
    return formatdate(_seconds(modified), usegmt=True)


def _seconds(modified: int) -> int:
    return min(max(0, modified // 1_000_000_000), _LAST_SECOND)
