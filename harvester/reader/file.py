"""An opened object as a binary file, for blocking and for asynchronous callers."""

import io
import os
import threading
import weakref
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

from harvester.dicom import Header
from harvester.dicom.frames import FrameIndex
from harvester.errors import ConfigError, ObjectChangedError, UserError
from harvester.model import ObjectRef
from harvester.reader.dataset_hints import ObjectHints, header_window
from harvester.reader.event_loop import LOOP
from harvester.reader.table_choice import OffsetTable
from harvester.reader.view import ObjectView, open_view
from harvester.store.base import Store
from harvester.store.cost import RequestCost


@dataclass(frozen=True, slots=True)
class OpenOptions:
    """How a file was opened.

    Attributes:
        endpoint: Replaces the cloud's address.
        offset_table: Which offset table is put in.
        store: Replaces the shared store.
    """

    endpoint: str | None = None
    offset_table: OffsetTable = "auto"
    store: Store | None = None


class _OpenedObject:
    """What the files of both kinds tell of their object.

    Attributes:
        view: The object's bytes.
    """

    view: ObjectView

    @property
    def name(self) -> str:
        """The object's URL."""
        return self.view.source.ref.url

    @property
    def mode(self) -> str:
        """`rb`, as of a file opened for reading."""
        return "rb"

    @property
    def size(self) -> int:
        """Size in bytes, with the offset table that was put in."""
        return self.view.size

    @property
    def etag(self) -> str | None:
        """The ETag that reads are pinned to: if the object is replaced, the next read fails."""
        return self.view.source.etag

    @property
    def header(self) -> Header | None:
        """The object's DICOM header, with offsets in the original object; None if it has none."""
        return self.view.source.header

    @property
    def cost(self) -> RequestCost:
        """Requests and bytes so far."""
        return self.view.source.cost


class ObjectFile(_OpenedObject, io.BufferedIOBase):
    """A read-only, seekable binary file, made by `open_object`. Several threads may use it at once.

    Bytes in memory are returned without a request. In a forked process it continues with connections of its
    own. Unpickled in another process, it opens the same object with the same table, or fails.

    Attributes:
        view: The object's bytes.
        options: How it was opened.
    """

    def __init__(self, view: ObjectView, options: OpenOptions) -> None:
        super().__init__()
        self.view = view
        self.options = options
        self._generation = LOOP.generation
        self._position = 0
        self._lock = threading.Lock()
        _OPEN.add(self)

    def readable(self) -> bool:
        """Whether the file is open."""
        return not self.closed

    def seekable(self) -> bool:
        """Whether the file is open."""
        return not self.closed

    def tell(self) -> int:
        """The position of the next read."""
        self._check_open()
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position of the next read.

        Raises:
            ValueError: The position is negative, or the file is closed.
        """
        self._check_open()
        with self._lock:
            base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}.get(whence)
            if base is None:
                raise ValueError(f"whence is 0, 1 or 2, not {whence}")
            if base + offset < 0:
                raise ValueError(f"the position {base + offset} is negative")
            self._position = base + offset
            return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        """The next `size` bytes, or all that are left.

        Raises:
            ObjectChangedError: The object was replaced since it was opened.
            StoreError: It cannot be read any more.
        """
        self._check_open()
        with self._lock:
            start = self._position
            stop = self.size if size is None or size < 0 else min(start + size, self.size)
            self._position = max(start, stop)
        try:
            return self.read_at(start, max(0, stop - start))
        except BaseException:
            self._position = start
            raise

    def read_at(self, start: int, length: int) -> bytes:
        """Bytes at any offset; the position stays.

        Raises:
            StoreError: The object cannot be read any more.
        """
        self._check_open()
        stop = min(start + length, self.size)
        if start >= stop:
            return b""
        cached = self.view.cached(start, stop)
        if cached is not None:
            return cached
        if self._generation != LOOP.generation:
            self._move()
        return LOOP.call(self.view.read, start, stop)

    def read1(self, size: int = -1, /) -> bytes:
        """The same as `read`."""
        return self.read(size)

    def readinto(self, buffer: "bytearray | memoryview", /) -> int:  # type: ignore[override]
        """Read the next bytes into a buffer; returns their number."""
        with memoryview(buffer).cast("B") as target:
            data = self.read(len(target))
            target[: len(data)] = data
        return len(data)

    def readinto1(self, buffer: "bytearray | memoryview", /) -> int:  # type: ignore[override]
        """The same as `readinto`."""
        return self.readinto(buffer)

    def close(self) -> None:
        """Free the memory; connections are shared and stay open."""
        if not self.closed:
            self.view.source.drop_cache()
        super().close()

    def __reduce__(self) -> tuple[Any, ...]:
        """How pickle opens the file again.

        Raises:
            ConfigError: The file was opened with its own store, which no other process has.
        """
        self._check_open()
        return _reopen, (_PickledFile.of(self),)

    def __repr__(self) -> str:
        return f"<ObjectFile {self.name}>"

    def _move(self) -> None:
        """Continue with the current loop: in a forked process, or after the loop was closed."""
        with self._lock:
            generation = LOOP.generation
            if self._generation != generation:
                store = self.options.store or LOOP.store(self.options.endpoint)
                LOOP.call(self.view.move_to, store)
                self._generation = generation

    def _unlock_after_fork(self) -> None:
        """Replace the locks that a thread of the parent process may have held."""
        self._lock = threading.Lock()
        self.view.source.unlock_after_fork()

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError(f"{self.name} is closed")


# A lock that is held during a fork is never released in the child.
_OPEN: Final = weakref.WeakSet[ObjectFile]()


def _unlock_all() -> None:
    for file in list(_OPEN):
        file._unlock_after_fork()  # noqa: SLF001


os.register_at_fork(after_in_child=_unlock_all)


@dataclass(frozen=True, slots=True)
class _PickledFile:
    """An opened file as it is pickled: what the object was, without its bytes.

    Attributes:
        ref: The object's address.
        options: How it was opened.
        size: The object's size in bytes.
        hints: Its ETag, the length of its header and its frame index, so that nothing is searched again.
        position: The position of the next read.
    """

    ref: ObjectRef
    options: OpenOptions
    size: int
    hints: ObjectHints = field(repr=False)
    position: int

    @classmethod
    def of(cls, file: ObjectFile) -> "_PickledFile":
        if file.options.store is not None:
            raise ConfigError(
                f"{file.name}: opened with its own store, it cannot be pickled; open it in the other process"
            )
        source, header = file.view.source, file.header
        index: FrameIndex | None = file.view.index
        hints = ObjectHints(source.etag, None if header is None else header_window(header), index)
        return cls(source.ref, file.options, source.size, hints, file.tell())


def _reopen(pickled: _PickledFile) -> ObjectFile:
    """Open a pickled file.

    Raises:
        ObjectChangedError: The object was replaced since.
        StoreError: It cannot be read.
    """
    options = pickled.options
    store = LOOP.store(options.endpoint)
    file = ObjectFile(LOOP.call(open_view, store, pickled.ref, pickled.hints, options.offset_table), options)
    if (file.etag, file.view.source.size) != (pickled.hints.etag, pickled.size):
        raise ObjectChangedError("the object was replaced since the file was pickled", url=file.name)
    file.seek(pickled.position)
    return file


class AsyncObjectFile(_OpenedObject):
    """A read-only, seekable binary file for asynchronous callers, made by `aopen_object`.

    Attributes:
        view: The object's bytes.
    """

    def __init__(self, view: ObjectView) -> None:
        self.view = view
        self._position = 0

    def tell(self) -> int:
        """The position of the next read."""
        return self._position

    def seek(self, position: int) -> None:
        """Set the position of the next read, from the first byte."""
        if position < 0:
            raise UserError(f"the position {position} is negative")
        self._position = position

    async def read(self, size: int = -1) -> bytes:
        """The next `size` bytes, or all that are left.

        Raises:
            StoreError: The object cannot be read, or was replaced since it was opened.
        """
        start = self._position
        stop = self.size if size < 0 else start + size
        data = await self.view.read(start, stop)
        self._position = start + len(data)
        return data

    async def read_at(self, start: int, length: int) -> bytes:
        """Bytes at any offset; the position stays."""
        return await self.view.read(start, start + length)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing has to be closed."""
