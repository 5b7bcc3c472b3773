"""Decodes single frames with pydicom's decoders, as pydicom decodes them from the whole file."""

from typing import TYPE_CHECKING, Final

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import pixel_array
from pydicom.tag import BaseTag
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLossless,
    JPEGLosslessSV1,
)

from harvester.dicom import Header
from harvester.dicom.frames import NativeFrames
from harvester.errors import FrameDecodeError
from harvester.messages import one_line, pip_install

if TYPE_CHECKING:
    import numpy as np

# The attributes of the Image Pixel Module that describe a frame's bytes (PS3.3 C.7.6.3).
_ATTRIBUTES: Final = frozenset(
    {
        0x00280002,  # Samples per Pixel
        0x00280004,  # Photometric Interpretation
        0x00280006,  # Planar Configuration
        0x00280010,  # Rows
        0x00280011,  # Columns
        0x00280100,  # Bits Allocated
        0x00280101,  # Bits Stored
        0x00280102,  # High Bit
        0x00280103,  # Pixel Representation
    }
)
# Decoders for these are under the GPL, or built for some platforms only: the extra `reader` lacks them.
_NOT_IN_READER: Final = (JPEGLossless, JPEGLosslessSV1)
_EMPTY_TABLE: Final = b"\xfe\xff\x00\xe0" + bytes(4)
_DELIMITER: Final = b"\xfe\xff\xdd\xe0" + bytes(4)


def frame_bits(raw: bytes, frames: NativeFrames, number: int) -> bytes:
    """The bytes of one native frame, shifted to start at a byte; unused bits are zero."""
    first = frames.first_bit(number)
    if not first and not frames.bits % 8:
        return raw
    bits = int.from_bytes(raw, "little") >> first & ((1 << frames.bits) - 1)
    return bits.to_bytes((frames.bits + 7) // 8, "little")


def decode(header: Header, frame: bytes, vr: str) -> "np.ndarray":
    """Decode one frame.

    Args:
        header: The object's header.
        frame: The frame's items if the pixel data is encapsulated, else its bytes.
        vr: The pixel data's value representation.

    Returns:
        Pixels of shape (rows, columns) or (rows, columns, samples), as from `pydicom.pixels.pixel_array`:
        YCbCr is converted to RGB.

    Raises:
        FrameDecodeError: The frame is damaged, or its decoder is not installed.
    """
    dataset = single_frame(header, frame, vr)
    missing = _missing(dataset.file_meta.TransferSyntaxUID)
    if missing is not None:
        raise FrameDecodeError(missing)
    try:
        return pixel_array(dataset)
    except Exception as error:  # decoders raise anything on damaged frames
        raise FrameDecodeError(f"it cannot be decoded: {one_line(str(error))}") from error


def single_frame(header: Header, frame: bytes, vr: str) -> Dataset:
    """A data set with one frame and the attributes that describe its bytes."""
    dataset = Dataset()
    for tag, element_vr, raw, _offset, length in header.elements:
        if tag in _ATTRIBUTES and isinstance(raw, bytes):
            dataset[tag] = RawDataElement(BaseTag(tag), element_vr, length, raw, 0, False, True)
    dataset.NumberOfFrames = 1
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(_transfer_syntax(header))
    keyword = header.pixel_data_keyword or "PixelData"
    value = _EMPTY_TABLE + frame + _DELIMITER if header.encapsulated else frame
    dataset.add_new(keyword, vr, value)
    dataset[keyword].is_undefined_length = bool(header.encapsulated)
    return dataset


def _missing(uid: UID) -> str | None:
    """What must be installed to decode a transfer syntax; None if its decoder is there."""
    if not _has_numpy():
        return f"NumPy is not installed: {pip_install('reader')}"
    try:
        decoder = get_decoder(uid)
    except NotImplementedError:
        return f"pydicom has no decoder for {uid.name}; decode=False gives the compressed image"
    if decoder.is_available:
        return None
    install = "pip install pylibjpeg-libjpeg" if uid in _NOT_IN_READER else pip_install("reader")
    return f"no decoder for {uid.name} is installed: {install}"


def _has_numpy() -> bool:
    try:
        import numpy as np  # noqa: F401, PLC0415  it is optional
    except ImportError:
        return False
    return True


def _transfer_syntax(header: Header) -> str:
    if header.encapsulated:
        if header.transfer_syntax_uid is None:
            raise FrameDecodeError("the transfer syntax is missing, which names the compression")
        return header.transfer_syntax_uid
    if header.big_endian:
        return str(ExplicitVRBigEndian)
    return str(ImplicitVRLittleEndian if header.implicit else ExplicitVRLittleEndian)
