"""What a reader sees of an object: its bytes as they are, or with an offset table among them."""

from typing import Final

from harvester.dicom.frames import FrameIndex
from harvester.errors import FrameIndexError
from harvester.model import ByteRange
from harvester.reader.indexing import find_index
from harvester.reader.source import ObjectSource
from harvester.reader.virtual import VirtualTable

_PREAMBLE: Final = 128  # PS3.10 7.1


class ObjectView:
    """The bytes of an opened object.

    Args:
        source: The object.
        table: What is put into it, if anything; the frames are looked for when it is read.
        index: Where the frames lie, if that is known.
    """

    def __init__(
        self, source: ObjectSource, table: VirtualTable | None = None, index: FrameIndex | None = None
    ) -> None:
        self.source = source
        self.table = table
        self._splice = None if table is None else table.splice
        self._index = index
        self._content: bytes | None = None

    @property
    def size(self) -> int:
        """In bytes, with what was put in."""
        return self.source.size + (0 if self._splice is None else self._splice.shift)

    def cached(self, start: int, stop: int) -> bytes | None:
        """The bytes from `start` to `stop`, if nothing needs to be asked for."""
        if self._splice is None:
            return self.source.cached(start, stop)
        parts: list[bytes] = []
        for put_in, one in self._splice.pieces(start, stop):
            if put_in:
                part = None if self._content is None else self._content[one.start : one.stop]
            else:
                part = self.source.cached(one.start, one.stop)
            if part is None:
                return None
            parts.append(part)
        return self._no_tiff(start, b"".join(parts))

    async def read(self, start: int, stop: int) -> bytes:
        """The bytes from `start` to `stop`, or to the end.

        Raises:
            FrameIndexError: The offset table is read, and where the frames lie cannot be found.
            StoreError: The object cannot be read.
        """
        stop = min(stop, self.size)
        if start >= stop:
            return b""
        if self._splice is None:
            return await self.source.read(start, stop)
        parts = []
        for put_in, one in self._splice.pieces(start, stop):
            if put_in:
                content = await self._read_content()
                parts.append(content[one.start : one.stop])
            else:
                parts.append(await self.source.read(one.start, one.stop))
        return self._no_tiff(start, b"".join(parts))

    async def find_index(self) -> FrameIndex:
        """Where the frames lie in the object as it is.

        Raises:
            FrameIndexError: It cannot be found.
        """
        if self._index is None:
            self._index = await find_index(self.source)
        return self._index

    async def _read_content(self) -> bytes:
        if self._content is None and self.table is not None:
            try:
                self._content = await self._made_content(self.table)
            except FrameIndexError as error:
                error.url = self.source.ref.url
                raise
        return self._content or b""

    async def _made_content(self, table: VirtualTable) -> bytes:
        index = await self.find_index()
        if table.kind == "extended" and not await has_one_fragment_a_frame(self.source, index):
            raise FrameIndexError(
                "its frames are in several fragments each, for which there is no extended offset table; "
                'open it with offset_table="auto"'
            )
        return table.content(index)

    def _no_tiff(self, start: int, data: bytes) -> bytes:
        """Bytes of a spliced file, which is no TIFF file: a directory would count from its old start."""
        if start >= _PREAMBLE or self.source.header is None or self.source.header.preamble != "tiff":
            return data
        blank = min(_PREAMBLE - start, len(data))
        return bytes(blank) + data[blank:]


async def has_one_fragment_a_frame(source: ObjectSource, index: FrameIndex) -> bool:
    """Whether an extended table may say where the frames are (PS3.3 C.7.6.3.1.8), by the longest of them.

    Programs that cut frames into fragments cut them at a length, so that the longest is cut if any is.
    """
    place = max(range(len(index)), key=index.lengths.__getitem__)
    start = index.offsets[place]
    (header,) = await source.fetch([ByteRange(start, start + 8)])
    source.keep(start, header)
    return int.from_bytes(header[4:8], "little") == index.lengths[place] - 8
