"""Decodes one frame with pydicom's decoders, as they would decode it from the whole file."""

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
from harvester.messages import one_line

if TYPE_CHECKING:
    import numpy as np

# The Image Pixel Module's attributes that say what the bytes of a frame mean (PS3.3 C.7.6.3).
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
# What only packages decode that are under the GPL, or that are built for some platforms.
_NOT_IN_READER: Final = (JPEGLossless, JPEGLosslessSV1)
_EMPTY_TABLE: Final = b"\xfe\xff\x00\xe0" + bytes(4)
_DELIMITER: Final = b"\xfe\xff\xdd\xe0" + bytes(4)


def frame_bits(raw: bytes, frames: NativeFrames, number: int) -> bytes:
    """One native frame's own bytes, from those that hold it: moved to start at a byte, the rest zero."""
    first = frames.first_bit(number)
    if not first and not frames.bits % 8:
        return raw
    bits = int.from_bytes(raw, "little") >> first & ((1 << frames.bits) - 1)
    return bits.to_bytes((frames.bits + 7) // 8, "little")


def decode(header: Header, frame: bytes, vr: str) -> "np.ndarray":
    """The pixels of one frame.

    Args:
        header: The object's.
        frame: The frame's items, where the pixel data is encapsulated; else its bytes.
        vr: The pixel data's value representation.

    Returns:
        (rows, columns) or (rows, columns, samples), as `pydicom.pixels.pixel_array` gives it: in RGB
        where the frame is in YCbCr.

    Raises:
        FrameDecodeError: The frame is damaged, or no decoder for it is installed.
    """
    dataset = single_frame(header, frame, vr)
    missing = _missing(dataset.file_meta.TransferSyntaxUID)
    if missing is not None:
        raise FrameDecodeError(missing)
    try:
        return pixel_array(dataset)
    except Exception as error:  # whatever a decoder raises over bytes that anybody may have written
        raise FrameDecodeError(f"it cannot be decoded: {one_line(str(error))}") from error


def single_frame(header: Header, frame: bytes, vr: str) -> Dataset:
    """A data set of one frame, with what says how its bytes are to be read."""
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
    """What has to be installed before frames of a transfer syntax can be decoded; None if nothing has."""
    if not _has_numpy():
        return "NumPy is not installed: pip install 'harvester[reader]'"
    try:
        decoder = get_decoder(uid)
    except NotImplementedError:
        return f"pydicom has no decoder for {uid.name}; undecoded, the compressed image can be had"
    if decoder.is_available:
        return None
    package = "pylibjpeg-libjpeg" if uid in _NOT_IN_READER else "'harvester[reader]'"
    return f"no decoder for {uid.name} is installed: pip install {package}"


def _has_numpy() -> bool:
    try:
        import numpy as np  # noqa: F401, PLC0415  whether it is there
    except ImportError:
        return False
    return True


def _transfer_syntax(header: Header) -> str:
    if header.encapsulated:
        if header.transfer_syntax_uid is None:
            raise FrameDecodeError(
                "how the frames are compressed is not said: the transfer syntax is missing"
            )
        return header.transfer_syntax_uid
    if header.big_endian:
        return str(ExplicitVRBigEndian)
    return str(ImplicitVRLittleEndian if header.implicit else ExplicitVRLittleEndian)
