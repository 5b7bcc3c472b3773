"""A value in another value representation than its column's: kept whole in the column's type, or refused."""

import math
import struct

import pytest
from made_part10 import element, part10
from pydicom.datadict import DicomDictionary, tag_for_keyword

from harvester.dicom import HeaderColumns, HeaderParser
from harvester.dicom.charset import DEFAULT
from harvester.dicom.dictionary import Attribute, attribute
from harvester.dicom.values import DECODERS, Values
from harvester.dicom.vr_conversion import as_texts, decoder_for

PACKS = {"US": "<H", "SS": "<h", "UL": "<L", "SL": "<l", "SV": "<q", "UV": "<Q", "FL": "<f", "FD": "<d"}


def of(keyword: str) -> Attribute:
    entry = attribute(tag_for_keyword(keyword))
    assert entry is not None
    return entry


def converted(keyword: str, vr: str, raw: bytes) -> Values:
    return decoder_for(of(keyword), vr)(raw, DEFAULT)


@pytest.mark.parametrize("vr", PACKS)
@pytest.mark.parametrize("number", [0, 1, 5, 127])
def test_small_numbers_of_any_vr_fit_every_number_column(vr: str, number: int) -> None:
    raw = struct.pack(PACKS[vr], number)
    assert converted("InstanceNumber", vr, raw) == [number]
    assert converted("Rows", vr, raw) == [number]
    assert converted("SliceThickness", vr, raw) == [float(number)]
    assert converted("SelectorUVValue", vr, raw) == [number]
    assert converted("PatientID", vr, raw) == [str(number) if vr not in ("FL", "FD") else str(float(number))]


@pytest.mark.parametrize(
    ("keyword", "vr", "number"),
    [
        ("InstanceNumber", "UV", 2**63),
        ("InstanceNumber", "FD", 0.5),
        ("InstanceNumber", "FD", math.inf),
        ("InstanceNumber", "FD", math.nan),
        ("InstanceNumber", "FD", 1e300),
        ("SelectorUVValue", "SL", -1),
        ("SliceThickness", "UV", 2**53 + 1),
        ("SliceThickness", "SV", -(2**53) - 1),
    ],
)
def test_a_number_that_would_lose_something_is_refused(keyword: str, vr: str, number: float) -> None:
    with pytest.raises((ValueError, OverflowError)):
        converted(keyword, vr, struct.pack(PACKS[vr], number))


def test_a_negative_number_in_text_is_refused_where_the_column_has_none() -> None:
    assert converted("SelectorUVValue", "IS", b"1\\\\2") == [1, None, 2]
    with pytest.raises(ValueError, match="not an integer that the column can hold: -1"):
        converted("SelectorUVValue", "IS", b"1\\-1")


def test_a_nan_stays_one_in_a_column_of_floats() -> None:
    (value,) = converted("SliceThickness", "FD", struct.pack("<d", math.nan))
    assert math.isnan(value)


@pytest.mark.parametrize("vr", ["LO", "CS", "SH", "UT", "LT", "UC", "AE", "UI", "UR", "ST"])
def test_text_in_a_column_of_numbers_or_dates_is_read_as_such(vr: str) -> None:
    assert converted("InstanceNumber", vr, b"12") == [12]
    assert converted("SliceThickness", vr, b"1.5 ") == [1.5]
    assert str(converted("StudyDate", vr, b"20240131")[0]) == "2024-01-31"
    with pytest.raises(ValueError, match="not an integer"):
        converted("InstanceNumber", vr, b"twelve")


@pytest.mark.parametrize("vr", DECODERS)
def test_every_vr_in_every_kind_of_column_is_converted_or_refused(vr: str) -> None:
    kinds = {entry[0]: tag for tag, entry in DicomDictionary.items() if entry[0] in DECODERS}
    for raw in (b"", b"12  ", b"\1\0\0\0\0\0\0\0", b"\xff" * 8, b"x\\y "):
        for tag in kinds.values():
            entry = attribute(tag)
            if entry is None:
                continue
            try:
                values = decoder_for(entry, vr)(raw, DEFAULT)
            except (ValueError, OverflowError):
                continue
            assert isinstance(values, list)


def test_whatever_a_column_refuses_is_invalid_and_arrow_takes_the_rest() -> None:
    kinds = {(entry[0], entry[1]): tag for tag, entry in sorted(DicomDictionary.items()) if tag > 0x00080010}
    columns, rows = HeaderColumns(), 0
    for vr in (*DECODERS, "OB", "UN", "SQ"):
        for raw in (b"12  ", b"\1\0\0\0\0\0\0\0", b"\xff" * 8, b"x\\y "):
            elements = [element(tag, vr, raw) for tag in sorted(kinds.values()) if tag < 0x7FE00000]
            content = part10(*elements)
            columns.append(HeaderParser(len(content)).feed(content))  # type: ignore[arg-type]
            rows += 1
    arrays = columns.finish()
    assert {len(array) for array in arrays.values()} == {rows}


def test_a_lut_s_count_is_never_negative() -> None:
    # PS3.3 C.11.1.1.1: 0 means 65,536, and SS cannot hold more than 32,767.
    for keyword in ("LUTDescriptor", "RedPaletteColorLookupTableDescriptor"):
        assert converted(keyword, "SS", struct.pack("<3h", -2, -5, 16)) == [65534, -5, 16]
        assert converted(keyword, "US", struct.pack("<3H", 65534, 0, 16)) == [65534, 0, 16]
        assert converted(keyword, "SS", b"") == []


@pytest.mark.parametrize("count", [3, 16, 40])
def test_a_lut_s_count_is_never_negative_however_many_numbers_follow(count: int) -> None:
    raw = struct.pack(f"<{count}h", -2, *range(1, count))
    assert [*converted("LUTDescriptor", "SS", raw)] == [65534, *range(1, count)]


def test_other_elements_keep_numbers_as_text() -> None:
    assert as_texts("FD")(struct.pack("<2d", 0.1, -0.0), DEFAULT) == ["0.1", "-0.0"]
    assert as_texts("UV")(struct.pack("<Q", 2**64 - 1), DEFAULT) == [str(2**64 - 1)]
    assert as_texts("AT")(b"\x18\0\x63\x10", DEFAULT) == ["00181063"]
