"""Finds where the data elements of a data set lie, in bytes that arrive piece by piece.

The walker decides *where* elements are, nested sequences included, and nothing of what they mean. It
is one loop over one buffer with its own stack of open sequences, so that it can stop at any byte and
go on later without looking at an element twice, and so that nesting costs no call. Where it stops it
says which bytes it needs. A binary value longer than what is worth keeping is never asked for: the
walker hops over it.
"""

import struct
from itertools import repeat
from typing import Final, TypeAlias

from harvester.dicom.byte_order import little_endian
from harvester.dicom.dictionary import (
    BINARY_VRS,
    ITEM,
    ITEM_DELIMITATION,
    LONG_FORM_VRS,
    SEQUENCE_DELIMITATION,
    SHORT_FORM_VRS,
    STANDARD_VRS,
    standard_vr,
)
from harvester.dicom.element import UNDEFINED_LENGTH, Items, RawElement
from harvester.dicom.element_cache import LONGEST_STRETCH, HeaderMemory, moved
from harvester.dicom.item_patterns import FEWEST_ITEMS, ItemPatterns
from harvester.dicom.limits import WalkLimits
from harvester.dicom.private import PrivateCreators
from harvester.dicom.steps import NeedMore, Stopped
from harvester.errors import HeaderLimitError, MalformedError, TruncatedError

PIXEL_DATA_TAGS: Final = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})

_FIRST_PIXEL_DATA: Final = min(PIXEL_DATA_TAGS)
_STRETCH: Final = range(LONGEST_STRETCH)
_ENDLESS: Final = repeat(None)
_FAR: Final = 1 << 62  # behind every object's end
_LONGEST_SHORT_FORM: Final = 0xFFFF  # bytes of a value, PS3.5 7.1.2: always read
_SHORT_FORM: Final = {vr.encode(): vr for vr in SHORT_FORM_VRS}
_LONG_FORM: Final = {vr.encode(): vr for vr in LONG_FORM_VRS}
# The header of an element in explicit and in implicit VR, and the length of a long form.
_LITTLE_ENDIAN: Final = tuple(struct.Struct(form).unpack_from for form in ("<HH2sH", "<HHL", "<L"))
_BIG_ENDIAN: Final = tuple(struct.Struct(form).unpack_from for form in (">HH2sH", ">HHL", ">L"))

# An open sequence: its items (None: fragments), whether its own length says where it ends, whether its
# items are in implicit VR, and where it ends at the latest.
_Sequence: TypeAlias = tuple[Items | None, bool, bool, int]
# An open data set: its elements, where it ends, whether it is in implicit VR, its private creators, and
# where its content starts.
_DataSet: TypeAlias = tuple[list[RawElement], int, bool, PrivateCreators | None, int]
# What to go back to when a sequence closes: its own tag, VR, and where it and its value start, the data set
# that holds it, and the sequence that holds that. Offsets are the object's.
_Outer: TypeAlias = tuple[tuple[int, str, int, int], _DataSet, _Sequence]


def _is_vr_like(vr: bytes) -> bool:
    return 0x40 < vr[0] < 0x5B and 0x40 < vr[1] < 0x5B


class Walker:
    """Walks one data set, or the File Meta Information before it, to its end.

    Feed it the object's bytes from `fed` on, then `walk`; again while it says `NeedMore`.

    Args:
        offset: Where the data set starts in the object.
        size: Where the object ends; None while nobody knows.
        limits: Bounds on memory and time.
        memory: What earlier headers had.
    """

    def __init__(
        self, offset: int, size: int | None, limits: WalkLimits, memory: HeaderMemory | None = None
    ) -> None:
        self.size = _FAR if size is None else size
        self.fed = offset  # behind the last byte that was fed: where the next ones belong
        self.position = offset  # of the next element
        self.elements: list[RawElement] = []
        self.hops: list[tuple[int, int]] = []  # over which bytes: from the value's start to where it went on
        self.headers_read = 0  # element and item headers looked at: linear, and tested to be
        self._limits = limits
        self._budget = limits.header_bytes
        self._buffer = b""
        self._base = offset  # the offset in the object of the buffer's first byte
        self._pending: list[bytes] = []
        self._needed = offset
        self._counted = 0  # elements of closed data sets, and items
        self._stack: list[_Outer] = []
        self._open: list[RawElement] | None = self.elements  # None: between two items
        self._stop = _FAR  # where the open data set ends
        self._content = offset  # where the open item's content starts
        self._creators: PrivateCreators | None = None
        self._sequence: _Sequence = (None, False, False, _FAR)  # the innermost open one
        self._patterns = ItemPatterns()
        self._memory = memory
        self._lower, self._upper = 0, _FIRST_PIXEL_DATA
        self.set_encoding(implicit=False, big_endian=False)

    def set_encoding(self, *, implicit: bool, big_endian: bool) -> None:
        """Say how the elements from here on are encoded (PS3.5 annex A)."""
        self.implicit = self._implicit_data_set = implicit
        self.big_endian = big_endian
        structs = _BIG_ENDIAN if big_endian else _LITTLE_ENDIAN
        self._explicit_header, self._implicit_header, self._long_length = structs

    def only_tags(self, lower: int, upper: int) -> None:
        """From here on, collect anew, and stop in front of the first top-level tag outside [lower, upper)."""
        self._lower, self._upper = lower, upper
        self._counted += len(self.elements)
        self.elements = []
        self._open = self.elements
        self._creators = None

    def until_pixel_data(self) -> None:
        """From here on, collect anew, and stop in front of the pixel data."""
        self.only_tags(0, _FIRST_PIXEL_DATA)

    def feed(self, data: bytes) -> None:
        """Take the bytes at `fed`; they are joined only when there are enough of them to go on."""
        self._budget -= len(data)
        self._pending.append(data)
        self.fed += len(data)

    def peek(self, length: int) -> bytes:
        """The next bytes, up to `length` of them, without walking on."""
        self._join()
        return self._buffer[self.position - self._base : self.position - self._base + length]

    def rest(self) -> bytes:
        """All that was fed and not walked over: what a deflated data set begins with."""
        self._join()
        return self._buffer[self.position - self._base :]

    def skip(self, length: int) -> None:
        """Go on `length` bytes further: over a preamble."""
        self.position += length

    def missing(self, length: int) -> NeedMore | None:
        """What is missing of the next `length` bytes; None where they are there or the object ends."""
        wanted = min(self.position + length, self.size)
        return NeedMore(self.fed, wanted) if wanted > self.fed else None

    def walk(self) -> NeedMore | Stopped:
        """Go on as far as the bytes reach.

        Raises:
            TruncatedError: The object ends inside an element.
            MalformedError: The structure cannot be followed.
            HeaderLimitError: A bound is passed.
        """
        if self.fed < min(self._needed, self.size):
            return NeedMore(self.fed, self._needed)
        self._join()
        answer = self._walk()
        if isinstance(answer, NeedMore):
            self._check_length(answer)
            self._needed = answer.stop
        if self._counted + len(self._open or ()) > self._limits.elements:
            raise HeaderLimitError(
                f"the header has more than {self._limits.elements} elements", offset=self.position
            )
        return answer

    def _join(self) -> None:
        if self._pending:
            self._buffer = b"".join((self._buffer[self.position - self._base :], *self._pending))
            self._base = self.position
            self._pending.clear()

    def _check_length(self, answer: NeedMore) -> None:
        if answer.stop > self.size:
            raise TruncatedError(
                f"the object ends at byte {self.size}, inside its header", offset=self.position
            )
        if answer.stop - answer.start > self._budget:
            raise HeaderLimitError(
                f"the header is longer than {self._limits.header_bytes} bytes; "
                "a larger max_header_bytes reads it",
                offset=self.position,
            )

    # This loop is the hot path of the whole harvest: every element of every header passes through it
    # once, and a function call would cost as much as the element itself. Hence one long function.
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
        kept_value = self._limits.kept_value
        longest_value = max(self._limits.longest_value, kept_value, _LONGEST_SHORT_FORM)
        patterns, content = self._patterns, self._content - base
        memory = None
        if self._memory is not None and not swapped and self._upper == _FIRST_PIXEL_DATA:
            memory = self._memory.stretches(implicit=self._implicit_data_set)
        headers_read = 0
        vr: str | None
        answer: NeedMore | Stopped

        while True:
            if position > available:  # a value was hopped over: go on with what lies behind it
                hopped = elements[-1][3] if elements and elements[-1][2] is None else self.fed
                self.hops.append((hopped, base + position))
                base, stop, bound = base + position, stop - position, bound - position
                content, buffer, position, available = content - position, b"", 0, 0
                within = min(bound, 0)
                self._buffer, self.fed = buffer, base
            if elements is None:
                # Between two items of the innermost sequence.
                closing = bounded and position >= bound
                if not closing:
                    if position + 8 > available:
                        answer = NeedMore(self.fed, base + position + 8)
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
                    elements, stop, implicit, self._creators, content = outer
                    length = base + position - (0 if bounded else 8) - value
                    elements.append((tag, of_items, items, value, length))
                    items, bounded, items_implicit, bound = outer_sequence
                    stop, content, bound = stop - base, content - base, bound - base
                    if not stack and memory is not None and start >= base and not tag & 0x10000:
                        # Not a private one: whether it is a sequence its creator decides, who stands outside.
                        memory.keep(buffer[start - base : position], elements[-1:], start)
                    if not stack:
                        lower, upper, bound = self._lower, self._upper, self.size - base
                    within = min(bound, available)
                elif items is None:  # a fragment
                    position += length
                    if length == UNDEFINED_LENGTH or position > bound:
                        raise self._too_long(tag, base + position - length, length, base + bound)
                else:
                    self._counted += 1
                    if len(items.parts) >= FEWEST_ITEMS and not swapped:
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
                    self._creators = None
                    implicit = items_implicit
                    content = position
                    # An item that claims more than its sequence has ends with the sequence.
                    stop = _FAR if length == UNDEFINED_LENGTH else min(position + length, bound)
                continue

            if position >= stop:
                self._counted += len(elements)
                if items is not None and len(items.parts) > FEWEST_ITEMS and content >= 8 and not swapped:
                    key = (stack[-1][0][0], stop - content, items_implicit)
                    patterns.learn(key, buffer[content - 8 : position], elements, base + content - 8)
                elements = None
                continue
            if position + 8 > available:
                if not stack and base + position + 8 > self.size:
                    answer = self._at_end(base + position)
                else:
                    answer = NeedMore(self.fed, base + position + 8)
                break

            if memory is not None and not stack:
                stretch = memory.find(buffer[position : position + 8])
                if stretch is not None and buffer.startswith(stretch[0], position, max(within, 0)):
                    shift = base + position - stretch[2]
                    elements += moved(stretch[1], shift) if shift else stretch[1]
                    headers_read += len(stretch[1])
                    position += len(stretch[0])
                    continue
            if implicit:
                group, element, length = implicit_header(buffer, position)
                tag = group << 16 | element
                vr = standard(tag)
                value = position + 8
                end = value + length
                start, before = position, len(elements)
                # The quick way; values of other VRs could be items.
                while (
                    length <= kept_value and end <= within and vr in SHORT_FORM_VRS and lower <= tag < upper
                ):
                    elements.append((tag, vr, buffer[value:end], base + value, length))
                    position = end
                    if (
                        position + 8 > available
                        or position >= stop
                        or len(elements) - before == LONGEST_STRETCH
                    ):
                        break
                    group, element, length = implicit_header(buffer, position)
                    tag = group << 16 | element
                    vr = standard(tag)
                    value = position + 8
                    end = value + length
                if position > start:
                    headers_read += len(elements) - before
                    if memory is not None and not stack:
                        memory.keep(buffer[start:position], elements[before:], base + start)
                    continue
            else:
                group, element, raw_vr, length = explicit_header(buffer, position)
                vr = short_form(raw_vr)
                if not swapped:
                    # The quick way, for nearly all elements: short form, and all there.
                    append, last = elements.append, min(stop - 1, available - 8)
                    start, before, ended = position, len(elements), False
                    for _ in _STRETCH if memory is not None and not stack else _ENDLESS:
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
                        if memory is not None and not stack:
                            memory.keep(buffer[start:position], elements[before:], base + start)
                    if ended:
                        continue
                tag = group << 16 | element
                value = position + 8
                if vr is None:
                    vr = _LONG_FORM.get(raw_vr)
                    if vr is not None:
                        value = position + 12
                        if value > available:
                            answer = NeedMore(self.fed, base + value)
                            break
                        length = self._long_length(buffer, position + 8)[0]
                        if vr == "UN":
                            vr = self._unknown_vr(tag, length, elements)
                    elif _is_vr_like(raw_vr):
                        # An unknown value representation: the field reads it in the short form.
                        vr = self._unknown_vr(tag, length, elements)
                    else:
                        # PS3.5 knows no implicit element among explicit ones, but writers do.
                        if tag < 0xFFFE0000:  # delimitations have no VR in either
                            implicit = not elements
                            if not stack:
                                memory = self._memory = None  # it knows another encoding
                        length = implicit_header(buffer, position)[2]
                        vr = standard(tag)
            if vr is None:
                if tag >= 0xFFFE0000:  # a delimitation, or an item where none belongs
                    if tag not in (ITEM_DELIMITATION, SEQUENCE_DELIMITATION):
                        raise MalformedError(f"({group:04X},{element:04X}) astray", offset=base + position)
                    headers_read += 1
                    if tag == ITEM_DELIMITATION or not stack:
                        position += 8
                    if stack:  # else astray at the top level: pydicom ends there silently, we go on
                        self._counted += len(elements)
                        if (
                            stop == _FAR
                            and items is not None
                            and len(items.parts) > FEWEST_ITEMS
                            and content >= 8
                        ):
                            key = (stack[-1][0][0], UNDEFINED_LENGTH, items_implicit)
                            if tag == ITEM_DELIMITATION and not swapped:
                                patterns.learn(
                                    key, buffer[content - 8 : position], elements, base + content - 8
                                )
                        elements = None
                    continue
                # Of undefined length, what follows says whether it is a sequence.
                vr = "UN" if length == UNDEFINED_LENGTH else self._unknown_vr(tag, 0, elements)

            if (tag >= upper or tag < lower) and (tag in PIXEL_DATA_TAGS or upper != _FIRST_PIXEL_DATA):
                answer = Stopped(base + position, tag, vr, base + value, length)
                break

            end = value + length
            if vr == "SQ" or length == UNDEFINED_LENGTH:
                # Is it what it says? Writers put text where the dictionary has a sequence.
                if length >= 8 and value + 8 > available:
                    answer = NeedMore(self.fed, base + value + 8)
                    break
                if length:
                    group, element, _ = implicit_header(buffer, value) if length >= 8 else (0, 0, 0)
                    vr = self._kind_of_items(vr, group << 16 | element, length, base + value)
            if end <= within and (vr != "SQ" or not length):
                raw: bytes | Items | None = buffer[value:end]
                if vr == "SQ":
                    raw = Items()
                elif length > kept_value and (vr in BINARY_VRS or length > longest_value):
                    raw = None
                elif swapped:
                    raw = little_endian(buffer[value:end], vr)
                elements.append((tag, vr, raw, base + value, length))
                headers_read += 1
                position = end
                continue

            if vr == "SQ" or length == UNDEFINED_LENGTH:
                if end > bound and length != UNDEFINED_LENGTH:
                    raise self._too_long(tag, base + value, length, base + bound)
                if len(stack) >= self._limits.depth:
                    raise HeaderLimitError(
                        f"sequences nested more than {self._limits.depth} deep", offset=base + position
                    )
                outer = (elements, base + stop, implicit, self._creators, base + content)
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
            if length > (kept_value if vr in BINARY_VRS else longest_value):
                elements.append((tag, vr, None, base + value, length))
                headers_read += 1
                position = end
                continue
            answer = NeedMore(self.fed, base + end)
            break

        self.headers_read += headers_read
        self._base, self.position = base, base + position
        self._open, self.implicit, self._stop, self._content = elements, implicit, base + stop, base + content
        self._sequence = (items, bounded, items_implicit, base + bound)
        return answer

    def _at_end(self, position: int) -> NeedMore | Stopped:
        """Fewer than eight bytes are left: none, or padding, or the object was cut."""
        if position <= self.size and self.fed < self.size:
            return NeedMore(self.fed, self.size)
        if position > self.size or any(self._buffer[position - self._base :]):
            raise TruncatedError(f"the object ends at byte {self.size}, inside its header", offset=position)
        return Stopped(self.size)

    def _unknown_vr(self, tag: int, length: int, elements: list[RawElement]) -> str:
        """The VR of an element that has none, or UN (PS3.5 6.2.2)."""
        if length == UNDEFINED_LENGTH:
            return "SQ"  # PS3.5 6.2.2 note 4: UN of undefined length is a sequence
        if tag & 0x10000:
            if self._creators is None:
                self._creators = PrivateCreators()
            return self._creators.vr_of(tag, elements)
        if length < 0xFFFF:  # longer ones may be UN because their VR's length field is too short
            return standard_vr(tag) or "UN"
        return "UN"

    def _kind_of_items(self, vr: str, tag: int, length: int, offset: int) -> str:
        """What a value is that should be items: SQ, fragments (a binary VR), or no items at all (UN)."""
        if tag in (ITEM, SEQUENCE_DELIMITATION):
            return "SQ" if vr in ("SQ", "UN") else vr
        if length == UNDEFINED_LENGTH:
            raise MalformedError(
                f"undefined length, but no item ({tag >> 16:04X},{tag & 0xFFFF:04X})", offset=offset
            )
        self._patterns.learn_no_more()  # in the next item that is else the same it may be a sequence
        return "UN"

    def _too_long(self, tag: int, offset: int, length: int, bound: int) -> MalformedError | TruncatedError:
        what = f"({tag >> 16:04X},{tag & 0xFFFF:04X}) says {length} bytes"
        if bound >= self.size:
            return TruncatedError(f"{what}, the object has {self.size - offset}", offset=offset)
        return MalformedError(f"{what}, what holds it has {max(0, bound - offset)}", offset=offset)
