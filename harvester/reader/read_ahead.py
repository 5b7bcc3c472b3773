"""Reads ahead while the frames of an object are searched: the next block is fetched during the search."""

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

_LONG: Final = 256 << 10  # bytes: a search that requests this much goes through the whole object
_LEAST: Final = 64  # bytes the search needs to continue: an item's header and an image's first bytes


@asynccontextmanager
async def reading_ahead(source: ObjectSource) -> AsyncIterator[Read]:
    """A function that reads the object for a search; it works while the block runs."""
    with ungrouped():
        async with anyio.create_task_group() as tasks:
            yield _ReadAhead(source, tasks).read
            tasks.cancel_scope.cancel()


@dataclass(slots=True)
class _Block:
    """A range that is being fetched."""

    wanted: ByteRange
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    fetched: anyio.Event = field(default_factory=anyio.Event)
    data: bytes = b""


class _ReadAhead:
    def __init__(self, source: ObjectSource, tasks: TaskGroup) -> None:
        self._source = source
        self._tasks = tasks
        self._next: _Block | None = None
        self._tail = b""  # the end of the previous block: an item's header may start in it

    async def read(self, wanted: Wanted) -> list[bytes]:
        """The wanted ranges; of a single long one perhaps only the first part."""
        if len(wanted) != 1 or len(wanted[0]) < _LONG:
            return await self._source.fetch(wanted)
        (one,) = wanted
        if self._source.store.progress is not None:
            self._source.store.progress(one.start, self._source.size)
        block, self._next = self._next, None
        if (
            block is None
            or not block.wanted.start - len(self._tail) <= one.start < block.wanted.stop - _LEAST
        ):
            if block is not None:
                block.scope.cancel()  # the next item lies after this block
            block, self._tail = self._begin(one.start, len(one)), b""
        if block.wanted.stop < self._source.size:
            self._next = self._begin(block.wanted.stop, len(one))
        await block.fetched.wait()
        data = (self._tail + block.data)[one.start - block.wanted.start + len(self._tail) :]
        self._tail = data[-_LEAST:]
        return [data]

    def _begin(self, start: int, length: int) -> _Block:
        block = _Block(ByteRange(start, min(start + length, self._source.size)))
        self._tasks.start_soon(self._fetch, block)
        return block

    async def _fetch(self, block: _Block) -> None:
        with block.scope:
            (block.data,) = await self._source.fetch([block.wanted])
        block.fetched.set()
