"""Finds where the data elements of a data set lie, in bytes that arrive piece by piece.

The walker decides *where* elements are, those in sequences included, and not what they mean. It is one loop
over one buffer with a stack of open sequences: it can stop at any byte and go on without reading an element
twice, and nesting costs no call. Where it stops it returns which bytes it needs. A long binary value is
skipped: its bytes are never requested.
"""

import re
import struct
from array import array
from itertools import repeat
from typing import Final, NamedTuple, TypeAlias

from pydicom.uid import UID_dictionary  # type: ignore[attr-defined]

from harvester.dicom import header_limits
from harvester.dicom.dictionary import (
    BINARY_VRS,
    BITS_ALLOCATED,
    ITEM,
    ITEM_DELIMITATION,
    LONG_FORM_VRS,
    ROWS,
    SEQUENCE_DELIMITATION,
    SHORT_FORM_VRS,
    SOP_CLASS_UID,
    SOP_INSTANCE_UID,
    STANDARD_VRS,
    PrivateVRs,
    name_of,
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
_PADDING: Final = bytes(8)
_NO_VR: Final = bytes(2)
_ITEM: Final = struct.pack("<HH", ITEM >> 16, ITEM & 0xFFFF)
_BIG_ENDIAN_ITEM: Final = struct.pack(">HH", ITEM >> 16, ITEM & 0xFFFF)
_MANY_ZEROS: Final = 1 << 16  # bytes
_MAX_SHORT_FORM: Final = 0xFFFF  # bytes of a value, PS3.5 7.1.2: always kept
_IMAGE_STORAGE: Final = re.compile(r"Image|Segmentation Storage|Parametric Map|RT Dose Storage|Video").search
_SHORT_FORM: Final = {vr.encode(): vr for vr in SHORT_FORM_VRS}
_LONG_FORM: Final = {vr.encode(): vr for vr in LONG_FORM_VRS}
_VRS: Final = frozenset((*_SHORT_FORM, *_LONG_FORM))
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


class _View(NamedTuple):
    """The buffer, the offset in the object of its first byte, and whether it is in big endian here."""

    buffer: bytes
    base: int
    swapped: bool


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

    Call `feed` with the object's bytes from offset `fed` on, then `walk`; repeat while that returns
    `NeedMore`.

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
        self.irregularities: list[tuple[str, str, str]] = []  # path, VR and reason
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
        self._little_from = -1  # the depth at which little endian begins in a big endian object
        self._lower, self._upper = 0, _FIRST_PIXEL_DATA
        self.set_encoding(implicit=False, big_endian=False)

    def set_encoding(self, *, implicit: bool, big_endian: bool) -> None:
        """Set the encoding of the elements from here on (PS3.5 annex A)."""
        self.implicit = self._implicit_data_set = implicit
        self.big_endian = big_endian

    def only_tags(self, lower: int = 1, upper: int = _FIRST_PIXEL_DATA) -> None:
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
        if self._pending:
            self._join()
        start = self.position - self._base
        return self._buffer[start : start + length]

    def rest(self) -> bytes:
        """All bytes that were fed and not walked over."""
        self._join()
        return self._buffer[self.position - self._base :]

    def missing(self, length: int) -> NeedMore | None:
        """What is missing of the next `length` bytes; None if they are there or the object ends."""
        if self.position + length <= self.fed:
            return None
        wanted = min(self.position + length, self.size)
        return NeedMore(self.fed, wanted) if wanted > self.fed else None

    def walk(self) -> NeedMore | Stopped:
        """Walk as far as the fed bytes reach.

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
        if self._counted + len(self._open or ()) > header_limits.MAX_ELEMENTS:
            raise HeaderLimitError(
                f"the header has more than {header_limits.MAX_ELEMENTS} elements", offset=self.position
            )
        return step

    def _join(self) -> None:
        if self._pending:
            # A sequence that is given up for what reaches beyond its end is left at that end.
            start = min(self.position, self._sequence[3]) if self._stack else self.position
            self._buffer = b"".join((self._buffer[start - self._base :], *self._pending))
            self._base = start
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
        stop, implicit, little_from = self._stop - base, self.implicit, self._little_from
        swapped = self.big_endian and little_from < 0
        explicit_header, implicit_header, long_length = _BIG_ENDIAN if swapped else _LITTLE_ENDIAN
        items, bounded, items_implicit, bound = self._sequence
        bound -= base  # no element may reach further
        if not stack:
            bound = self.size - base
        within = min(bound, available)
        lower, upper = (1, _FAR) if stack else (self._lower, self._upper)
        short_form, standard = _SHORT_FORM.get, STANDARD_VRS.get
        max_binary = header_limits.MAX_KEPT_BINARY
        max_value = max(header_limits.MAX_KEPT_VALUE, max_binary, _MAX_SHORT_FORM)
        patterns, content = self._patterns, self._content - base
        cache = None
        if self._cache is not None and not swapped and self._upper == _FIRST_PIXEL_DATA:
            cache = self._cache.segments(implicit=self._implicit_data_set)
        headers_read = 0
        vr: str | None
        step: NeedMore | Stopped
        failure: MalformedError | TruncatedError | None = None
        unknown = False  # UN in big endian

        while True:
            if failure is not None:  # keep the innermost sequence of defined length as UN, go on behind it
                position = bound = self._give_up(failure, base + bound, bounded=bounded) - base
                items, bounded, elements, cache, failure = None, True, None, None, None
                within = min(bound, available)
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
                    if tag == SEQUENCE_DELIMITATION and not (bounded and position + 8 < bound):
                        closing = True
                    elif tag in (SEQUENCE_DELIMITATION, ITEM_DELIMITATION):
                        self._note(tag, "a delimitation out of place", items)
                        cache = None
                        position += 8
                        continue
                    elif tag != ITEM:
                        where = base + position
                        if buffer[position : position + 8] == _PADDING:
                            raise TruncatedError("zero bytes in place of an item", offset=where)
                        failure = MalformedError(
                            f"expected an item, found ({group:04X},{element:04X})", offset=where
                        )
                        continue
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
                    within = min(available, bound)
                    if len(stack) <= little_from:
                        little_from, swapped = -1, True
                        explicit_header, implicit_header, long_length = _BIG_ENDIAN
                elif items is None:  # a fragment
                    position += length
                    if length == UNDEFINED_LENGTH or position > bound:
                        failure = self._too_long(tag, base + position - length, length, base + bound)
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
                    stop = bound if bounded else _FAR
                    if length != UNDEFINED_LENGTH:
                        stop = min(bound, position + length)
                continue

            if position >= stop:
                self._counted += len(elements)
                if items is not None and len(items.parts) > MIN_ITEMS and content >= 8 and not swapped:
                    key = (stack[-1][0][0], stop - content, items_implicit)
                    if patterns.worth_learning(key, position - content):
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
            if implicit and stack and not elements and buffer[position + 4 : position + 6] in _VRS:
                explicit = self._is_explicit(_View(buffer, base, swapped), position, min(stop, bound))
                if isinstance(explicit, NeedMore):
                    step = explicit
                    break
                implicit = not explicit
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
                if vr is None and (tag or lower != 1):
                    vr = _LONG_FORM.get(raw_vr)
                    if vr is not None:
                        value = position + 12
                        if value > available:
                            step = NeedMore(self.fed, base + value)
                            break
                        length = long_length(buffer, position + 8)[0]
                        if vr == "UN":
                            vr = self._unknown_vr(tag, length, elements)
                            unknown = swapped  # PS3.5 6.2.2: its value is in little endian
                    elif tag >= 0xFFFE0000:  # a delimitation, which never has a VR
                        length = implicit_header(buffer, position)[2]
                    else:
                        # An unknown VR, or none: the short form if an element follows its length.
                        end = min(stop, bound)
                        short: bool | NeedMore = False  # of undefined length is no short form
                        if implicit_header(buffer, position)[2] != UNDEFINED_LENGTH:
                            short = self._begins_element(
                                _View(buffer, base, swapped), value + length, tag, end
                            )
                        if isinstance(short, NeedMore):
                            step = short
                            break
                        if not short and _is_vr_like(raw_vr):
                            # Every VR that was added to PS3.5 since 1998 has the long form.
                            if not length and value + 4 > available:
                                step = NeedMore(self.fed, base + value + 4)
                                break
                            long_form = 0 if length else long_length(buffer, value)[0]
                            if not length and (
                                long_form == UNDEFINED_LENGTH or value + 4 + long_form <= bound
                            ):
                                length = long_form
                                value += 4
                        elif (
                            not short
                            and not length
                            and (long := self._is_long_form(_View(buffer, base, swapped), position, end))
                        ):
                            if isinstance(long, NeedMore):
                                step = long
                                break
                            length = long_length(buffer, value)[0]
                            value += 4
                        elif not short:
                            # PS3.5 has no implicit element among explicit ones, but files do.
                            implicit = not elements
                            length = implicit_header(buffer, position)[2]
                        if not stack:
                            cache = self._cache = None  # its segments are in the usual encoding
                        vr = self._unknown_vr(tag, length, elements) if raw_vr.isalpha() else standard(tag)
            if (
                not tag
                and lower == 1
                and ((found_vr := buffer[position + 4 : position + 6]) == _NO_VR or not implicit)
                and found_vr not in _VRS
            ):
                try:
                    after = self._behind_padding(
                        _View(buffer, base, swapped), position, min(stop, bound), elements, items
                    )
                except MalformedError as error:
                    failure = error
                    continue
                if not isinstance(after, int):
                    step = after
                    break
                position, cache = after, None
                continue
            if vr is None:
                if tag >= 0xFFFE0000:  # a delimitation, or an item out of place
                    if tag not in (ITEM_DELIMITATION, SEQUENCE_DELIMITATION) and (stack or tag != ITEM):
                        failure = MalformedError(
                            f"({group:04X},{element:04X}) out of place", offset=base + position
                        )
                        continue
                    headers_read += 1
                    of_item = tag == ITEM_DELIMITATION
                    if not stack or (bounded and not (of_item and stop == bound)):
                        # Out of place: pydicom ends the data set there; here a defined length rules.
                        if position + 8 != stop:
                            self._note(tag, "a delimitation out of place", items)
                            cache = None
                        position += 8
                        continue
                    position += 8 if of_item else 0
                    self._counted += len(elements)
                    if of_item and items is not None and len(items.parts) > MIN_ITEMS and content >= 8:
                        key = (stack[-1][0][0], UNDEFINED_LENGTH, items_implicit)
                        if not swapped and patterns.worth_learning(key, position - content):
                            patterns.learn(key, buffer[content - 8 : position], elements, base + content - 8)
                    elements = None
                    continue
                # With undefined length, the bytes behind decide whether it is a sequence.
                vr = "UN" if length == UNDEFINED_LENGTH else self._unknown_vr(tag, 0, elements)

            if (
                not stack
                and (tag >= upper or tag < lower)
                and (tag in PIXEL_DATA_TAGS or upper != _FIRST_PIXEL_DATA)
            ):
                step = Stopped(base + position, tag, vr, base + value, length)
                break

            end = value + length
            if vr == "SQ" or length == UNDEFINED_LENGTH:
                # The value need not be items: some writers put text where the dictionary has a sequence.
                if length >= 8 and value + 8 > available:
                    step = NeedMore(self.fed, base + value + 8)
                    break
                if length and (swapped or vr != "SQ" or length < 8 or buffer[value : value + 4] != _ITEM):
                    unknown = unknown and buffer[value : value + 4] != _BIG_ENDIAN_ITEM  # as some writers do
                    header = _LITTLE_ENDIAN[1] if unknown else implicit_header
                    group, element, _ = header(buffer, value) if length >= 8 else (0, 0, 0)
                    expected, vr = vr, self._vr_of_items(vr, group << 16 | element, length)
                    complete = end <= within or max_binary < length <= bound - value  # else read again
                    if expected == "SQ" and vr == "UN" and complete:
                        self._note(tag, f"kept as UN: no item ({group:04X},{element:04X})", items)
                        cache = None
                    if vr is None:
                        failure = MalformedError(
                            f"undefined length, but no item ({group:04X},{element:04X})", offset=base + value
                        )
                        continue
            if end <= within and (vr != "SQ" or not length):
                raw: bytes | Items | None = buffer[value:end]
                if vr == "SQ":
                    raw = Items()
                elif length > max_binary and (vr in BINARY_VRS or length > max_value):
                    raw = None
                elif swapped and not unknown:
                    raw = _little_endian(buffer[value:end], vr)
                unknown = False
                elements.append((tag, vr, raw, base + value, length))
                headers_read += 1
                position = end
                continue

            if vr == "SQ" or length == UNDEFINED_LENGTH:
                if end > bound and length != UNDEFINED_LENGTH:
                    failure = self._too_long(tag, base + value, length, base + bound)
                    continue
                if len(stack) >= header_limits.MAX_DEPTH:
                    raise HeaderLimitError(
                        f"sequences nested more than {header_limits.MAX_DEPTH} deep", offset=base + position
                    )
                outer = (elements, base + stop, implicit, self._private, base + content)
                sequence = (tag, vr, base + position, base + value)
                stack.append((sequence, outer, (items, bounded, items_implicit, base + bound)))
                headers_read += 1
                items = Items() if vr == "SQ" else None
                items_implicit = implicit
                if unknown and items is not None:
                    little_from, swapped, items_implicit = len(stack) - 1, False, True
                    explicit_header, implicit_header, long_length = _LITTLE_ENDIAN
                unknown = False
                bounded = length != UNDEFINED_LENGTH
                if bounded:
                    bound = end
                    within = min(available, bound)
                lower, upper = 1, _FAR
                elements = None
                position = value
                continue

            if end > bound:
                failure = self._too_long(tag, base + value, length, base + bound)
                continue
            if length > (max_binary if vr in BINARY_VRS else max_value):
                elements.append((tag, vr, None, base + value, length))
                headers_read += 1
                position = end
                unknown = False
                continue
            step = NeedMore(self.fed, base + end)
            break

        self.headers_read += headers_read
        self._base, self.position = base, base + position
        self._open, self.implicit, self._stop, self._content = elements, implicit, base + stop, base + content
        self._sequence = (items, bounded, items_implicit, base + bound)
        self._little_from = little_from
        return step

    def _begins_element(
        self, view: _View, at: int, after: int, end: int, *, implicit: bool = False
    ) -> bool | NeedMore:
        """Whether an element with a tag above `after` begins at `at`, or the data set ends there."""
        buffer, base, swapped = view
        end = min(end, self.size - base)
        if at >= end or at + 8 > end:
            return at == end
        if at + 8 > len(buffer):
            return NeedMore(base + len(buffer), base + at + 8)
        structs = _BIG_ENDIAN if swapped else _LITTLE_ENDIAN
        group, element, vr, _ = structs[0](buffer, at)
        tag = group << 16 | element
        if tag >= 0xFFFE0000:
            return tag in (ITEM_DELIMITATION, SEQUENCE_DELIMITATION)
        if tag <= after or not implicit:
            return tag > after and vr in _VRS
        length = structs[1](buffer, at)[2]
        known = group % 2 == 1 or tag in STANDARD_VRS
        return known and (length == UNDEFINED_LENGTH or bool(at + 8 + length <= end))

    def _is_explicit(self, view: _View, at: int, end: int) -> bool | NeedMore:
        """Whether the first element of an item in an implicit data set has a VR: some writers mix both."""
        buffer, base, swapped = view
        structs = _BIG_ENDIAN if swapped else _LITTLE_ENDIAN
        group, element, vr, length = structs[0](buffer, at)
        if vr in _SHORT_FORM:
            return self._begins_element(view, at + 8 + length, group << 16 | element, end)
        if length or at + 12 > min(end, self.size - base):
            return False
        if at + 12 > len(buffer):
            return NeedMore(base + len(buffer), base + at + 12)
        length = structs[2](buffer, at + 8)[0]
        return length == UNDEFINED_LENGTH or bool(at + 12 + length <= end)

    def _is_long_form(self, view: _View, at: int, end: int) -> bool | NeedMore:
        """Whether an element with no letters for a VR has the long form, because it cannot be implicit."""
        buffer, base, swapped = view
        structs = _BIG_ENDIAN if swapped else _LITTLE_ENDIAN
        end = min(end, self.size - base)
        if at + 12 > end:
            return False
        if at + 20 > len(buffer) and len(buffer) < end:
            return NeedMore(base + len(buffer), base + min(at + 20, end))
        group, element, implicit_length = structs[1](buffer, at)
        tag = group << 16 | element
        for implicit in (False, True):
            begins = self._begins_element(view, at + 8 + implicit_length, tag, end, implicit=implicit)
            if begins:
                return begins if isinstance(begins, NeedMore) else False
        length = structs[2](buffer, at + 8)[0]
        if length == UNDEFINED_LENGTH:
            group, element, _ = structs[1](buffer, at + 12) if at + 20 <= end else (0, 0, 0)
            return group << 16 | element in (ITEM, SEQUENCE_DELIMITATION)
        if at + 12 + length > end or length > header_limits.MAX_KEPT_BINARY:
            return bool(at + 12 + length <= end)
        return self._begins_element(view, at + 12 + length, tag, end)

    def _behind_padding(
        self, view: _View, position: int, end: int, elements: list[RawElement], items: Items | None
    ) -> int | NeedMore | Stopped:
        """Where the walk continues after zero bytes in place of an element.

        Raises:
            TruncatedError: The pixel data of an image is missing: the object was cut and filled with zeros.
            MalformedError: What follows the zeros is no element.
        """
        buffer, base, _ = view
        end = min(end, self.size - base)
        run = buffer[position:end]
        zeros = len(run) - len(run.lstrip(b"\0"))
        at = position + zeros
        if not self._stack and (at == end or zeros >= _MANY_ZEROS) and _lacks_pixel_data(elements):
            raise TruncatedError("zero bytes in place of the rest of an image", offset=base + position)
        if at < end and at == len(buffer):
            return NeedMore(base + at, min(base + at + max(zeros, _MANY_ZEROS), self.size))
        if at < end:
            at -= zeros % 2
            after = elements[-1][0] if elements else 0
            begins = self._begins_element(view, at, after, end, implicit=self.implicit)
            if isinstance(begins, NeedMore):
                return begins
            if not begins:
                raise MalformedError(f"{zeros} zero bytes in place of an element", offset=base + position)
        self._note(0, f"{zeros} zero bytes in place of an element", items)
        return at if at < end or self._stack else Stopped(self.size)

    def _give_up(self, failure: MalformedError | TruncatedError, bound: int, *, bounded: bool) -> int:
        """Turn the innermost sequence of defined length into UN, and return where it ends.

        Raises:
            MalformedError: There is none: the header cannot be followed.
            TruncatedError: The object ends.
        """
        stack = self._stack
        level = len(stack) - 1
        while level >= 0 and not bounded:
            _, bounded, _, bound = stack[level][2]
            level -= 1
        if level < 0 or isinstance(failure, TruncatedError):
            raise failure
        del stack[level + 1 :]
        (tag, _, start, value), outer, outer_sequence = stack.pop()
        self._note(tag, f"kept as UN: {failure}", outer_sequence[0])
        stack.append(((tag, "UN", start, value), outer, outer_sequence))
        return bound

    def _note(self, tag: int, reason: str, items: Items | None) -> None:
        """Record an irregularity of the encoding, and cache nothing of this header from here on."""
        self._cache = None
        self._patterns.stop_learning()
        if len(self.irregularities) >= header_limits.MAX_IRREGULARITIES:
            return
        parts = [name_of(tag)]
        for sequence, _, outer_sequence in reversed(self._stack):
            parts.append(f"{name_of(sequence[0])}[{max(0, len(items or ()) - 1)}].")
            items = outer_sequence[0]
        self.irregularities.append(("".join(reversed(parts)), "", reason))
        if len(self.irregularities) == header_limits.MAX_IRREGULARITIES:
            self.irregularities.append(("", "", "more irregularities, which are not listed"))

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

    def _vr_of_items(self, vr: str, tag: int, length: int) -> str | None:
        """The VR of a value that should be items and begins with `tag`: SQ, a fragments' VR, UN, or None."""
        if tag in (ITEM, SEQUENCE_DELIMITATION) or (tag == ITEM_DELIMITATION and vr == "SQ"):
            return "SQ" if vr in ("SQ", "UN") else vr
        if length == UNDEFINED_LENGTH:
            return None
        self._patterns.stop_learning()  # in another item of the same layout it may be a sequence
        return "UN"

    def _too_long(self, tag: int, offset: int, length: int, bound: int) -> MalformedError | TruncatedError:
        what = f"({tag >> 16:04X},{tag & 0xFFFF:04X}) has a length of {length} bytes"
        if bound >= self.size:
            return TruncatedError(f"{what}, but {self.size - offset} are left", offset=offset)
        left = max(0, bound - offset)
        return MalformedError(f"{what}, but {left} are left in its container", offset=offset)


def _lacks_pixel_data(elements: list[RawElement]) -> bool:
    """Whether a data set that ends here is an image without its pixel data, or has no SOP Instance UID."""
    for tag, _, raw, _, _ in elements:
        if tag == SOP_CLASS_UID and isinstance(raw, bytes):
            uid = UID_dictionary.get(raw.decode("latin-1").strip(" \0"))
            if uid is not None and _IMAGE_STORAGE(uid[0]):
                return True
        if tag in (ROWS, BITS_ALLOCATED):
            return True
    return 0x00080000 < elements[-1][0] < SOP_INSTANCE_UID if elements else False


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
