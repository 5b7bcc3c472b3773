"""Reads an object for a scan of its frames: while one stretch is searched, the next one is under way."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import anyio
from anyio.abc import TaskGroup

from harvester.dicom.frames import Wanted
from harvester.errors import ungrouped
from harvester.fetch.frame_index import Read
from harvester.model import ByteRange
from harvester.reader.source import ObjectSource

_LONG: Final = 256 << 10  # bytes: a scan that asks for as much goes through the object
_LEAST: Final = 64  # bytes that are enough to go on with: an item's header and an image's first bytes


@asynccontextmanager
async def reading_ahead(source: ObjectSource) -> AsyncIterator[Read]:
    """What reads the object while the block runs."""
    with ungrouped():
        async with anyio.create_task_group() as tasks:
            yield _Ahead(source, tasks).read
            tasks.cancel_scope.cancel()


@dataclass(slots=True)
class _Stretch:
    """Bytes on their way."""

    wanted: ByteRange
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    came: anyio.Event = field(default_factory=anyio.Event)
    data: bytes = b""


class _Ahead:
    def __init__(self, source: ObjectSource, tasks: TaskGroup) -> None:
        self._source = source
        self._tasks = tasks
        self._stretch: _Stretch | None = None
        self._before = b""  # the end of what was given last, where an item's header may have begun

    async def read(self, wanted: Wanted) -> list[bytes]:
        """The ranges that are wanted; of a long one perhaps less, from its start."""
        if len(wanted) != 1 or len(wanted[0]) < _LONG:
            return await self._source.fetch(wanted)
        (one,) = wanted
        stretch, self._stretch = self._stretch, None
        if (
            stretch is None
            or not stretch.wanted.start - len(self._before) <= one.start < stretch.wanted.stop - _LEAST
        ):
            if stretch is not None:
                stretch.scope.cancel()  # the next item is behind all of it
            stretch, self._before = self._begun(one.start, len(one)), b""
        if stretch.wanted.stop < self._source.size:
            self._stretch = self._begun(stretch.wanted.stop, len(one))
        await stretch.came.wait()
        data = (self._before + stretch.data)[one.start - stretch.wanted.start + len(self._before) :]
        self._before = data[-_LEAST:]
        return [data]

    def _begun(self, start: int, length: int) -> _Stretch:
        stretch = _Stretch(ByteRange(start, min(start + length, self._source.size)))
        self._tasks.start_soon(self._fetch, stretch)
        return stretch

    async def _fetch(self, stretch: _Stretch) -> None:
        with stretch.scope:
            (stretch.data,) = await self._source.fetch([stretch.wanted])
        stretch.came.set()
