"""What a reader sees of an object: its bytes as they are, or with an offset table among them."""

from typing import Final

import anyio

from harvester.dicom.frames import FrameIndex, is_item
from harvester.errors import FrameIndexError
from harvester.model import ByteRange
from harvester.reader.access_pattern import AccessPattern
from harvester.reader.frame_lookup import find_again, find_index
from harvester.reader.offset_table import VirtualTable
from harvester.reader.source import ObjectSource
from harvester.store.base import Store

_PREAMBLE: Final = 128  # PS3.10 7.1
_ITEM_HEADER: Final = 8


class ObjectView:
    """The bytes of an opened object.

    Args:
        source: The object.
        table: What is put into it, if anything; the frames are looked for when it is read.
        index: DatasetLike the frames lie, if that is known.
    """

    def __init__(
        self, source: ObjectSource, table: VirtualTable | None = None, index: FrameIndex | None = None
    ) -> None:
        self.source = source
        self.table = table
        self.index = index
        self._splice = None if table is None else table.splice
        self._content: bytes | None = None
        self._order = AccessPattern()
        self._finding = anyio.Lock()

    @property
    def size(self) -> int:
        """In bytes, with what was put in."""
        return self.source.size + (0 if self._splice is None else self._splice.shift)

    def cached(self, start: int, stop: int) -> bytes | None:
        """The bytes from `start` to `stop`, if nothing needs to be asked for."""
        if self._splice is None:
            return self._cached(ByteRange(start, stop))
        parts: list[bytes] = []
        for put_in, one in self._splice.pieces(start, stop):
            if put_in:
                part = None if self._content is None else self._content[one.start : one.stop]
            else:
                part = self._cached(one)
            if part is None:
                return None
            parts.append(part)
        return self._no_tiff(start, b"".join(parts))

    async def read(self, start: int, stop: int) -> bytes:
        """The bytes from `start` to `stop`, or to the end.

        Raises:
            FrameIndexError: The offset table is read, and where the frames lie cannot be found; or a frame
                is read, and lies somewhere else than the table said.
            StoreError: The object cannot be read.
        """
        stop = min(stop, self.size)
        if start >= stop:
            return b""
        if self._splice is None:
            return await self._read(ByteRange(start, stop))
        parts = []
        for put_in, one in self._splice.pieces(start, stop):
            if put_in:
                content = await self._read_content()
                parts.append(content[one.start : one.stop])
            else:
                parts.append(await self._read(one))
        return self._no_tiff(start, b"".join(parts))

    async def move_to(self, store: Store) -> None:
        """Read from another store, in another loop: in a child process, or once the engine was closed."""
        self._finding = anyio.Lock()
        self.source.move_to(store)

    def _cached(self, wanted: ByteRange) -> bytes | None:
        held = self.source.cached(wanted.start, wanted.stop)
        return None if held is None or self._misplaced(wanted.start) else held

    async def _read(self, wanted: ByteRange) -> bytes:
        """Bytes of the object; what is read ahead ends where a frame does."""
        index = self.index
        if index is None:
            return await self.source.read(wanted.start, wanted.stop)
        number, _ = _begun(index, wanted.start)
        if number is not None:
            rows = self._order.rows(number, len(index))
            spans = [ByteRange(index.frame(first).start, index.frame(last).stop) for first, last in rows]
            await self.source.prefetch(spans)
        data = await self.source.read(wanted.start, wanted.stop, index.end_of)
        misplaced = self._misplaced(wanted.start)
        if misplaced and index is self.index:
            error = FrameIndexError(f"frame {misplaced} is not where it says", offset=wanted.start)
            self.index = await find_again(self.source, index, error)
            raise FrameIndexError(
                f"frame {misplaced} is not where the {index.source} index says; now a scan has found where "
                "it is: open the object again",
                url=self.source.ref.url,
                offset=wanted.start,
            )
        return data

    def _misplaced(self, start: int) -> int | None:
        """The number of the frame that is said to start here, at its item or at its bytes, and does not."""
        index = self.index
        if index is None:
            return None
        number, behind = _begun(index, start)
        if number is None:
            return None
        if behind:  # a reader that looks whether a frame goes on reads no more than the next one's item
            self._order.note(number)
        header = self.source.cached(start - behind, start - behind + _ITEM_HEADER)
        return None if header is None or is_item(header, index.lengths[number - 1]) else number

    async def _read_content(self) -> bytes:
        if self.table is None:
            return b""
        async with self._finding:  # of many who ask at once, one looks
            if self._content is None:
                try:
                    self._content = await self._made_content(self.table)
                except FrameIndexError as error:
                    error.url = self.source.ref.url
                    raise
            return self._content

    async def _made_content(self, table: VirtualTable) -> bytes:
        own = b"" if table.own is None else (await self.source.fetch([table.own]))[0]
        if self.index is None:
            credible = table.credible_index(own, self.source.size)
            self.index = await find_index(self.source) if credible is None else credible
        if own and self.index.source == table.kind:
            return own
        if table.kind == "extended" and self.index.fragmented:
            raise FrameIndexError(
                "its frames are in several fragments each, for which there is no extended offset table; "
                'open it with offset_table="auto"'
            )
        return table.content(self.index)

    def _no_tiff(self, start: int, data: bytes) -> bytes:
        """Bytes of a file whose pixel data moved, which is no TIFF file: its directory points elsewhere."""
        if (
            start >= _PREAMBLE
            or self._splice is None
            or not self._splice.shift
            or self.source.header is None
            or self.source.header.preamble != "tiff"
        ):
            return data
        blank = min(_PREAMBLE - start, len(data))
        return bytes(blank) + data[blank:]


def _begun(index: FrameIndex, start: int) -> tuple[int | None, int]:
    """The number of the frame whose item, or whose bytes, start somewhere, and how far behind the item."""
    for behind in (0, _ITEM_HEADER):
        number = index.starting_at(start - behind)
        if number is not None:
            return number, behind
    return None, 0
