"""Finds where the data elements of a data set lie, in bytes that arrive piece by piece.

The walker decides *where* elements are, those in sequences included, and not what they mean. It is one loop
over one buffer with a stack of open sequences: it can stop at any byte and go on without reading an element
twice, and nesting costs no call. Where it stops it returns which bytes it needs. A long binary value is
skipped: its bytes are never requested.
"""

import struct
from array import array
from itertools import repeat
from typing import Final, NamedTuple, TypeAlias

from harvester.dicom import limits
from harvester.dicom.dictionary import (
    BINARY_VRS,
    ITEM,
    ITEM_DELIMITATION,
    LONG_FORM_VRS,
    SEQUENCE_DELIMITATION,
    SHORT_FORM_VRS,
    STANDARD_VRS,
    PrivateVRs,
    standard_vr,
)
from harvester.dicom.element import UNDEFINED_LENGTH, Items, RawElement
from harvester.dicom.element_cache import SEGMENT_ELEMENTS, ElementCache, moved
from harvester.dicom.header import NeedMore
from harvester.dicom.item_patterns import MIN_ITEMS, ItemPatterns
from harvester.errors import HeaderLimitError, MalformedError, TruncatedError

PIXEL_DATA_TAGS: Final = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})

_FIRST_PIXEL_DATA: Final = min(PIXEL_DATA_TAGS)
_SEGMENT: Final = range(SEGMENT_ELEMENTS)
_ENDLESS: Final = repeat(None)
_FAR: Final = 1 << 62  # behind the end of every object
_MAX_SHORT_FORM: Final = 0xFFFF  # bytes of a value, PS3.5 7.1.2: always kept
_SHORT_FORM: Final = {vr.encode(): vr for vr in SHORT_FORM_VRS}
_LONG_FORM: Final = {vr.encode(): vr for vr in LONG_FORM_VRS}
# The header of an element in explicit and in implicit VR, and the length of the long form.
_LITTLE_ENDIAN: Final = tuple(struct.Struct(form).unpack_from for form in ("<HH2sH", "<HHL", "<L"))
_BIG_ENDIAN: Final = tuple(struct.Struct(form).unpack_from for form in (">HH2sH", ">HHL", ">L"))
# The array type of a number, by value representation.
_NUMBER_TYPES: Final = {
    **dict.fromkeys(("US", "SS", "US or SS", "US or SS or OW", "US or OW", "AT"), "H"),
    **dict.fromkeys(("UL", "SL", "FL"), "I"),
    **dict.fromkeys(("UV", "SV", "FD"), "Q"),
}

# An open sequence: its items (None: fragments), whether it has a defined length, whether its items are in
# implicit VR, and where it ends at the latest.
_Sequence: TypeAlias = tuple[Items | None, bool, bool, int]
# An open data set: its elements, where it ends, whether it is in implicit VR, its private elements' VRs, and
# where its content starts.
_DataSet: TypeAlias = tuple[list[RawElement], int, bool, PrivateVRs | None, int]
# What a sequence returns to when it closes: its own tag, VR, start and start of value, the data set that
# contains it, and the sequence that contains that one. Offsets are the object's.
_Outer: TypeAlias = tuple[tuple[int, str, int, int], _DataSet, _Sequence]


class Stopped(NamedTuple):
    """The walk ended before the element at `offset`, or at the end of the object (`tag` None).

    `value_offset` is where the element's value starts, `length` the length of the value.
    """

    offset: int
    tag: int | None = None
    vr: str | None = None
    value_offset: int = 0
    length: int = 0


class Walker:
    """Walks one data set, or the File Meta Information before it, to its end.

    Feed it the object's bytes from `fed` on, then `walk`; again while it returns `NeedMore`.

    Args:
        offset: Where the data set starts in the object.
        size: Where the object ends; None while that is unknown.
        max_bytes: How many bytes may be read.
        cache: The elements of earlier headers.
    """

    def __init__(
        self, offset: int, size: int | None, max_bytes: int, cache: ElementCache | None = None
    ) -> None:
        self.size = _FAR if size is None else size
        self.fed = offset  # where the next bytes belong
        self.position = offset  # of the next element
        self.elements: list[RawElement] = []
        self.skipped: list[tuple[int, int]] = []  # ranges of bytes that were not requested
        self.headers_read = 0  # element and item headers: linear in the header, and tested to be
        self._max_bytes = self._budget = max_bytes
        self._buffer = b""
        self._base = offset  # the offset in the object of the buffer's first byte
        self._pending: list[bytes] = []
        self._needed = offset
        self._counted = 0  # elements of closed data sets, and items
        self._stack: list[_Outer] = []
        self._open: list[RawElement] | None = self.elements  # None: between two items
        self._stop = _FAR  # where the open data set ends
        self._content = offset  # where the open item's content starts
        self._private: PrivateVRs | None = None
        self._sequence: _Sequence = (None, False, False, _FAR)  # the innermost open one
        self._patterns = ItemPatterns()
        self._cache = cache
        self._lower, self._upper = 0, _FIRST_PIXEL_DATA
        self.set_encoding(implicit=False, big_endian=False)

    def set_encoding(self, *, implicit: bool, big_endian: bool) -> None:
        """Set the encoding of the elements from here on (PS3.5 annex A)."""
        self.implicit = self._implicit_data_set = implicit
        self.big_endian = big_endian
        structs = _BIG_ENDIAN if big_endian else _LITTLE_ENDIAN
        self._explicit_header, self._implicit_header, self._long_length = structs

    def only_tags(self, lower: int, upper: int = _FIRST_PIXEL_DATA) -> None:
        """Begin a new list of elements, and stop before the first top-level tag outside [lower, upper)."""
        self._lower, self._upper = lower, upper
        self._counted += len(self.elements)
        self.elements = []
        self._open = self.elements
        self._private = None

    def feed(self, data: bytes) -> None:
        """Take the bytes at `fed`; they are joined when there are enough of them to go on."""
        self._budget -= len(data)
        self._pending.append(data)
        self.fed += len(data)

    def peek(self, length: int) -> bytes:
        """Up to `length` of the next bytes, without walking on."""
        self._join()
        return self._buffer[self.position - self._base : self.position - self._base + length]

    def rest(self) -> bytes:
        """All bytes that were fed and not walked over."""
        self._join()
        return self._buffer[self.position - self._base :]

    def missing(self, length: int) -> NeedMore | None:
        """What is missing of the next `length` bytes; None if they are there or the object ends."""
        wanted = min(self.position + length, self.size)
        return NeedMore(self.fed, wanted) if wanted > self.fed else None

    def walk(self) -> NeedMore | Stopped:
        """Go on as far as the bytes reach.

        Raises:
            TruncatedError: The object ends inside an element.
            MalformedError: The structure cannot be followed.
            HeaderLimitError: The header exceeds a bound.
        """
        if self.fed < min(self._needed, self.size):
            return NeedMore(self.fed, self._needed)
        self._join()
        step = self._walk()
        if isinstance(step, NeedMore):
            self._check_length(step)
            self._needed = step.stop
        if self._counted + len(self._open or ()) > limits.MAX_ELEMENTS:
            raise HeaderLimitError(
                f"the header has more than {limits.MAX_ELEMENTS} elements", offset=self.position
            )
        return step

    def _join(self) -> None:
        if self._pending:
            self._buffer = b"".join((self._buffer[self.position - self._base :], *self._pending))
            self._base = self.position
            self._pending.clear()

    def _check_length(self, need: NeedMore) -> None:
        if need.stop > self.size:
            raise TruncatedError(
                f"the object ends at byte {self.size}, inside its header", offset=self.position
            )
        if need.stop - need.start > self._budget:
            raise HeaderLimitError(
                f"the header is longer than {self._max_bytes} bytes; a larger max_header_bytes reads it",
                offset=self.position,
            )

    # The hot path: every element of every header passes through this loop once, and a function call would
    # cost as much as the element itself. Hence one long function.
    def _walk(self) -> NeedMore | Stopped:  # noqa: C901, PLR0912, PLR0915
        buffer, base = self._buffer, self._base  # positions in the loop count from the buffer's start
        position, available = self.position - base, len(buffer)
        stack, elements = self._stack, self._open
        stop, implicit, swapped = self._stop - base, self.implicit, self.big_endian
        items, bounded, items_implicit, bound = self._sequence
        bound -= base  # no element may reach further
        if not stack:
            bound = self.size - base
        within = min(bound, available)
        lower, upper = (0, _FAR) if stack else (self._lower, self._upper)
        explicit_header, implicit_header = self._explicit_header, self._implicit_header
        short_form, standard = _SHORT_FORM.get, STANDARD_VRS.get
        max_binary = limits.MAX_KEPT_BINARY
        max_value = max(limits.MAX_KEPT_VALUE, max_binary, _MAX_SHORT_FORM)
        patterns, content = self._patterns, self._content - base
        cache = None
        if self._cache is not None and not swapped and self._upper == _FIRST_PIXEL_DATA:
            cache = self._cache.segments(implicit=self._implicit_data_set)
        headers_read = 0
        vr: str | None
        step: NeedMore | Stopped

        while True:
            if position > available:  # a value is skipped: go on behind it
                start = elements[-1][3] if elements and elements[-1][2] is None else self.fed
                self.skipped.append((start, base + position))
                base, stop, bound = base + position, stop - position, bound - position
                content, buffer, position, available = content - position, b"", 0, 0
                within = min(bound, 0)
                self._buffer, self.fed = buffer, base
            if elements is None:
                # Between two items of the innermost sequence.
                closing = bounded and position >= bound
                if not closing:
                    if position + 8 > available:
                        step = NeedMore(self.fed, base + position + 8)
                        break
                    group, element, length = implicit_header(buffer, position)
                    headers_read += 1
                    tag = group << 16 | element
                    if tag == SEQUENCE_DELIMITATION:
                        closing = True
                    elif tag != ITEM:
                        raise MalformedError(
                            f"expected an item, found ({group:04X},{element:04X})", offset=base + position
                        )
                    position += 8
                if closing:
                    sequence, outer, outer_sequence = stack.pop()
                    tag, of_items, start, value = sequence
                    elements, stop, implicit, self._private, content = outer
                    length = base + position - (0 if bounded else 8) - value
                    elements.append((tag, of_items, items, value, length))
                    items, bounded, items_implicit, bound = outer_sequence
                    stop, content, bound = stop - base, content - base, bound - base
                    if not stack and cache is not None and start >= base and not tag & 0x10000:
                        # Not a private one, because its creator is outside and may make it no sequence.
                        cache.keep(buffer[start - base : position], elements[-1:], start)
                    if not stack:
                        lower, upper, bound = self._lower, self._upper, self.size - base
                    within = min(bound, available)
                elif items is None:  # a fragment
                    position += length
                    if length == UNDEFINED_LENGTH or position > bound:
                        raise self._too_long(tag, base + position - length, length, base + bound)
                else:
                    self._counted += 1
                    if len(items.parts) >= MIN_ITEMS and not swapped:
                        key = (stack[-1][0][0], length, items_implicit)
                        found = patterns.find(key, buffer, position - 8, within, base)
                        if found is not None:
                            run, count = found
                            items.parts.append(run)
                            headers_read += count - 1
                            self._counted += count - 1
                            position += len(run) * run.size - 8
                            continue
                    elements = []
                    items.parts.append(elements)
                    self._private = None
                    implicit = items_implicit
                    content = position
                    # An item that is longer than its sequence ends with it.
                    stop = _FAR if length == UNDEFINED_LENGTH else min(position + length, bound)
                continue

            if position >= stop:
                self._counted += len(elements)
                if items is not None and len(items.parts) > MIN_ITEMS and content >= 8 and not swapped:
                    key = (stack[-1][0][0], stop - content, items_implicit)
                    patterns.learn(key, buffer[content - 8 : position], elements, base + content - 8)
                elements = None
                continue
            if position + 8 > available:
                if not stack and base + position + 8 > self.size:
                    step = self._at_end(base + position)
                else:
                    step = NeedMore(self.fed, base + position + 8)
                break

            if cache is not None and not stack:
                segment = cache.find(buffer[position : position + 8])
                if segment is not None and buffer.startswith(segment[0], position, max(within, 0)):
                    shift = base + position - segment[2]
                    elements += moved(segment[1], shift) if shift else segment[1]
                    headers_read += len(segment[1])
                    position += len(segment[0])
                    continue
            if implicit:
                group, element, length = implicit_header(buffer, position)
                tag = group << 16 | element
                vr = standard(tag)
                value = position + 8
                end = value + length
                start, before = position, len(elements)
                # The fast path, for values that cannot be items.
                while (
                    length <= max_binary and end <= within and vr in SHORT_FORM_VRS and lower <= tag < upper
                ):
                    elements.append((tag, vr, buffer[value:end], base + value, length))
                    position = end
                    if (
                        position + 8 > available
                        or position >= stop
                        or len(elements) - before == SEGMENT_ELEMENTS
                    ):
                        break
                    group, element, length = implicit_header(buffer, position)
                    tag = group << 16 | element
                    vr = standard(tag)
                    value = position + 8
                    end = value + length
                if position > start:
                    headers_read += len(elements) - before
                    if cache is not None and not stack:
                        cache.keep(buffer[start:position], elements[before:], base + start)
                    continue
            else:
                group, element, raw_vr, length = explicit_header(buffer, position)
                vr = short_form(raw_vr)
                if not swapped:
                    # The fast path, for nearly all elements: short form, and complete in the buffer.
                    append, last = elements.append, min(stop - 1, available - 8)
                    start, before, ended = position, len(elements), False
                    for _ in _SEGMENT if cache is not None and not stack else _ENDLESS:
                        if vr is None:
                            break
                        value = position + 8
                        end = value + length
                        tag = group << 16 | element
                        if end > within or tag >= upper or tag < lower:
                            break
                        append((tag, vr, buffer[value:end], base + value, length))
                        position = end
                        if position > last:
                            ended = True
                            break
                        group, element, raw_vr, length = explicit_header(buffer, position)
                        vr = short_form(raw_vr)
                    else:
                        ended = True
                    if position > start:
                        headers_read += len(elements) - before
                        if cache is not None and not stack:
                            cache.keep(buffer[start:position], elements[before:], base + start)
                    if ended:
                        continue
                tag = group << 16 | element
                value = position + 8
                if vr is None:
                    vr = _LONG_FORM.get(raw_vr)
                    if vr is not None:
                        value = position + 12
                        if value > available:
                            step = NeedMore(self.fed, base + value)
                            break
                        length = self._long_length(buffer, position + 8)[0]
                        if vr == "UN":
                            vr = self._unknown_vr(tag, length, elements)
                    elif _is_vr_like(raw_vr):
                        # An unknown value representation: other readers take it for short form.
                        vr = self._unknown_vr(tag, length, elements)
                    else:
                        # PS3.5 has no implicit element among explicit ones, but files do.
                        if tag < 0xFFFE0000:  # delimitations never have a VR
                            implicit = not elements
                            if not stack:
                                cache = self._cache = None  # its segments are in the other encoding
                        length = implicit_header(buffer, position)[2]
                        vr = standard(tag)
            if vr is None:
                if tag >= 0xFFFE0000:  # a delimitation, or an item out of place
                    if tag not in (ITEM_DELIMITATION, SEQUENCE_DELIMITATION):
                        raise MalformedError(
                            f"({group:04X},{element:04X}) out of place", offset=base + position
                        )
                    headers_read += 1
                    if tag == ITEM_DELIMITATION or not stack:
                        position += 8
                    if stack:  # else it is out of place: pydicom ends there silently
                        self._counted += len(elements)
                        if (
                            stop == _FAR
                            and items is not None
                            and len(items.parts) > MIN_ITEMS
                            and content >= 8
                        ):
                            key = (stack[-1][0][0], UNDEFINED_LENGTH, items_implicit)
                            if tag == ITEM_DELIMITATION and not swapped:
                                patterns.learn(
                                    key, buffer[content - 8 : position], elements, base + content - 8
                                )
                        elements = None
                    continue
                # With undefined length, the bytes behind decide whether it is a sequence.
                vr = "UN" if length == UNDEFINED_LENGTH else self._unknown_vr(tag, 0, elements)

            if (tag >= upper or tag < lower) and (tag in PIXEL_DATA_TAGS or upper != _FIRST_PIXEL_DATA):
                step = Stopped(base + position, tag, vr, base + value, length)
                break

            end = value + length
            if vr == "SQ" or length == UNDEFINED_LENGTH:
                # The value need not be items: some writers put text where the dictionary has a sequence.
                if length >= 8 and value + 8 > available:
                    step = NeedMore(self.fed, base + value + 8)
                    break
                if length:
                    group, element, _ = implicit_header(buffer, value) if length >= 8 else (0, 0, 0)
                    vr = self._vr_of_items(vr, group << 16 | element, length, base + value)
            if end <= within and (vr != "SQ" or not length):
                raw: bytes | Items | None = buffer[value:end]
                if vr == "SQ":
                    raw = Items()
                elif length > max_binary and (vr in BINARY_VRS or length > max_value):
                    raw = None
                elif swapped:
                    raw = _little_endian(buffer[value:end], vr)
                elements.append((tag, vr, raw, base + value, length))
                headers_read += 1
                position = end
                continue

            if vr == "SQ" or length == UNDEFINED_LENGTH:
                if end > bound and length != UNDEFINED_LENGTH:
                    raise self._too_long(tag, base + value, length, base + bound)
                if len(stack) >= limits.MAX_DEPTH:
                    raise HeaderLimitError(
                        f"sequences nested more than {limits.MAX_DEPTH} deep", offset=base + position
                    )
                outer = (elements, base + stop, implicit, self._private, base + content)
                sequence = (tag, vr, base + position, base + value)
                stack.append((sequence, outer, (items, bounded, items_implicit, base + bound)))
                headers_read += 1
                items = Items() if vr == "SQ" else None
                items_implicit = implicit
                bounded = length != UNDEFINED_LENGTH
                if bounded:
                    bound = end
                    within = min(bound, available)
                lower, upper = 0, _FAR
                elements = None
                position = value
                continue

            if end > bound:
                raise self._too_long(tag, base + value, length, base + bound)
            if length > (max_binary if vr in BINARY_VRS else max_value):
                elements.append((tag, vr, None, base + value, length))
                headers_read += 1
                position = end
                continue
            step = NeedMore(self.fed, base + end)
            break

        self.headers_read += headers_read
        self._base, self.position = base, base + position
        self._open, self.implicit, self._stop, self._content = elements, implicit, base + stop, base + content
        self._sequence = (items, bounded, items_implicit, base + bound)
        return step

    def _at_end(self, position: int) -> NeedMore | Stopped:
        """Fewer than eight bytes are left: none, padding, or part of an element."""
        if position <= self.size and self.fed < self.size:
            return NeedMore(self.fed, self.size)
        if position > self.size or any(self._buffer[position - self._base :]):
            raise TruncatedError(f"the object ends at byte {self.size}, inside its header", offset=position)
        return Stopped(self.size)

    def _unknown_vr(self, tag: int, length: int, elements: list[RawElement]) -> str:
        """The VR of an element without one, or with UN (PS3.5 6.2.2)."""
        if length == UNDEFINED_LENGTH:
            return "SQ"  # PS3.5 6.2.2 note 4: UN of undefined length is a sequence
        if tag & 0x10000:
            if self._private is None:
                self._private = PrivateVRs()
            return self._private.vr_of(tag, elements)
        if length < 0xFFFF:  # a longer one may be UN because its VR has a length of 16 bits
            return standard_vr(tag) or "UN"
        return "UN"

    def _vr_of_items(self, vr: str, tag: int, length: int, offset: int) -> str:
        """The VR of a value that should be items and begins with `tag`: SQ, a fragments' VR, or UN."""
        if tag in (ITEM, SEQUENCE_DELIMITATION):
            return "SQ" if vr in ("SQ", "UN") else vr
        if length == UNDEFINED_LENGTH:
            raise MalformedError(
                f"undefined length, but no item ({tag >> 16:04X},{tag & 0xFFFF:04X})", offset=offset
            )
        self._patterns.stop_learning()  # in another item of the same layout it may be a sequence
        return "UN"

    def _too_long(self, tag: int, offset: int, length: int, bound: int) -> MalformedError | TruncatedError:
        what = f"({tag >> 16:04X},{tag & 0xFFFF:04X}) has a length of {length} bytes"
        if bound >= self.size:
            return TruncatedError(f"{what}, the object has {self.size - offset}", offset=offset)
        return MalformedError(f"{what}, its container has {max(0, bound - offset)}", offset=offset)


def _is_vr_like(vr: bytes) -> bool:
    return 0x40 < vr[0] < 0x5B and 0x40 < vr[1] < 0x5B


def _little_endian(raw: bytes, vr: str) -> bytes:
    """The numbers of a big endian value in little endian; other values stay."""
    number_type = _NUMBER_TYPES.get(vr)
    if number_type is None or len(raw) % array(number_type).itemsize:
        return raw
    numbers = array(number_type, raw)
    numbers.byteswap()
    return numbers.tobytes()
