"""The expected row of one DICOM file by pydicom: an independent reading of the data contract.

`expected_row` reads a file with pydicom alone and applies the contract's type table; `differences`
and `losses` hold a row against it.
"""

import datetime as dt
import io
import logging
import math
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pydicom
from oracle_comparison import (
    PIXEL_DATA,
    REPEATER_TAGS,
    UNDEFINED,
    ExpectedBulk,
    ExpectedOther,
    ExpectedRow,
    differences,
    losses,
)
from pydicom import config, datadict
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset, read_partial
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.valuerep import DA, DT, EXPLICIT_VR_LENGTH_32, IS, TM, PersonName

__all__ = ["ExpectedBulk", "ExpectedOther", "ExpectedRow", "differences", "expected_row", "losses"]

TEXT = frozenset({"AE", "AS", "CS", "LO", "LT", "SH", "ST", "UC", "UI", "UR", "UT"})
UNSPLIT = frozenset({"LT", "ST", "UR", "UT"})  # a backslash is text there (PS3.5 6.2)
FLOATS = frozenset({"DS", "FL", "FD"})
INTEGERS = frozenset({"IS", "SS", "US", "SL", "UL", "SV", "UV", "US or SS"})
BINARY = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN", "OB or OW"})
LONG_UNKNOWN = 0xFFFF  # UN of this length or more can be due to the VR's short length field
EITHER = frozenset({"US or OW", "US or SS or OW"})  # the contract is silent: a column or bulk data


class NotHeldError(ValueError):
    """The column's type cannot hold the value: it belongs to `invalid_elements`."""


def expected_row(source: Path | bytes) -> ExpectedRow:
    """Read a file with pydicom and return its expected row.

    Raises:
        Exception: Whatever `dcmread` raises.
    """
    raw = source if isinstance(source, bytes) else source.read_bytes()
    row = ExpectedRow(size=len(raw), preamble=_preamble(raw))
    with _quiet_pydicom():
        dataset = pydicom.dcmread(io.BytesIO(raw), stop_before_pixels=True, force=True)
        _locate_pixel_data(row, raw, dataset)
        # The command set stands in the dataset already (PS3.7 6.3.1); group 2 stands apart.
        row.columns |= _Walk(row).item(dataset.file_meta, "", ())
        row.columns |= _Walk(row).item(dataset, "", ())
    return row


@contextmanager
def _quiet_pydicom() -> Iterator[None]:
    level = config.logger.level
    config.logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        config.logger.setLevel(level)


def _preamble(raw: bytes) -> str:
    if raw[128:132] != b"DICM":
        return "none"
    if raw[:128] == bytes(128):
        return "zero"
    return "tiff" if raw[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+") else "other"


def _locate_pixel_data(row: ExpectedRow, raw: bytes, dataset: Dataset) -> None:
    """Find the pixel data element where pydicom stops, and read the bytes behind it."""
    stop: dict[str, Any] = {}
    seen: list[BaseTag] = []

    def at_pixel_data(tag: BaseTag, vr: str | None, length: int) -> bool:
        if int(tag) in PIXEL_DATA:
            stop.update(tag=int(tag), vr=vr, length=length)
        seen.append(tag)
        return int(tag) in PIXEL_DATA

    row.content, row.header_bytes = raw, len(raw)
    if dataset.file_meta.get("TransferSyntaxUID") == "1.2.840.10008.1.2.1.99":
        start = 132 + 12 + dataset.file_meta.FileMetaInformationGroupLength
        row.deflated = True
        row.content = raw[:start] + zlib.decompressobj(-zlib.MAX_WBITS).decompress(raw[start:])
        row.header_bytes = len(row.content)
        file = io.BytesIO(row.content)
        file.seek(start)
        read_dataset(file, is_implicit_VR=False, is_little_endian=True, stop_when=at_pixel_data)
    else:
        file = io.BytesIO(raw)
        read_partial(file, at_pixel_data, force=True)
    # pydicom reads the first element twice if the encoding is uncertain.
    repeats = (tag for i, tag in enumerate(seen) if tag in seen[:i] and i > 1)
    row.repeated += [_keyword(tag) or f"{int(tag):08X}" for tag in repeats]
    if not stop:
        return
    row.header_bytes = file.tell()
    row.pixel_data_offset = file.tell() + (12 if stop["vr"] in EXPLICIT_VR_LENGTH_32 else 8)
    row.pixel_data_keyword = PIXEL_DATA[stop["tag"]]
    row.encapsulated = stop["length"] == UNDEFINED
    if not row.encapsulated:
        return
    row.extended_offset_table = bool(dataset.get("ExtendedOffsetTable"))
    first_item = row.content[row.pixel_data_offset : row.pixel_data_offset + 8]
    row.cut_in_table = len(first_item) < 8
    if not row.cut_in_table:
        group, element, length = struct.unpack("<HHL", first_item)
        row.basic_offset_table = (group, element) == (0xFFFE, 0xE000) and length > 0


@dataclass(frozen=True, slots=True)
class _Element:
    """One element as pydicom gives it: as it was read, and as it was decoded."""

    path: str
    tag: BaseTag
    raw: Any
    dataset: Dataset

    @property
    def decoded(self) -> Any:
        return self.dataset[self.tag]

    @property
    def file_vr(self) -> str | None:
        """The file's own VR; None where the encoding is implicit."""
        return cast("str | None", self.raw.VR)


@dataclass(frozen=True, slots=True)
class _Walk:
    """One walk over a dataset, all depths, that sorts its elements into the row's places."""

    row: ExpectedRow

    def item(self, dataset: Dataset, prefix: str, enclosing: tuple[Dataset, ...]) -> dict[str, Any]:
        """Sort one item's elements into places, and return its expected struct."""
        columns: dict[str, Any] = {}
        around = (dataset, *enclosing)
        for element in self._elements(dataset, prefix):
            keyword = _keyword(element.tag)
            has_column = bool(keyword) and (
                datadict.dictionary_has_tag(element.tag) or _is_first_group(element.tag)
            )
            if has_column:
                self._known(columns, keyword, element, around)
            if not has_column or not datadict.dictionary_has_tag(element.tag):
                self._other(element, bulk=not has_column)
        return columns

    def _elements(self, dataset: Dataset, prefix: str) -> Iterator[_Element]:
        # Before any is decoded: pydicom replaces what it has decoded, and the file's VR is lost.
        raws = {tag: dataset.get_item(tag, keep_deferred=True) for tag in sorted(dataset.keys())}
        for tag, raw in raws.items():
            first_group = datadict.dictionary_has_tag(tag) or _is_first_group(tag)
            path = prefix + ((first_group and _keyword(tag)) or f"{int(tag):08X}")
            try:
                dataset[tag]
            except Exception:  # noqa: BLE001 - pydicom raises errors of all kinds, with the same meaning
                self.row.pydicom_refuses.append(path)
                continue
            yield _Element(path, tag, raw, dataset)

    def _known(
        self, columns: dict[str, Any], keyword: str, element: _Element, around: tuple[Dataset, ...]
    ) -> None:
        path, vr = element.path, datadict.dictionary_VR(element.tag)
        value = _decoded(vr, element, around)
        is_sequence = isinstance(value, Sequence)
        if _family(vr) != _family(element.file_vr or vr) and element.file_vr != "UN":
            self._leave_open(path, value)
        elif vr in BINARY and (value in (None, "") or isinstance(value, bytes)):
            self._bulk(element, vr)
        elif element.file_vr == "UN" and isinstance(value, bytes) and len(value) >= LONG_UNKNOWN:
            self._bulk(element, "UN")
            columns[keyword] = None
        elif vr == "SQ" and is_sequence and not _is_no_sequence(element.raw):
            items = enumerate(value)
            columns[keyword] = [self.item(item, f"{path}[{i}].", around) for i, item in items]
        elif vr == "SQ" and (value is None or value in ("", b"")):
            columns[keyword] = []
        elif vr in BINARY | EITHER | {"SQ"} or is_sequence or isinstance(value, bytes):
            self._leave_open(path, value)
        else:
            try:
                columns[keyword] = _column_value(vr, datadict.dictionary_VM(element.tag), value)
            except (ValueError, OverflowError):
                self.row.invalid.append(path)
                columns[keyword] = None

    def _leave_open(self, path: str, value: Any) -> None:
        blank = not isinstance(value, bytes) and not any(str(one).strip(" \0") for one in _components(value))
        (self.row.ignored if blank or value == b"" else self.row.loose).append(path)

    def _other(self, element: _Element, *, bulk: bool) -> None:
        path, vr, value = element.path, str(element.decoded.VR), element.decoded.value
        is_sequence = isinstance(value, Sequence)
        needed = not is_sequence or not value
        tag = f"{int(element.tag):08X}"
        self.row.other.append(ExpectedOther(path, tag, _creator(element), _texts(vr, value), needed))
        if is_sequence:
            for i, item in enumerate(value):
                for inner in self._elements(item, f"{path}[{i}]."):
                    self._other(inner, bulk=True)
        elif bulk and (vr in BINARY | EITHER or isinstance(value, bytes)):
            self._bulk(element, vr)
        elif element.file_vr in (None, "UN"):
            # pydicom's private dictionary names a VR that the file does not: bytes or text will do.
            self.row.loose.append(path)

    def _bulk(self, element: _Element, vr: str) -> None:
        raw = element.raw
        if not raw.value and element.file_vr is None:
            # Without bytes and without a VR there is nothing to fetch.
            self.row.ignored.append(element.path)
            return
        is_raw = isinstance(raw, RawDataElement)
        open_ended = is_raw and raw.length == UNDEFINED
        self.row.bulk.append(ExpectedBulk(element.path, vr, raw.value or b"", open_ended))


def _family(vr: str) -> str:
    """Values that convert into each other without loss; the contract does not decide otherwise."""
    families = {"text": TEXT - UNSPLIT, "long text": UNSPLIT, "number": FLOATS | INTEGERS, "bytes": BINARY}
    return next((name for name, members in families.items() if vr in members), vr)


def _decoded(vr: str, element: _Element, around: tuple[Dataset, ...]) -> Any:
    """Decode what pydicom leaves as bytes: a rare US or SS."""
    value = element.decoded.value
    if not isinstance(value, bytes) or vr in BINARY | EITHER:
        return value
    return _us_or_ss(value, around) if vr == "US or SS" else value


def _is_no_sequence(raw: Any) -> bool:
    """Whether the value starts with no item: pydicom makes an item of it all the same, and loses it."""
    if not isinstance(raw, RawDataElement) or not raw.value:
        return False
    return raw.value[:4] not in (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00", b"\xfe\xff\xdd\xe0")


def _creator(element: _Element) -> str | None:
    """The text of the private creator that reserves the element's block (PS3.5 7.8.1)."""
    number = int(element.tag)
    if not element.tag.is_private or element.tag.is_private_creator or not number & 0xFF00:
        return None
    block = element.dataset.get(BaseTag(number & 0xFFFF0000 | (number & 0xFFFF) >> 8))
    return None if block is None else str(block.value).strip(" \0") or None


def _texts(vr: str, value: Any) -> tuple[str | None, ...] | None:
    if vr not in TEXT | {"DA", "TM", "DT"} or isinstance(value, bytes) or "\x1b" in str(value):
        return None
    return tuple(text.strip(" \0") or None for text in map(str, _components(value)))


def _keyword(tag: BaseTag) -> str:
    """The dictionary's keyword; none for private elements and for group lengths."""
    if tag.is_private:
        return ""
    keyword = datadict.keyword_for_tag(tag)
    return "" if keyword == "GroupLength" else keyword


def _is_first_group(tag: BaseTag) -> bool:
    return f"{int(tag):08X}" in REPEATER_TAGS.values()


def _components(value: Any) -> list[Any]:
    if value is None or (isinstance(value, str | bytes) and not value):
        return []
    return list(value) if isinstance(value, MultiValue | list | tuple) else [value]


def _column_value(vr: str, vm: str, value: Any) -> Any:
    """A value as the contract's type table holds it; NotHeldError or ValueError where it cannot."""
    components = _components(value)
    if vr in UNSPLIT and len(components) > 1:
        components = ["\\".join(map(str, components))]
    elif vr not in UNSPLIT and len(components) == 1 and isinstance(components[0], str):
        components = components[0].split("\\")
    held = [_component(vr, component) for component in components]
    if held == [None]:
        held = []
    if vm != "1":
        return held
    if len(held) > 1:
        raise NotHeldError("more values than one")
    return held[0] if held else None


def _component(vr: str, value: Any) -> Any:  # noqa: C901, PLR0911, PLR0912 - one line for each row of the table
    if isinstance(value, str) and not value.strip(" \0"):
        return None
    if "\x1b" in str(value):
        raise NotHeldError("an escape sequence that pydicom does not know")
    if vr in TEXT:
        if not isinstance(value, str):
            raise NotHeldError("not text")
        text = str(value).rstrip(" \0")
        return text.lstrip(" \0") if vr in {"AE", "CS", "LO", "SH", "UI"} else text
    if vr == "PN":
        return _person_name(value)
    if vr == "AT":
        if not isinstance(value, BaseTag):
            raise NotHeldError("not a tag")
        return f"{int(value):08X}"
    if vr == "DA":
        return _date(DA(_matching(r"\d{8}|\d{4}\.\d\d\.\d\d", value)))
    if vr == "TM":
        time = TM(
            _matching(r"(\d\d(\d\d(\d\d(\.\d{1,6})?)?)?)|\d\d:\d\d:\d\d(\.\d{1,6})?", value).replace(":", "")
        )
        return dt.time(time.hour, time.minute, time.second, time.microsecond)
    if vr == "DT":
        return _naive(DT(_matching(r"\d{4}(\d\d){0,4}(\d\d(\.\d{1,6})?)?((?!-0000)[+-]\d\d[0-5]\d)?", value)))
    if "_" in getattr(value, "original_string", str(value)):
        raise NotHeldError("an underscore is a digit group in Python, not in PS3.5 6.2")
    if vr in FLOATS:
        if isinstance(value, int) and int(float(value)) != value:
            raise NotHeldError("more digits than a float has")
        if vr == "DS" and not math.isfinite(float(value)):
            raise NotHeldError("no decimal string")
        return float(value)
    if vr in INTEGERS:
        return _integer(vr, value)
    raise AssertionError(f"no row in the type table for {vr}")


def _matching(form: str, value: Any) -> str:
    """The text, if all of it has the form that PS3.5 6.2 gives: pydicom looks at its beginning alone."""
    text = str(value).rstrip(" \0").rstrip()
    if not re.fullmatch(form, text, re.ASCII):
        raise NotHeldError("not in the standard's form")
    return text


def _person_name(value: Any) -> dict[str, str | None] | None:
    if not isinstance(value, PersonName):
        value = PersonName(str(value))
    if len(value.components) > 3:
        raise NotHeldError("more groups than three")
    groups = str(value).rstrip(" \0").split("=")
    held = [group if group.strip(" \0") else None for group in (*groups, "", "")][:3]
    return dict(zip(("Alphabetic", "Ideographic", "Phonetic"), held, strict=True)) if any(held) else None


def _date(date: DA) -> dt.date:
    return dt.date(date.year, date.month, date.day)


def _naive(moment: DT) -> dt.datetime:
    offset = moment.utcoffset()
    if offset is not None and not dt.timedelta(hours=-12) <= offset <= dt.timedelta(hours=14):
        raise NotHeldError("no offset from UTC that exists")
    plain = dt.datetime(*moment.timetuple()[:6], moment.microsecond, tzinfo=moment.tzinfo)
    return plain if plain.tzinfo is None else plain.astimezone(dt.UTC).replace(tzinfo=None)


def _integer(vr: str, value: Any) -> int:
    number = IS(value) if isinstance(value, str) else value
    written = getattr(number, "original_string", "")
    if re.fullmatch(r"[+-]?\d+", written):
        number = int(written)  # pydicom's IS passes through a float from 2**53 on
    if not isinstance(number, int):
        if not float(number).is_integer():
            raise NotHeldError("not an integer")
        number = int(number)
    low, high = (0, 2**64) if vr == "UV" else (-(2**63), 2**63)
    if not low <= number < high:
        raise NotHeldError("out of range")
    return int(number)


def _us_or_ss(value: bytes, around: tuple[Dataset, ...]) -> list[int] | bytes:
    """Decode what pydicom leaves undecided: signed where the nearest Pixel Representation is 1."""
    with_it = (dataset for dataset in around if dataset.get("PixelRepresentation") is not None)
    nearest = next(with_it, None)
    signed = nearest is not None and nearest.PixelRepresentation == 1
    order = "<" if around[0].original_encoding[1] is not False else ">"
    if len(value) % 2:
        return value
    return list(struct.unpack(f"{order}{len(value) // 2}{'h' if signed else 'H'}", value))
