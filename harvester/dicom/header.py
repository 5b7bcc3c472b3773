"""What a header is once it is whole: its elements, and where the pixel data lies."""

from dataclasses import dataclass, field

from harvester.dicom.element import RawElement


@dataclass(frozen=True, slots=True)
class Header:
    """Everything in front of the pixel data of one object.

    Offsets are in bytes from the object's start; where `deflated`, from the start of what the object
    is when its data set is inflated (PS3.5 A.5), so that they can't be used for range requests.

    Attributes:
        elements: File Meta Information, command set and data set, in this order.
        preamble: `none`, `zero`, `tiff` or `other` (PS3.10 7.1).
        transfer_syntax_uid: As the File Meta Information has it; None where it has none.
        implicit: Whether the data set is in implicit VR, as found, not as promised.
        big_endian: Whether the object's byte order is big endian; the elements' values are not.
        deflated: Whether the data set is deflated.
        header_bytes: The offset of the pixel data element, or the object's size where it has none.
        pixel_data_keyword: PixelData, FloatPixelData or DoubleFloatPixelData.
        pixel_data_offset: Where the value of the pixel data starts.
        pixel_data_length: Its length in bytes; None where it is encapsulated.
        encapsulated: Whether the pixel data is encapsulated (PS3.5 A.4), as found: by its undefined length.
        basic_offset_table: Whether the first item holds a table; None where not encapsulated.
        extended_offset_table: Whether (7FE0,0001) holds one; None where not encapsulated.
    """

    elements: list[RawElement] = field(repr=False)
    preamble: str
    transfer_syntax_uid: str | None
    implicit: bool
    big_endian: bool
    deflated: bool
    header_bytes: int
    pixel_data_keyword: str | None = None
    pixel_data_offset: int | None = None
    pixel_data_length: int | None = None
    encapsulated: bool | None = None
    basic_offset_table: bool | None = None
    extended_offset_table: bool | None = None
