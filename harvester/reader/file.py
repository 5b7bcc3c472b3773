"""An opened object as a binary file: for callers that are not asynchronous, and for those that are."""

import io
import os
import threading
import weakref
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from harvester.dicom import Header
from harvester.errors import UserError
from harvester.reader.event_loop import LoopThread
from harvester.reader.view import ObjectView
from harvester.store.base import Store
from harvester.store.cost import RequestCost


@dataclass(frozen=True, slots=True)
class Origin:
    """How a file was opened.

    Attributes:
        endpoint: What replaces the cloud's address.
        store: What takes the place of the shared store.
    """

    endpoint: str | None = None
    store: Store | None = None


class ObjectFile(io.BufferedIOBase):
    """A read-only, seekable binary file; any thread may use it, and several at once.

    Made by `open_object`. What is in memory is given without a word to anybody else. In a forked process it
    goes on with connections of its own; pickled, it is opened again where it arrives, as the same object
    with the same table, or not at all.

    Attributes:
        view: The object.
        origin: How it was opened.
    """

    def __init__(self, view: ObjectView, engine: LoopThread, origin: Origin | None = None) -> None:
        super().__init__()
        self.view = view
        self.origin = origin
        self._engine = engine
        self._generation = engine.generation
        self._position = 0
        self._lock = threading.Lock()
        _OPEN.add(self)

    @property
    def name(self) -> str:
        """The object's address."""
        return self.view.source.ref.url

    @property
    def mode(self) -> str:
        """As of a file that was opened for reading."""
        return "rb"

    @property
    def size(self) -> int:
        """In bytes."""
        return self.view.size

    @property
    def etag(self) -> str | None:
        """What the object is pinned to: once it is another, reading fails."""
        return self.view.source.etag

    @property
    def header(self) -> Header | None:
        """The object's DICOM header, with its offsets as the object lies; None where it has none."""
        return self.view.source.header

    @property
    def cost(self) -> RequestCost:
        """What reading took so far."""
        return self.view.source.cost

    def readable(self) -> bool:
        """Whether it can be read."""
        return not self.closed

    def seekable(self) -> bool:
        """Whether any place of it can be read."""
        return not self.closed

    def tell(self) -> int:
        """DatasetLike the next read starts."""
        self._check_open()
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Say where the next read starts.

        Raises:
            ValueError: In front of the first byte, or closed.
        """
        self._check_open()
        with self._lock:
            base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}.get(whence)
            if base is None:
                raise ValueError(f"whence is 0, 1 or 2, not {whence}")
            if base + offset < 0:
                raise ValueError(f"there is no byte {base + offset}")
            self._position = base + offset
            return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        """The next bytes: as many as are asked for, or as there are.

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
        """Bytes at any place, whatever the position is, which stays.

        Raises:
            StoreError: It cannot be read any more.
        """
        self._check_open()
        stop = min(start + length, self.size)
        if start >= stop:
            return b""
        held = self.view.cached(start, stop)
        if held is not None:
            return held
        if self._generation != self._engine.generation:
            self._move()
        return self._engine.call(self.view.read, start, stop)

    def read1(self, size: int = -1, /) -> bytes:
        """The next bytes, as `read`."""
        return self.read(size)

    def readinto(self, buffer: "bytearray | memoryview", /) -> int:  # type: ignore[override]
        """Read the next bytes into a buffer, and say how many they were."""
        with memoryview(buffer).cast("B") as target:
            data = self.read(len(target))
            target[: len(data)] = data
        return len(data)

    def readinto1(self, buffer: "bytearray | memoryview", /) -> int:  # type: ignore[override]
        """As `readinto`."""
        return self.readinto(buffer)

    def close(self) -> None:
        """Let go of what is held in memory; connections are shared, and stay."""
        if not self.closed:
            self.view.source.let_go()
        super().close()

    def __reduce__(self) -> tuple[Any, ...]:
        """What pickling keeps.

        Raises:
            ConfigError: The file was opened with a store of its own, which no other process has.
        """
        from harvester.reader.pickling import reopened, ticket_of  # noqa: PLC0415  it imports this module

        self._check_open()
        return reopened, (ticket_of(self),)

    def __repr__(self) -> str:
        return f"<ObjectFile {self.name}>"

    def _move(self) -> None:
        """Go on with the engine that is there now: in a child process, or after the last one was closed."""
        with self._lock:
            generation = self._engine.generation
            if self._generation != generation:
                origin = self.origin or Origin()
                store = self._engine.store(origin.endpoint) if origin.store is None else origin.store
                self._engine.call(self.view.move_to, store)
                self._generation = generation

    def _unlock(self) -> None:
        """As if no thread were reading: in a child process, which has the parent's locks, not its threads."""
        self._lock = threading.Lock()
        self.view.source.unlock()

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError(f"{self.name} is closed")


# A lock that is held while the process forks is never released in the child.
_OPEN: Final = weakref.WeakSet[ObjectFile]()


def _unlock_all() -> None:
    for file in list(_OPEN):
        file._unlock()  # noqa: SLF001  its own


os.register_at_fork(after_in_child=_unlock_all)


class AsyncObjectFile:
    """A read-only, seekable binary file for asynchronous callers; made by `aopen_object`.

    Attributes:
        view: The object.
    """

    def __init__(self, view: ObjectView) -> None:
        self.view = view
        self._position = 0

    @property
    def size(self) -> int:
        """In bytes."""
        return self.view.size

    @property
    def etag(self) -> str | None:
        """What the object is pinned to."""
        return self.view.source.etag

    @property
    def header(self) -> Header | None:
        """The object's DICOM header; None where it has none."""
        return self.view.source.header

    @property
    def cost(self) -> RequestCost:
        """What reading took so far."""
        return self.view.source.cost

    def tell(self) -> int:
        """DatasetLike the next read starts."""
        return self._position

    def seek(self, position: int) -> None:
        """Say where the next read starts, from the first byte."""
        if position < 0:
            raise UserError(f"there is no byte {position}")
        self._position = position

    async def read(self, size: int = -1) -> bytes:
        """The next bytes: as many as are asked for, or as there are.

        Raises:
            StoreError: The object cannot be read, or was replaced since it was opened.
        """
        start = self._position
        stop = self.size if size < 0 else start + size
        data = await self.view.read(start, stop)
        self._position = start + len(data)
        return data

    async def read_at(self, start: int, length: int) -> bytes:
        """Bytes at any place, whatever the position is, which stays."""
        return await self.view.read(start, start + length)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is held open."""
