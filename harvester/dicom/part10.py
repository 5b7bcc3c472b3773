"""Reads the header of a DICOM file (PS3.10) from bytes that arrive piece by piece, up to the pixel data.

The parser does no I/O: `feed` takes bytes and returns `NeedMore` (which bytes next) or a `Header`. The header
is complete; everything else is an `harvester.errors.ObjectError`.
"""

import zlib
from collections.abc import Generator
from typing import Final, Literal

from harvester.dicom.dictionary import (
    EXTENDED_OFFSET_TABLE,
    FILE_META_INFORMATION_GROUP_LENGTH,
    LONG_FORM_VRS,
    SHORT_FORM_VRS,
    STANDARD_VRS,
    TRANSFER_SYNTAX_UID,
)
from harvester.dicom.element import UNDEFINED_LENGTH, RawElement
from harvester.dicom.element_cache import ElementCache
from harvester.dicom.header import Header, NeedMore
from harvester.dicom.header_limits import MAX_HEADER_BYTES
from harvester.dicom.walker import Stopped, Walker
from harvester.errors import HeaderLimitError, MalformedError, NotDicomError, ObjectError, TruncatedError

IMPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2"
EXPLICIT_VR_BIG_ENDIAN: Final = "1.2.840.10008.1.2.2"
DEFLATED: Final = frozenset(
    {
        "1.2.840.10008.1.2.1.99",  # Deflated Explicit VR Little Endian, PS3.5 A.5
        "1.2.840.10008.1.2.4.95",  # JPIP Referenced Deflate, PS3.5 A.7
        "1.2.840.10008.1.2.4.205",  # JPIP HTJ2K Referenced Deflate, PS3.5 A.13
    }
)
_PREAMBLE: Final = 132  # PS3.10 7.1: 128 bytes and DICM
_ZEROS: Final = bytes(128)
_ITEM: Final = {"little": b"\xfe\xff\x00\xe0", "big": b"\xff\xfe\xe0\x00"}
_INFLATED_AT_ONCE: Final = 1 << 20  # bytes
PIXEL_DATA_KEYWORDS: Final = {
    0x7FE00008: "FloatPixelData",
    0x7FE00009: "DoubleFloatPixelData",
    0x7FE00010: "PixelData",
}
_VRS: Final = frozenset(vr.encode() for vr in SHORT_FORM_VRS | LONG_FORM_VRS)
# The groups that a data set without a preamble may begin with.
_FIRST_GROUPS: Final = frozenset({0x0002, 0x0004, 0x0008, 0x0010, 0x0018, 0x0020, 0x0028})

Steps = Generator[NeedMore, bytes, "Header"]


class HeaderParser:
    """Parses one object's header.

    Args:
        size: The object's size in bytes; None if unknown, then call `finish` at its end.
        max_header_bytes: How many bytes of a header are read at most.
        cache: The elements of earlier headers of the series, which make this one faster to read.
    """

    def __init__(
        self,
        size: int | None = None,
        *,
        max_header_bytes: int = MAX_HEADER_BYTES,
        cache: ElementCache | None = None,
    ) -> None:
        self._max_bytes = max_header_bytes
        self._walker = Walker(0, size, max_header_bytes, cache)
        self._size = size
        self._inflater: _Inflater | None = None
        self._steps = self._parse()
        self._header: Header | None = None
        self._error: ObjectError | None = None
        self._started = False

    @property
    def headers_read(self) -> int:
        """The number of element and item headers that were read: a measure of work, linear in the header."""
        return self._walker.headers_read

    @property
    def skipped(self) -> tuple[tuple[int, int], ...]:
        """The ranges of bytes that were not requested, because a long value lies there."""
        return () if self._inflater is not None else tuple(self._walker.skipped)

    def feed(self, data: bytes) -> NeedMore | Header:
        """Take the object's next bytes: from 0 at first, then from the `start` that was returned.

        Returns:
            NeedMore: The bytes from `start` up to at least `stop` are needed; more are welcome.
            Header: The header is complete. Further calls return it again, or raise the same error again.

        Raises:
            NotDicomError: The bytes are not DICOM.
            TruncatedError: The object ends inside its header.
            MalformedError: The header cannot be followed.
            HeaderLimitError: The header exceeds a bound.
        """
        if self._header is not None:
            return self._header
        if self._error is not None:
            raise self._error
        try:
            if not self._started:
                self._started = True
                self._walker.feed(data)
                return next(self._steps)
            return self._steps.send(data)
        except StopIteration as complete:
            self._header = complete.value
            return complete.value  # type: ignore[no-any-return]
        except ObjectError as error:
            self._error = error
            raise

    def finish(self, size: int) -> Header:
        """Set the object's size, if it was unknown, after its last byte was fed.

        Raises:
            TruncatedError: The header does not end there.
        """
        self._size = size
        if self._inflater is None:
            self._walker.size = size
        else:
            self._inflater.raw_size = size
        step = self.feed(b"")
        if isinstance(step, NeedMore):
            raise TruncatedError(f"the object ends at byte {size}, inside its header", offset=step.start)
        return step

    def _parse(self) -> Steps:
        preamble = yield from self._skip_preamble()
        walker = self._walker
        yield from self._have(8)
        if walker.peek(2) == b"\0\2":
            raise MalformedError(
                "the File Meta Information is in big endian, which PS3.10 7.1 rules out",
                offset=walker.position,
            )
        walker.only_tags(0x00020000, 0x00030000)  # PS3.10 7.1: always Explicit VR Little Endian
        stopped = yield from self._walk()
        elements = walker.elements
        if stopped.tag is None:
            _check_complete(elements, stopped.offset)
        transfer_syntax_uid = _transfer_syntax(elements)
        yield from self._have(8)
        deflated = transfer_syntax_uid in DEFLATED  # everything behind the File Meta Information is
        # PS3.7 6.3.1: a command set is always Implicit VR Little Endian.
        if elements and not deflated and walker.peek(2) == b"\0\0":
            walker.set_encoding(implicit=True, big_endian=False)
            walker.only_tags(0x00000000, 0x00010000)
            yield from self._walk()
            elements += walker.elements
        if deflated:
            self._inflater = _Inflater(walker.rest(), walker.position, self._max_bytes)
            self._inflater.raw_size = self._size
            walker = self._walker = Walker(walker.position, None, self._max_bytes)
        yield from self._have(8)
        first = walker.peek(8)
        implicit, big_endian = _encoding(first, transfer_syntax_uid)
        _check_byte_order(first, transfer_syntax_uid, walker.position, big_endian=big_endian)
        walker.set_encoding(implicit=implicit, big_endian=big_endian)
        walker.only_tags()
        stopped = yield from self._walk()
        elements += walker.elements
        if not elements:
            raise NotDicomError("the object has no data element", offset=stopped.offset)
        has_pixels = stopped.tag is not None
        encapsulated = stopped.length == UNDEFINED_LENGTH if has_pixels else None
        basic = extended = None
        if encapsulated:
            extended = _has_extended_offset_table(elements)
            basic = yield from self._has_basic_offset_table(stopped, big_endian=big_endian)
        return Header(
            elements=elements,
            preamble=preamble,
            transfer_syntax_uid=transfer_syntax_uid,
            implicit=implicit,
            big_endian=big_endian,
            deflated=deflated,
            header_bytes=stopped.offset,
            irregularities=tuple(walker.irregularities),
            pixel_data_keyword=PIXEL_DATA_KEYWORDS.get(stopped.tag or 0),
            pixel_data_offset=stopped.value_offset if has_pixels else None,
            pixel_data_length=stopped.length if has_pixels and not encapsulated else None,
            encapsulated=encapsulated,
            basic_offset_table=basic,
            extended_offset_table=extended,
        )

    def _has_basic_offset_table(
        self, stopped: Stopped, *, big_endian: bool
    ) -> Generator[NeedMore, bytes, bool]:
        # PS3.5 A.4: the first item is the Basic Offset Table, which may be empty.
        length = stopped.value_offset - stopped.offset + 8
        yield from self._have(length, last=True)
        item = self._walker.peek(length)[length - 8 :]
        order: Literal["big", "little"] = "big" if big_endian else "little"
        return item[:4] == _ITEM[order] and int.from_bytes(item[4:], order) > 0

    def _skip_preamble(self) -> Generator[NeedMore, bytes, str]:
        yield from self._have(_PREAMBLE + 8)
        first = self._walker.peek(_PREAMBLE + 8)
        # A data set without a preamble may have DICM at byte 128 by chance.
        if first[128:_PREAMBLE] == b"DICM" and (_may_begin(first[_PREAMBLE:]) or not _may_begin(first[:8])):
            self._walker.position += _PREAMBLE
            if first[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
                return "tiff"
            return "zero" if first.startswith(_ZEROS) else "other"
        if not _may_begin(first[:8]):
            raise NotDicomError("no DICM at byte 128, and no data element at the start", offset=0)
        return "none"

    def _walk(self) -> Generator[NeedMore, bytes, Stopped]:
        while isinstance(step := self._walker.walk(), NeedMore):
            yield from self._supply(step)
        return step

    def _have(self, length: int, *, last: bool = False) -> Generator[NeedMore, bytes, None] | tuple[()]:
        """Wait until the next `length` bytes are there, or the object ends."""
        return () if self._walker.missing(length) is None else self._wait_for(length, last=last)

    def _wait_for(self, length: int, *, last: bool) -> Generator[NeedMore, bytes, None]:
        while (need := self._walker.missing(length)) is not None:
            yield from self._supply(NeedMore(need.start, need.stop, last) if last else need)

    def _supply(self, need: NeedMore) -> Generator[NeedMore, bytes, None]:
        if self._inflater is None:
            self._walker.feed((yield need))
        else:
            yield from self._inflater.supply(self._walker)


class _Inflater:
    """Inflates a deflated data set piece by piece.

    Args:
        raw: The bytes behind the File Meta Information that were already fed.
        offset: Where they lie in the object.
        max_bytes: How many inflated bytes are read at most: a few kB can inflate to gigabytes.
    """

    def __init__(self, raw: bytes, offset: int, max_bytes: int) -> None:
        self.raw_size: int | None = None
        self._raw = raw
        self._raw_fed = offset + len(raw)
        self._produced = offset
        self._stop = offset + max_bytes
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        self._error: zlib.error | None = None

    def supply(self, walker: Walker) -> Generator[NeedMore, bytes, None]:
        """Feed the walker, or set the size of the data set."""
        while True:
            data = self._inflated()
            if data:
                skipped = max(0, walker.fed - self._produced)
                self._produced += len(data)
                if self._produced > self._stop:
                    raise HeaderLimitError(
                        "the deflated data set inflates beyond the limit; a larger max_header_bytes reads it",
                        offset=self._raw_fed,
                    )
                if skipped < len(data):
                    walker.feed(data[skipped:])
                    return
            elif self._error is not None:
                raise MalformedError(f"the deflated data set: {self._error}", offset=self._raw_fed) from None
            elif self._inflate.eof:
                walker.size = self._produced
                return
            elif self._raw_fed > self._stop:
                # Empty blocks: else more bytes were inflated.
                raise HeaderLimitError("the deflated data set is longer than the limit", offset=self._raw_fed)
            elif self.raw_size is not None and self._raw_fed >= self.raw_size:
                raise TruncatedError("the object ends inside its deflated data set", offset=self._raw_fed)
            else:
                more = yield NeedMore(self._raw_fed, self._raw_fed + 1)
                self._raw += more
                self._raw_fed += len(more)

    def _inflated(self) -> bytes:
        """The next bytes of the data set, up to a damaged one."""
        if self._error is not None:
            return b""
        before = self._inflate.copy() if len(self._raw) > 1 else None
        try:
            data = self._inflate.decompress(self._raw, _INFLATED_AT_ONCE)
        except zlib.error as error:
            self._error = error
            return _inflated_before_damage(before, self._raw) if before is not None else b""
        self._raw = self._inflate.unconsumed_tail
        return data


def _inflated_before_damage(inflate: "zlib._Decompress", raw: bytes) -> bytes:
    pieces = []
    for index in range(len(raw)):
        try:
            pieces.append(inflate.decompress(raw[index : index + 1]))
        except zlib.error:
            break
    return b"".join(pieces)


def _check_complete(meta: list[RawElement], size: int) -> None:
    """Refuse File Meta Information that is shorter than its group length (PS3.10 7.1)."""
    for tag, _vr, value, offset, length in meta:
        if tag == FILE_META_INFORMATION_GROUP_LENGTH and isinstance(value, bytes):
            if offset + length + int.from_bytes(value, "little") > size:
                raise TruncatedError(
                    f"the object ends at byte {size}, inside its File Meta Information", offset=size
                )
            return


def _transfer_syntax(meta: list[RawElement]) -> str | None:
    for tag, _vr, value, _offset, _length in meta:
        if tag == TRANSFER_SYNTAX_UID and isinstance(value, bytes):
            return value.decode("latin-1").rstrip(" \0") or None
    return None


def _has_extended_offset_table(elements: list[RawElement]) -> bool:
    for tag, _vr, _value, _offset, length in reversed(elements):
        if tag <= EXTENDED_OFFSET_TABLE:
            return tag == EXTENDED_OFFSET_TABLE and length > 0
    return False


def _encoding(first: bytes, transfer_syntax_uid: str | None) -> tuple[bool, bool]:
    """Whether in implicit VR, whether in big endian, by the first element: transfer syntaxes can be wrong."""
    if len(first) < 8:
        return transfer_syntax_uid == IMPLICIT_VR_LITTLE_ENDIAN, transfer_syntax_uid == EXPLICIT_VR_BIG_ENDIAN
    big_endian = transfer_syntax_uid == EXPLICIT_VR_BIG_ENDIAN
    if transfer_syntax_uid is None and first[4:6] in _VRS:
        # The first group is low: 0008 in big endian reads as 0800 in little endian.
        big_endian = int.from_bytes(first[:2], "little") >= 0x0400
    return not first[4:6].isupper() or not first[4:6].isalpha(), big_endian


def _check_byte_order(
    first: bytes, transfer_syntax_uid: str | None, offset: int, *, big_endian: bool
) -> None:
    """Refuse a data set whose first group makes sense in the other byte order alone."""
    right: Literal["big", "little"] = "big" if big_endian else "little"
    if int.from_bytes(first[:2], right) in _FIRST_GROUPS:
        return
    wrong: Literal["big", "little"] = "little" if big_endian else "big"
    if first[4:6] in _VRS and int.from_bytes(first[:2], wrong) in _FIRST_GROUPS:
        raise MalformedError(
            f"the data set is in {wrong} endian, its transfer syntax {transfer_syntax_uid} is not",
            offset=offset,
        )


def _may_begin(first: bytes) -> bool:
    """Whether these eight bytes could begin a data set."""
    if len(first) < 8:
        return False
    group, element = int.from_bytes(first[:2], "little"), int.from_bytes(first[2:4], "little")
    if first[4:6] in _VRS:
        return group in _FIRST_GROUPS or int.from_bytes(first[:2], "big") in _FIRST_GROUPS
    tag, length = group << 16 | element, int.from_bytes(first[4:], "little")
    return group in _FIRST_GROUPS and (tag in STANDARD_VRS or not element) and length < 1 << 20
