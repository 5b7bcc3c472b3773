"""An opened object as a binary file: for callers that are not asynchronous, and for those that are."""

import io
import threading
from types import TracebackType
from typing import Self

from harvester.dicom import Header
from harvester.errors import UserError
from harvester.fetch import Cost
from harvester.reader.engine import Engine
from harvester.reader.view import ObjectView


class ObjectFile(io.BufferedIOBase):
    """A read-only, seekable binary file; any thread may use it, and several at once.

    Made by `open_object`. What is in memory is given without a word to anybody else.

    Attributes:
        view: The object.
    """

    def __init__(self, view: ObjectView, engine: Engine) -> None:
        super().__init__()
        self.view = view
        self._engine = engine
        self._position = 0
        self._lock = threading.Lock()

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
    def cost(self) -> Cost:
        """What reading took so far."""
        return self.view.source.cost

    def readable(self) -> bool:
        """Whether it can be read."""
        return not self.closed

    def seekable(self) -> bool:
        """Whether any place of it can be read."""
        return not self.closed

    def tell(self) -> int:
        """Where the next read starts."""
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
        return self._engine.call(self.view.read, start, stop) if held is None else held

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

    def __repr__(self) -> str:
        return f"<ObjectFile {self.name}>"

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError(f"{self.name} is closed")


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
    def cost(self) -> Cost:
        """What reading took so far."""
        return self.view.source.cost

    def tell(self) -> int:
        """Where the next read starts."""
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
