"""What the parser returns: the header of one object, or which bytes it needs next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from harvester.dicom.element import RawElement


class NeedMore(NamedTuple):
    """The parser needs the bytes from `start` up to at least `stop`.

    `last` is true if the header is complete with them: reading ahead would be useless.
    """

    start: int
    stop: int
    last: bool = False


@dataclass(slots=True)  # not frozen: one is made for each object, and that would take three times as long
class Header:
    """Everything in front of the pixel data of one object.

    Offsets are bytes from the object's start. Where `deflated`, they count inflated bytes behind the File
    Meta Information (PS3.5 A.5) and are of no use for range requests.

    Attributes:
        elements: File Meta Information, command set and data set, in this order.
        preamble: `none`, `zero`, `tiff` or `other` (PS3.10 7.1).
        transfer_syntax_uid: From the File Meta Information; None if it has none.
        implicit: Whether the data set is in implicit VR, as found.
        big_endian: Whether the data set is in big endian; the values in `elements` are in little endian.
        deflated: Whether the data set is deflated.
        header_bytes: The offset of the pixel data element; the object's size if it has none.
        irregularities: Path, VR and reason of what breaks the encoding rules and was read all the same.
        pixel_data_keyword: PixelData, FloatPixelData or DoubleFloatPixelData.
        pixel_data_offset: Where the value of the pixel data starts.
        pixel_data_length: Its length in bytes; None if encapsulated.
        encapsulated: Whether the pixel data has undefined length (PS3.5 A.4).
        basic_offset_table: Whether the first item holds a table; None if not encapsulated.
        extended_offset_table: Whether (7FE0,0001) holds a table; None if not encapsulated.
        known_values: The raw values of some elements, found without a look at `elements`; None: absent.
    """

    elements: Sequence[RawElement] = field(repr=False)
    preamble: str
    transfer_syntax_uid: str | None
    implicit: bool
    big_endian: bool
    deflated: bool
    header_bytes: int
    irregularities: tuple[tuple[str, str, str], ...] = ()
    pixel_data_keyword: str | None = None
    pixel_data_offset: int | None = None
    pixel_data_length: int | None = None
    encapsulated: bool | None = None
    basic_offset_table: bool | None = None
    extended_offset_table: bool | None = None
    known_values: Mapping[int, bytes | None] = field(default_factory=dict, repr=False, compare=False)

    def value(self, tag: int) -> bytes | None:
        """The raw value of an element outside of sequences; None if it has none or was skipped."""
        if tag in self.known_values:
            return self.known_values[tag]
        raw = next((one[2] for one in reversed(self.elements) if one[0] == tag), None)  # the last one counts
        return raw if isinstance(raw, bytes) else None
