"""An opened object as a binary file, for blocking and for asynchronous callers."""

import io
import operator
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Final, Self

from harvester.config.operating_system import after_fork_in_child
from harvester.dicom import Header
from harvester.errors import ConfigError, ObjectChangedError
from harvester.model import ObjectRef
from harvester.reader.access import Access
from harvester.reader.dataset_hints import ObjectHints, header_window
from harvester.reader.event_loop import LOOP
from harvester.reader.table_choice import OffsetTable
from harvester.reader.view import ObjectView, open_view
from harvester.store.cost import RequestCost


def _position(offset: int, whence: int, current: int, size: int) -> int:
    """The position that `seek` sets."""
    offset = operator.index(offset)  # NumPy's integers would overflow in sums
    base = {io.SEEK_SET: 0, io.SEEK_CUR: current, io.SEEK_END: size}.get(whence)
    if base is None:
        raise ValueError(f"whence is 0, 1 or 2, not {whence}")
    if base + offset < 0:
        raise ValueError(f"the position {base + offset} is negative")
    return base + offset


class _OpenedObject:
    """Properties of the object, common to both kinds of file.

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
        """Size in bytes, with the inserted offset table."""
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
        access: How the object is reached.
        offset_table: Which offset table was wanted.
    """

    def __init__(
        self,
        view: ObjectView,
        access: Access,
        offset_table: OffsetTable,
        call: Callable[..., bytes] = LOOP.call,
    ) -> None:
        super().__init__()
        self.view = view
        self.access = access
        self.offset_table = offset_table
        self._call = call
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
            self._position = _position(offset, whence, self._position, self.size)
            return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        """The next `size` bytes, or all that are left.

        Raises:
            ObjectChangedError: The object was replaced since it was opened.
            StoreError: It cannot be read any more.
        """
        self._check_open()
        size = -1 if size is None else operator.index(size)
        with self._lock:
            start = self._position
            stop = self.size if size < 0 else min(start + size, self.size)
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
        start, length = operator.index(start), operator.index(length)
        if start < 0:
            raise ValueError(f"the position {start} is negative")
        stop = min(start + length, self.size)
        if start >= stop:
            return b""
        cached = self.view.cached(start, stop)
        if cached is not None:
            return cached
        if self._generation != LOOP.generation:
            self._move()
        return self._call(self.view.read, start, stop)

    def read1(self, size: int = -1, /) -> bytes:
        """The same as `read`."""
        return self.read(size)

    def peek(self, size: int = 0, /) -> bytes:
        """The next bytes, at least one before the end; the position stays."""
        size = operator.index(size)
        return self.read_at(self.tell(), size if size > 0 else io.DEFAULT_BUFFER_SIZE)

    def readinto(self, buffer: Any, /) -> int:
        """Read the next bytes into a contiguous buffer of any type; returns their number."""
        whole = memoryview(buffer)
        if whole.readonly:
            raise TypeError("the buffer is read-only")
        if not whole.nbytes:
            return 0
        with whole.cast("B") as target:
            data = self.read(len(target))
            target[: len(data)] = data
        return len(data)

    def readinto1(self, buffer: Any, /) -> int:
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
                LOOP.call(self.view.move_to, self.access.shared_store())
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


after_fork_in_child(_unlock_all)


@dataclass(frozen=True, slots=True)
class _PickledFile:
    """An opened file as it is pickled: what the object was, without its bytes.

    Attributes:
        ref: The object's address.
        access: How it is reached.
        offset_table: Which offset table was wanted.
        size: The object's size in bytes.
        hints: Its ETag, the length of its header and its frame index, so that nothing is searched again.
        position: The position of the next read.
    """

    ref: ObjectRef
    access: Access
    offset_table: OffsetTable
    size: int
    hints: ObjectHints = field(repr=False)
    position: int

    @classmethod
    def of(cls, file: ObjectFile) -> "_PickledFile":
        if file.access.store is not None:
            raise ConfigError(
                f"{file.name}: opened with its own store, it cannot be pickled; open it in the other process"
            )
        source, header = file.view.source, file.header
        hints = ObjectHints(source.etag, None if header is None else header_window(header), file.view.index)
        access = replace(file.access, progress=None)  # it may belong to this process
        return cls(source.ref, access, file.offset_table, source.size, hints, file.tell())


def _reopen(pickled: _PickledFile) -> ObjectFile:
    """Open a pickled file.

    Raises:
        ObjectChangedError: The object was replaced since.
        StoreError: It cannot be read.
    """
    access, offset_table = pickled.access, pickled.offset_table
    view = LOOP.call(open_view, access.shared_store(), pickled.ref, pickled.hints, offset_table)
    file = ObjectFile(view, access, offset_table)
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

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position of the next read.

        Raises:
            ValueError: The position is negative.
        """
        self._position = _position(offset, whence, self._position, self.size)
        return self._position

    async def read(self, size: int | None = -1) -> bytes:
        """The next `size` bytes, or all that are left.

        Raises:
            StoreError: The object cannot be read, or was replaced since it was opened.
        """
        start, size = self._position, -1 if size is None else operator.index(size)
        stop = self.size if size < 0 else start + size
        data = await self.view.read(start, stop)
        self._position = start + len(data)
        return data

    async def read_at(self, start: int, length: int) -> bytes:
        """Bytes at any offset; the position stays."""
        start = operator.index(start)
        if start < 0:
            raise ValueError(f"the position {start} is negative")
        return await self.view.read(start, start + operator.index(length))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing has to be closed."""
