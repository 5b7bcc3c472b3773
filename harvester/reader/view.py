"""The bytes of an object as a reader sees them: unchanged, or with an offset table inserted."""

import logging
from typing import Final

import anyio

from harvester.dicom.frames import FrameIndex, is_item, may_start_frame
from harvester.errors import FrameIndexError
from harvester.fetch.window_predictor import WindowPredictor
from harvester.model import ByteRange, ObjectRef
from harvester.reader.access import ReaderStore
from harvester.reader.dataset_hints import NO_HINTS, ObjectHints
from harvester.reader.frame_lookup import find_again, known_index
from harvester.reader.frame_prefetch import FramePrefetch
from harvester.reader.header_lengths import RECENT_LENGTHS
from harvester.reader.offset_table import Splice, VirtualTable
from harvester.reader.source import ObjectSource
from harvester.reader.table_choice import OffsetTable, choose_table, try_find_index

_logger = logging.getLogger("harvester")

_PREAMBLE: Final = 128  # bytes, PS3.10 7.1
_ITEM_HEADER: Final = 8


async def open_view(
    store: ReaderStore,
    ref: ObjectRef,
    hints: ObjectHints = NO_HINTS,
    offset_table: OffsetTable = "auto",
    predictor: WindowPredictor = RECENT_LENGTHS,
) -> "ObjectView":
    """Open an object of a store.

    Raises:
        StoreError: It cannot be read.
    """
    source = ObjectSource(store, ref, predictor)
    await source.open(hints)
    table, index = await choose_table(source, await known_index(source, hints), offset_table)
    return ObjectView(source, table, index)


class ObjectView:
    """The bytes of an opened object.

    Args:
        source: The object.
        table: The table to insert; the frames are searched when its bytes are first read.
        index: The frame index, if it is known.
    """

    def __init__(
        self, source: ObjectSource, table: VirtualTable | None = None, index: FrameIndex | None = None
    ) -> None:
        self.source = source
        self.index = index
        self._table = table
        # The inserted bytes are None until they are first read.
        self._layout: tuple[Splice | None, bytes | None] = (None if table is None else table.splice, None)
        self._shift = 0 if table is None else table.splice.shift
        self._pattern = FramePrefetch()
        self._search = anyio.Lock()

    @property
    def size(self) -> int:
        """Size in bytes, with the table."""
        return self.source.size + self._shift

    def cached(self, start: int, stop: int) -> bytes | None:
        """The bytes from `start` to `stop` if all of them are in memory."""
        splice, content = self._layout
        if splice is None:
            return self._cached(ByteRange(start, stop))
        if content is None and self._depends_on_table(splice, start, stop):
            return None
        parts: list[bytes] = []
        for is_inserted, one in splice.pieces(start, stop):
            part = (content or b"")[one.start : one.stop] if is_inserted else self._cached(one)
            if part is None:
                return None
            parts.append(part)
        return self._without_tiff(start, b"".join(parts))

    async def read(self, start: int, stop: int) -> bytes:
        """The bytes from `start` to `stop`, or to the end.

        Raises:
            FrameIndexError: A frame is not where the table says.
            StoreError: The object cannot be read.
        """
        stop = min(stop, self.size)
        if start >= stop:
            return b""
        splice, content = self._layout
        if splice is None:
            return await self._read(ByteRange(start, stop))
        if content is None and self._depends_on_table(splice, start, stop):
            splice, content = await self._resolved()
        parts = [
            (content or b"")[one.start : one.stop] if is_inserted else await self._read(one)
            for is_inserted, one in splice.pieces(start, stop)
        ]
        return self._without_tiff(start, b"".join(parts))

    async def move_to(self, store: ReaderStore) -> None:
        """Continue with another store in another event loop: after a fork, or after the loop was closed."""
        self._search = anyio.Lock()
        self.source.move_to(store)

    def _cached(self, wanted: ByteRange) -> bytes | None:
        cached = self.source.cached(wanted.start, wanted.stop)
        return None if cached is None or self._misplaced(wanted.start) else cached

    async def _read(self, wanted: ByteRange) -> bytes:
        """Bytes of the object; read-ahead stops at the end of a frame."""
        index = self.index
        if index is None:
            return await self.source.read(wanted.start, wanted.stop)
        number, _ = _starting_frame(index, wanted.start)
        if number is not None:
            rows = self._pattern.rows(number, len(index))
            spans = [ByteRange(index.frame(first).start, index.frame(last).stop) for first, last in rows]
            await self.source.prefetch(spans)
        data = await self.source.read(wanted.start, wanted.stop, index.end_of)
        misplaced = self._misplaced(wanted.start)
        if misplaced and index is self.index:
            await self._find_again(index, misplaced)
        return data

    async def _find_again(self, index: FrameIndex, misplaced: int) -> None:
        url, start = self.source.ref.url, index.offsets[misplaced - 1]
        error = FrameIndexError(f"frame {misplaced} does not start there", offset=start)
        try:
            self.index = await find_again(self.source, index, error)
        except FrameIndexError as failed:  # nothing better than the table was found
            _logger.warning("%s: its offset table is shown unchanged: %s", url, failed.message)
            self.index = None
            return
        if self.index.offsets[misplaced - 1] != start:
            raise FrameIndexError(
                f"frame {misplaced} is not where the {index.source} index says; a scan has found all frames:"
                " open the object again",
                url=url,
                offset=start,
            )

    def _misplaced(self, start: int) -> int | None:
        """The number of the frame whose item or bytes should start here, if they do not."""
        index = self.index
        if index is None:
            return None
        number, behind = _starting_frame(index, start)
        if number is None:
            return None
        if behind:  # readers also read the next frame's item, to see whether a frame continues
            self._pattern.note(number)
        header = self.source.cached(start - behind, start - behind + _ITEM_HEADER)
        image = self.source.cached(start - behind + _ITEM_HEADER, start - behind + 2 * _ITEM_HEADER)
        if header is None or self.source.header is None:
            return None
        uid = self.source.header.transfer_syntax_uid
        is_frame = is_item(header, index.lengths[number - 1]) and (
            image is None or index.source == "scan" or may_start_frame(image, uid)
        )
        return None if is_frame else number

    def _depends_on_table(self, splice: Splice, start: int, stop: int) -> bool:
        """Whether bytes of a range are unknown before the frames are searched."""
        return stop > splice.at and (bool(splice.shift) or start < splice.at + splice.length)

    async def _resolved(self) -> tuple[Splice, bytes]:
        """The splice and its bytes; of concurrent readers, one searches the frames."""
        async with self._search:
            splice, content = self._layout
            if splice is None or content is None:
                if self._table is None:
                    raise RuntimeError("an object without a table has no splice")
                splice, content = await self._make_content(self._table)
                self._layout = splice, content
            return splice, content

    async def _make_content(self, table: VirtualTable) -> tuple[Splice, bytes]:
        own = b"" if table.own is None else (await self.source.fetch([table.own]))[0]
        if own and self.index is None:
            self.index = table.credible_index(own, self.source.size)
        self.index = self.index or await try_find_index(self.source)
        try:
            if self.index is not None:
                return table.splice, own if own and table.agrees(own, self.index) else table.content(
                    self.index
                )
        except FrameIndexError as error:
            _logger.warning("%s: shown without a new offset table: %s", self.source.ref.url, error.message)
        if own:
            return table.splice, own
        # The file unchanged. Its size was given before, so an element of padding follows the last byte.
        return Splice(self.source.size, 0, self._shift), table.padding()

    def _without_tiff(self, start: int, data: bytes) -> bytes:
        """Blank the preamble of a TIFF file whose pixel data moved: its directory would be wrong."""
        header = self.source.header
        if start >= _PREAMBLE or not self._shift or header is None or header.preamble != "tiff":
            return data
        blank = min(_PREAMBLE - start, len(data))
        return bytes(blank) + data[blank:]


def _starting_frame(index: FrameIndex, start: int) -> tuple[int | None, int]:
    """The number of the frame whose item, or bytes, start at an offset, and the distance from the item."""
    for behind in (0, _ITEM_HEADER):
        number = index.starting_at(start - behind)
        if number is not None:
            return number, behind
    return None, 0
