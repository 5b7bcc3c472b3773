"""Reads the attributes of one file that a catalog's row needs, with pydicom, from its first bytes."""

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

FIRST_WINDOW: Final = 64 * 1024  # nearly every header has all of the attributes here
_LAST_WINDOW: Final = 16 * 1024 * 1024  # the bound for longer headers
_LONGEST_VALUE: Final = 1024  # characters; the longest VR here is LO, 64 (PS3.5 6.2)

_TEXT: Final = ("PatientID", "StudyDescription", "Manufacturer", "ManufacturerModelName", "SeriesDescription")
_DATES: Final = ("StudyDate", "SeriesDate")
_ASCII: Final = (
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "PatientAge",
    "PatientSex",
    "BodyPartExamined",
    "Modality",
    "SOPClassUID",
    "PhotometricInterpretation",
    "SeriesNumber",
)
_TAGS: Final = {
    keyword: tag_for_keyword(keyword) or 0 for keyword in (*_TEXT, *_DATES, *_ASCII, "PixelRepresentation")
}
_SPECIFIC_CHARACTER_SET: Final = 0x00080005
_TRANSFER_SYNTAX_UID: Final = 0x00020010
_LAST_TAG: Final = max(_TAGS.values())

_UID: Final = re.compile(r"[0-9.]{1,64}")  # PS3.5 9.1, but real files have leading zeros, too
_CODE_STRING: Final = re.compile(r"[A-Z0-9_ ]{1,16}")  # PS3.5 6.2
_DEFLATED: Final = "1.2.840.10008.1.2.1.99"
_DEFLATED_META: Final = re.compile(
    rb"\x02\x00\x10\x00(?:UI..|.{4})" + re.escape(_DEFLATED.encode()), re.DOTALL
)
_GROUP_LENGTH: Final = b"\x02\x00\x00\x00UL\x04\x00"

# What pydicom 3 raises on broken bytes; ValueError includes UnicodeDecodeError.
_PYDICOM_ERRORS: Final = (
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
    """Read the attributes that the catalog has a column for.

    Reads at most 64 KiB, or 16 MiB if the header is longer than that. pydicom warns about broken files: a
    caller that turns warnings into errors ignores them around this call.

    Args:
        path: Any file, DICOM or not.

    Returns:
        Values by DICOM keyword, and `TransferSyntaxUID`; missing and empty ones are left out. Empty if the
        file can't be opened, or pydicom can't read it.
    """
    try:
        with open(path, "rb") as file:  # noqa: PTH123  a string is cheaper than a Path for a million files
            window = file.read(FIRST_WINDOW)
            attributes, complete = _parse(window)
            if not complete and len(window) == FIRST_WINDOW and _is_part10(window):
                attributes, _ = _parse(window + file.read(_LAST_WINDOW - FIRST_WINDOW))
    except OSError:
        return {}
    return attributes


def _is_part10(window: bytes) -> bool:
    return window[128:132] == b"DICM"  # PS3.10 7.1


def _parse(window: bytes) -> tuple[dict[str, str], bool]:
    """The attributes in a file's first bytes, and whether these bytes hold all of them."""
    complete = False

    def is_past_the_last(tag: int, _vr: str | None, _length: int) -> bool:
        nonlocal complete
        complete = tag > _LAST_TAG
        return complete

    tags = list(_TAGS.values())
    try:
        if _DEFLATED_META.search(window):
            # pydicom would inflate the whole file without a bound.
            dataset: Dataset = read_dataset(
                BytesIO(_inflate(window)), False, True, stop_when=is_past_the_last, specific_tags=tags
            )
            transfer_syntax_uid = _DEFLATED
        else:
            part10 = read_partial(BytesIO(window), is_past_the_last, force=True, specific_tags=tags)
            dataset, transfer_syntax_uid = part10, _ascii(part10.file_meta, _TRANSFER_SYNTAX_UID)
        attributes = _values(dataset)
    except _PYDICOM_ERRORS:
        return {}, False
    if not _UID.fullmatch(attributes.get("SeriesInstanceUID", "")):
        attributes.pop("SeriesInstanceUID", None)
        if not _is_part10(window):
            return {}, complete  # read by force, and probably not DICOM
    if not _CODE_STRING.fullmatch(attributes.get("Modality", "")):
        attributes.pop("Modality", None)
    if _UID.fullmatch(transfer_syntax_uid):
        attributes["TransferSyntaxUID"] = transfer_syntax_uid
    return attributes, complete


def _inflate(window: bytes) -> bytes:
    """The beginning of the data set of a deflated file (PS3.5 A.5), at most `_LAST_WINDOW` bytes."""
    if window[132:140] != _GROUP_LENGTH:
        return b""
    start = 144 + int.from_bytes(window[140:144], "little")
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(window[start:], _LAST_WINDOW)


def _values(dataset: Dataset) -> dict[str, str]:
    encodings = convert_encodings(_ascii(dataset, _SPECIFIC_CHARACTER_SET).split("\\"))
    values = {keyword: _ascii(dataset, _TAGS[keyword]) for keyword in _ASCII}
    values |= {keyword: _iso_date(_ascii(dataset, _TAGS[keyword])) for keyword in _DATES}
    for keyword in _TEXT:
        values[keyword] = decode_bytes(_raw(dataset, _TAGS[keyword]), encodings, TEXT_VR_DELIMS)
    values["PixelRepresentation"] = _unsigned_short(dataset, _TAGS["PixelRepresentation"])
    # Characters that Parquet can't store become question marks.
    clean = {
        keyword: text[:_LONGEST_VALUE].strip(" \0").encode("utf-8", "replace").decode()
        for keyword, text in values.items()
    }
    return {keyword: text for keyword, text in clean.items() if text}


def _raw(dataset: Dataset, tag: int) -> bytes:
    """An element's bytes as in the file; empty if it is missing, cut off or a sequence."""
    element = dataset.get_item(tag)
    value = None if element is None else element.value
    if isinstance(
        value, str
    ):  # pydicom decodes the elements that it uses itself, such as the transfer syntax
        return value.encode("utf-8", "replace")
    if not isinstance(value, bytes) or len(value) != getattr(element, "length", len(value)):
        return b""
    return value


def _ascii(dataset: Dataset, tag: int) -> str:
    return _raw(dataset, tag).decode("ascii", "replace").strip(" \0")


def _unsigned_short(dataset: Dataset, tag: int) -> str:
    raw = _raw(dataset, tag)
    little = getattr(dataset.get_item(tag), "is_little_endian", True)
    return str(int.from_bytes(raw, "little" if little else "big")) if len(raw) == 2 else ""


def _iso_date(text: str) -> str:
    """A DA value as the catalog writes it, `YYYY-MM-DD`; empty if it is not a date."""
    digits = text.replace(".", "")
    try:
        return date.fromisoformat(digits).isoformat() if len(digits) == 8 and digits.isdigit() else ""
    except ValueError:
        return ""
