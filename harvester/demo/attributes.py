"""What a catalog says of a series, read by pydicom from the first bytes of one of its files."""

import re
import struct
import zlib
from collections.abc import Mapping
from datetime import date
from io import BytesIO
from typing import Final

from pydicom.charset import convert_encodings, decode_bytes
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_dataset, read_partial
from pydicom.valuerep import TEXT_VR_DELIMS

# The catalog's columns that are DICOM attributes of the data set, in the catalog's order.
KEYWORDS: Final = (
    "PatientID",
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "PatientAge",
    "PatientSex",
    "StudyDate",
    "StudyDescription",
    "BodyPartExamined",
    "Modality",
    "SOPClassUID",
    "PhotometricInterpretation",
    "PixelRepresentation",
    "Manufacturer",
    "ManufacturerModelName",
    "SeriesDate",
    "SeriesDescription",
    "SeriesNumber",
)

FIRST_WINDOW: Final = 64 * 1024  # nearly every header has all of KEYWORDS here
LAST_WINDOW: Final = 16 * 1024 * 1024  # then this much, and no more: grouping must not read slides
LONGEST_VALUE: Final = 1024  # characters; the longest of KEYWORDS is an LO, 64 (PS3.5 6.2)

_TAGS: Final = {keyword: tag_for_keyword(keyword) or 0 for keyword in KEYWORDS}
_SPECIFIC_CHARACTER_SET: Final = 0x00080005
_TRANSFER_SYNTAX_UID: Final = 0x00020010
_LAST_TAG: Final = max(_TAGS.values())
_TEXT: Final = {"PatientID", "StudyDescription", "Manufacturer", "ManufacturerModelName", "SeriesDescription"}
_DATES: Final = {"StudyDate", "SeriesDate"}

_UID: Final = re.compile(r"[0-9.]{1,64}")  # PS3.5 9.1, as loosely as files in the wild need
_CODE_STRING: Final = re.compile(r"[A-Z0-9_ ]{1,16}")  # PS3.5 6.2
_DEFLATED: Final = "1.2.840.10008.1.2.1.99"
_DEFLATED_META: Final = re.compile(
    rb"\x02\x00\x10\x00(?:UI..|.{4})" + re.escape(_DEFLATED.encode()), re.DOTALL
)
_GROUP_LENGTH: Final = b"\x02\x00\x00\x00UL\x04\x00"

# What pydicom 3 raises on bytes that are not what it hoped for; ValueError has UnicodeDecodeError in it.
_REFUSALS: Final = (
    InvalidDicomError,
    BytesLengthException,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    NotImplementedError,
    OverflowError,
    RecursionError,
    OSError,
    struct.error,
    zlib.error,
)


def read_attributes(path: str) -> Mapping[str, str]:
    """Read what the catalog needs to know of one file.

    At most the first 64 KiB are read; where the header is longer than that, at most 16 MiB. pydicom warns
    of much that it reads: a caller who turns warnings into errors ignores them around this call.

    Args:
        path: Any file, DICOM or not.

    Returns:
        Values by DICOM keyword, and `TransferSyntaxUID`; without those that are empty or missing. Empty if
        the file can't be opened, or is nothing that pydicom reads.
    """
    try:
        with open(path, "rb") as file:  # noqa: PTH123  # a million files: strings, not Path objects
            window = file.read(FIRST_WINDOW)
            attributes, complete = _parse(window)
            if not complete and len(window) == FIRST_WINDOW and _is_part10(window):
                attributes, _ = _parse(window + file.read(LAST_WINDOW - FIRST_WINDOW))
    except OSError:
        return {}
    return attributes


def _is_part10(window: bytes) -> bool:
    return window[128:132] == b"DICM"  # PS3.10 7.1


def _parse(window: bytes) -> tuple[dict[str, str], bool]:
    """The attributes in a file's first bytes, and whether the walk came past the last of them."""
    passed = False

    def is_past_the_last(tag: int, _vr: str | None, _length: int) -> bool:
        nonlocal passed
        passed = tag > _LAST_TAG
        return passed

    tags = list(_TAGS.values())
    try:
        if _DEFLATED_META.search(window):
            # pydicom inflates without a bound, and all or nothing.
            inflated = BytesIO(_inflate(window))
            dataset: Dataset = read_dataset(
                inflated,
                is_implicit_VR=False,
                is_little_endian=True,
                stop_when=is_past_the_last,
                specific_tags=tags,
            )
            transfer_syntax_uid = _DEFLATED
        else:
            file_dataset = read_partial(BytesIO(window), is_past_the_last, force=True, specific_tags=tags)
            dataset = file_dataset
            transfer_syntax_uid = _ascii(file_dataset.file_meta, _TRANSFER_SYNTAX_UID)
        attributes = _values(dataset)
    except _REFUSALS:
        return {}, False
    if not _UID.fullmatch(attributes.get("SeriesInstanceUID", "")):
        attributes.pop("SeriesInstanceUID", None)
        if not _is_part10(window):
            return {}, passed  # read by force, and nothing speaks for it
    if not _CODE_STRING.fullmatch(attributes.get("Modality", "")):
        attributes.pop("Modality", None)
    if _UID.fullmatch(transfer_syntax_uid):
        attributes["TransferSyntaxUID"] = transfer_syntax_uid
    return attributes, passed


def _inflate(window: bytes) -> bytes:
    """The data set of a deflated file (PS3.5 A.5), as far as the window and the bound go."""
    if window[132:140] != _GROUP_LENGTH:
        return b""
    start = 144 + int.from_bytes(window[140:144], "little")
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(window[start:], LAST_WINDOW)


def _values(dataset: Dataset) -> dict[str, str]:
    encodings = convert_encodings(_ascii(dataset, _SPECIFIC_CHARACTER_SET).split("\\"))
    values = {}
    for keyword, tag in _TAGS.items():
        raw = _raw(dataset, tag)
        if keyword in _TEXT:
            text = decode_bytes(raw, encodings, TEXT_VR_DELIMS)
        elif keyword in _DATES:
            text = _iso_date(raw)
        elif keyword == "PixelRepresentation":
            text = _unsigned_short(dataset, tag)
        else:
            text = raw.decode("ascii", "replace")
        text = text[:LONGEST_VALUE].strip(" \0").encode("utf-8", "replace").decode()
        if text:
            values[keyword] = text
    return values


def _raw(dataset: Dataset, tag: int) -> bytes:
    """An element's bytes as they lie in the file; none where it is missing, cut or a sequence."""
    element = dataset.get_item(tag)
    value = None if element is None else element.value
    if isinstance(value, str):  # pydicom turns what it needs itself, as the transfer syntax, into text
        return value.encode("utf-8", "replace")
    if not isinstance(value, bytes) or len(value) != getattr(element, "length", len(value)):
        return b""
    return value


def _ascii(dataset: Dataset, tag: int) -> str:
    return _raw(dataset, tag).decode("ascii", "replace").strip(" \0")


def _unsigned_short(dataset: Dataset, tag: int) -> str:
    element, raw = dataset.get_item(tag), _raw(dataset, tag)
    if len(raw) != 2:
        return ""
    little = getattr(element, "is_little_endian", True)
    return str(int.from_bytes(raw, "little" if little else "big"))


def _iso_date(raw: bytes) -> str:
    """`YYYY-MM-DD`, as the catalog writes a DA value; nothing for what is no date."""
    text = raw.decode("ascii", "replace").strip(" \0").replace(".", "")
    if len(text) != 8 or not text.isdigit():
        return ""
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        return ""
