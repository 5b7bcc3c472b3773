"""A bounded folder of byte ranges and frame indexes that several processes can share."""

import contextlib
import hashlib
import logging
import os
import re
import struct
import tempfile
import time
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, get_args

from harvester.dicom.frames import FrameIndex, FrameSource
from harvester.errors import ConfigError
from harvester.model import ByteRange

_logger = logging.getLogger("harvester")

_ROOT: Final = "harvester-ranges-1"  # everything below it is harvester's; the number is the format's
_INDEX: Final = "index"
_ABANDONED: Final = 3600  # seconds without a write, of a file that was never renamed
_RANGE_NAME: Final = re.compile(r"(\d{1,19})-(\d{1,19})-(\d{1,19})")
_SOURCES: Final[tuple[FrameSource, ...]] = get_args(FrameSource)
_FRAGMENTED: Final = (None, False, True)


@dataclass(frozen=True, slots=True)
class CachedRange:
    """A range found in the cache, and the size of its object in bytes."""

    data: bytes
    size: int


class DiskCache:
    """Bytes and frame indexes of objects on a local disk, by URL and ETag.

    An object is always asked for its ETag once when it is opened, so a replaced object is never read from the
    cache. Files are written under another name and renamed; if the folder cannot be used, reading continues
    without it.

    Args:
        folder: Where the files are; it is created.
        most_bytes: Size limit. Above it, the least recently used files are deleted; several processes may
            pass it by a sixteenth each.

    Raises:
        ConfigError: The folder cannot be created, or the limit is not positive.
    """

    def __init__(self, folder: str | os.PathLike[str], most_bytes: int = 10_000_000_000) -> None:
        self.folder = Path(folder)
        self.most_bytes = most_bytes
        self._root = self.folder / _ROOT
        self._unchecked = most_bytes  # bytes written since the size was last checked
        if most_bytes < 1:
            raise ConfigError(f"the limit of a cache is {most_bytes} bytes; it must be positive")
        try:
            self._root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{folder}: the cache folder cannot be created: {error.strerror}") from error

    def __reduce__(self) -> tuple[type["DiskCache"], tuple[Path, int]]:
        return DiskCache, (self.folder, self.most_bytes)

    def read_range(self, url: str, etag: str, wanted: ByteRange) -> CachedRange | None:
        """The bytes of a range, if one cached range holds all of it."""
        with contextlib.suppress(OSError), os.scandir(self._object(url, etag)) as entries:
            for entry in entries:
                start, stop, size = _span(entry.name)
                if start <= wanted.start < stop and min(wanted.stop, size) <= stop:
                    data = Path(entry.path).read_bytes()
                    if len(data) == stop - start:
                        os.utime(entry.path)  # used last
                        return CachedRange(data[wanted.start - start : wanted.stop - start], size)
        return None

    def write_range(self, url: str, etag: str, found: CachedRange, start: int) -> None:
        """Store the bytes of an object that begin at an offset."""
        if found.data and len(found.data) <= self.most_bytes // 4:
            self._write(url, etag, f"{start}-{start + len(found.data)}-{found.size}", found.data)

    def read_index(self, url: str, etag: str) -> FrameIndex | None:
        """The frame index of an object, if it is cached."""
        with contextlib.suppress(OSError, ValueError, IndexError, struct.error):
            raw = (self._object(url, etag) / _INDEX).read_bytes()
            source, fragmented, count = struct.unpack_from("<BBQ", raw)
            offsets, lengths = array("Q", raw[10 : 10 + 8 * count]), array("Q", raw[10 + 8 * count :])
            if len(offsets) == len(lengths) == count:
                return FrameIndex(_SOURCES[source], offsets, lengths, _FRAGMENTED[fragmented])
        return None

    def write_index(self, url: str, etag: str, index: FrameIndex) -> None:
        """Store the frame index of an object."""
        head = struct.pack(
            "<BBQ", _SOURCES.index(index.source), _FRAGMENTED.index(index.fragmented), len(index)
        )
        places = array("Q", index.offsets).tobytes() + array("Q", index.lengths).tobytes()
        self._write(url, etag, _INDEX, head + places)

    def _object(self, url: str, etag: str) -> Path:
        digest = hashlib.sha256(f"{url}\n{etag}".encode("utf-8", "surrogatepass")).hexdigest()
        return self._root / digest[:2] / digest[2:]

    def _write(self, url: str, etag: str, name: str, data: bytes) -> None:
        try:
            folder = self._object(url, etag)
            folder.mkdir(parents=True, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(dir=self._root, prefix="new-")
            try:
                with open(descriptor, "wb") as stream:  # noqa: PTH123  a descriptor
                    stream.write(data)
                Path(temporary).replace(folder / name)
            except OSError:
                Path(temporary).unlink(missing_ok=True)
                raise
            self._unchecked += len(data)
            if self._unchecked > self.most_bytes // 16:
                self._trim()
                self._unchecked = 0
        except OSError as error:  # a full disk, or another process deleted the folder
            _logger.warning("%s: not cached: %s", self.folder, error.strerror or error)

    def _trim(self) -> None:
        """Delete the least recently used files above the limit, and what processes that died left behind."""
        for left in self._root.glob("new-*"):
            with contextlib.suppress(OSError):  # another process renamed it
                if time.time() - left.stat().st_mtime > _ABANDONED:
                    left.unlink()
        files = sorted(self._files())
        total = sum(size for _, size, _ in files)
        for _, size, path in files:
            if total <= self.most_bytes:
                break
            path.unlink(missing_ok=True)
            total -= size
            with contextlib.suppress(OSError):  # other files are left in it
                path.parent.rmdir()

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        for path in self._root.glob("*/*/*"):
            with contextlib.suppress(OSError):  # another process deleted it
                status = path.stat()
                yield status.st_mtime, status.st_size, path


def _span(name: str) -> tuple[int, int, int]:
    """Start, stop and object size in the name of a range's file; an empty range for other files."""
    found = _RANGE_NAME.fullmatch(name)
    return (int(found[1]), int(found[2]), int(found[3])) if found else (0, 0, 0)
