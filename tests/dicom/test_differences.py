"""Where harvester differs from pydicom on purpose: both readings of the same bytes, side by side.

Each test is a row of the table in docs/parser.md.
"""

import io
import logging
import struct
import warnings
import zlib
from collections.abc import Iterator
from typing import Any

import pydicom
import pytest
from header_feeding import read
from made_part10 import (
    ITEM_END,
    UNDEFINED,
    element,
    implicit,
    item,
    part10,
    sequence,
)
from pydicom.dataset import Dataset

from harvester.dicom import HeaderColumns
from harvester.errors import HeaderLimitError, NotDicomError, TruncatedError

IMPLICIT = b"1.2.840.10008.1.2\0"
DEFLATED = b"1.2.840.10008.1.2.1.99"
MR = element(0x00080060, "CS", b"MR")
PATIENT_ID = element(0x00100020, "LO", b"id")


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    pydicom.config.logger.setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    pydicom.config.logger.setLevel(logging.WARNING)


def pydicom_reads(raw: bytes) -> Dataset:
    return pydicom.dcmread(io.BytesIO(raw), stop_before_pixels=True, force=True)


def row_of(raw: bytes) -> dict[str, Any]:
    columns = HeaderColumns()
    columns.append(read(raw))
    return {name: array[0].as_py() for name, array in columns.finish().items()}


def invalid(row: dict[str, Any]) -> dict[str, str]:
    return {entry["path"]: entry["text"] for entry in row["invalid_elements"]}


def test_a_cut_value_is_an_error_not_a_shorter_value() -> None:
    raw = part10(MR, element(0x00080018, "UI", b"1.2.3.4.5.6.7.8\0"))[:-8]
    assert pydicom_reads(raw).SOPInstanceUID == "1.2.3.4."
    with pytest.raises(TruncatedError):
        read(raw)


def test_a_cut_sequence_is_an_error_not_a_shorter_sequence() -> None:
    raw = part10(sequence(0x00081140, item(PATIENT_ID), item(PATIENT_ID)))[:-18]
    assert len(pydicom_reads(raw).ReferencedImageSequence) <= 2
    with pytest.raises(TruncatedError):
        read(raw)


def test_a_cut_in_the_meta_information_is_an_error_not_an_empty_data_set() -> None:
    raw = part10(MR)[:144]
    assert len(pydicom_reads(raw)) == 0
    with pytest.raises(TruncatedError):
        read(raw)


def test_a_prefix_with_nothing_behind_it_is_no_dicom() -> None:
    raw = bytes(128) + b"DICM"
    assert len(pydicom_reads(raw)) == 0
    with pytest.raises(NotDicomError):
        read(raw)


def test_text_without_a_prefix_is_no_dicom() -> None:
    raw = b"<html><body>No such key</body></html>" * 20
    assert len(pydicom_reads(raw)) == 1
    with pytest.raises(NotDicomError):
        read(raw)


def test_dicm_by_chance_at_byte_128_is_no_prefix() -> None:
    head = element(0x00080005, "CS", b"ISO_IR 100")
    raw = head + element(0x00080070, "LO", b"." * (128 - len(head) - 8) + b"DICM......") + PATIENT_ID
    assert "SpecificCharacterSet" not in pydicom_reads(raw)
    assert row_of(raw)["SpecificCharacterSet"] == ["ISO_IR 100"]
    assert row_of(raw)["PatientID"] == "id"


def test_a_stray_delimitation_does_not_end_the_data_set() -> None:
    raw = part10(MR, ITEM_END + bytes(4), PATIENT_ID)
    assert "PatientID" not in pydicom_reads(raw)
    assert row_of(raw)["PatientID"] == "id"


def test_text_where_the_dictionary_has_a_sequence_is_not_lost() -> None:
    raw = part10(implicit(0x00080060, b"SR"), implicit(0x0040A170, b"NAMED TYPE"), transfer_syntax=IMPLICIT)
    assert len(pydicom_reads(raw).PurposeOfReferenceCodeSequence[0]) == 0
    row = row_of(raw)
    assert [(one["path"], one["length"]) for one in row["bulk_data"]] == [
        ("PurposeOfReferenceCodeSequence", 10)
    ]


def test_a_repeated_element_that_a_later_one_replaces_is_not_lost() -> None:
    raw = part10(element(0x00080018, "UI", b"1.2\0"), element(0x00080018, "UI", b"1.3\0"))
    assert pydicom_reads(raw).SOPInstanceUID == "1.3"
    row = row_of(raw)
    assert row["SOPInstanceUID"] == "1.3"
    assert invalid(row) == {"SOPInstanceUID": "1.2"}


def test_us_or_ss_is_unsigned_where_nothing_says_so() -> None:
    pixels = implicit(0x7FE00010, b"\0\0")
    raw = part10(implicit(0x00280106, b"\xff\xff"), pixels, transfer_syntax=IMPLICIT)
    with pytest.raises(AttributeError, match="ambiguous VR"):
        pydicom.dcmread(io.BytesIO(raw)).SmallestImagePixelValue  # noqa: B018  it is read when it is asked for
    assert row_of(raw)["SmallestImagePixelValue"] == 65535


def test_padding_ends_each_component_not_only_the_last() -> None:
    raw = part10(element(0x00080008, "CS", b"DERIVED \\PRIMARY "), element(0x00180024, "SH", b"a \\b"))
    assert pydicom_reads(raw).ImageType == ["DERIVED ", "PRIMARY"]
    assert row_of(raw)["ImageType"] == ["DERIVED", "PRIMARY"]


@pytest.mark.parametrize(("tag", "keyword"), [(0x00180050, "SliceThickness"), (0x00200013, "InstanceNumber")])
def test_an_underscore_is_no_digit(tag: int, keyword: str) -> None:
    raw = part10(element(tag, "DS" if tag == 0x00180050 else "IS", b"1_0 "))
    assert pydicom_reads(raw)[keyword].value == 10
    row = row_of(raw)
    assert row[keyword] is None
    assert invalid(row) == {keyword: "1_0"}


def test_two_values_where_there_is_one_are_invalid() -> None:
    raw = part10(element(0x00280010, "US", b"\1\0\2\0"), element(0x00180050, "DS", b"1\\2 "))
    assert pydicom_reads(raw).SliceThickness == [1, 2]
    row = row_of(raw)
    assert (row["Rows"], row["SliceThickness"]) == (None, None)
    assert invalid(row) == {"Rows": "01000200", "SliceThickness": "1\\2"}


def test_what_is_no_time_and_no_number_is_invalid_not_text() -> None:
    raw = part10(element(0x00080030, "TM", b"11-31-12"), element(0x00200013, "IS", b"1A"), PATIENT_ID)
    assert pydicom_reads(raw).InstanceNumber == "1A"
    assert pydicom_reads(raw).StudyTime == "11-31-12"
    row = row_of(raw)
    assert (row["StudyTime"], row["InstanceNumber"], row["PatientID"]) == (None, None, "id")
    assert invalid(row) == {"StudyTime": "11-31-12", "InstanceNumber": "1A"}


def test_an_offset_of_a_datetime_turns_it_to_utc() -> None:
    raw = part10(element(0x0008002A, "DT", b"20240131113112+0200 "))
    assert str(pydicom_reads(raw).AcquisitionDateTime) == "20240131113112+0200"
    assert str(row_of(raw)["AcquisitionDateTime"]) == "2024-01-31 09:31:12"


@pytest.mark.parametrize("codec", [b"utf_16", b"cp037 ", b"unicode_escape"])
def test_a_character_set_that_has_no_ascii_is_not_believed(codec: bytes) -> None:
    raw = part10(element(0x00080005, "CS", codec), element(0x00104000, "LT", b"J\xe9\\n"))
    row = row_of(raw)
    assert row["SpecificCharacterSet"] == [codec.decode().strip()]
    assert row["PatientComments"] == "J\xe9\\n"
    assert pydicom_reads(raw).PatientComments != row["PatientComments"]


def test_a_deflated_data_set_is_read_up_to_its_damage() -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = MR + PATIENT_ID + element(0x7FE00010, "OW", bytes(range(256)) * 100)
    raw = part10(packer.compress(body) + packer.flush(), transfer_syntax=DEFLATED)[:-4]
    with pytest.raises(zlib.error):
        pydicom_reads(raw)
    assert row_of(raw)["PatientID"] == "id"


def test_a_long_value_is_where_it_lies_and_not_fetched() -> None:
    raw = part10(element(0x00280000, "UL", bytes(4)), element(0x00091001, "OB", bytes(70_000)), PATIENT_ID)
    assert len(pydicom_reads(raw)[0x00091001].value) == 70_000
    (entry,) = row_of(raw)["bulk_data"]
    assert raw[entry["offset"] : entry["offset"] + entry["length"]] == bytes(70_000)


def test_an_attribute_written_as_un_of_65_535_bytes_stays_binary_as_in_pydicom() -> None:
    value = b"1\\2\\3 " * 10923
    raw = part10(element(0x30060050, "UN", value))
    assert pydicom_reads(raw)[0x30060050].value == value
    row = row_of(raw)
    assert row.get("ContourData") is None
    assert [(one["path"], one["length"]) for one in row["bulk_data"]] == [("ContourData", len(value))]


def test_a_second_overlay_group_is_an_other_element() -> None:
    raw = part10(element(0x60000010, "US", b"\1\0"), element(0x60020010, "US", b"\2\0"))
    assert pydicom_reads(raw)[0x60020010].value == 2
    row = row_of(raw)
    assert row["OverlayRows"] == 1
    assert [(one["Tag"], one["Data"]) for one in row["OtherElements"]] == [
        ("60000010", ["1"]),
        ("60020010", ["2"]),
    ]


def test_sequences_nested_deeper_than_64_are_a_limit() -> None:
    head = struct.pack("<HH2sHL", 0x0008, 0x1140, b"SQ", 0, UNDEFINED) + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    raw = part10(head * 65 + (ITEM_END + bytes(4) + b"\xfe\xff\xdd\xe0" + bytes(4)) * 65)
    assert len(pydicom_reads(raw)) == 1
    with pytest.raises(HeaderLimitError):
        read(raw)


def test_a_large_integer_string_keeps_its_last_digit() -> None:
    raw = part10(element(0x00200013, "IS", b"9007199254740993"))
    assert pydicom_reads(raw).InstanceNumber == 9007199254740992
    assert row_of(raw)["InstanceNumber"] == 9007199254740993


def test_a_datetime_that_matches_by_its_beginning_is_invalid() -> None:
    for text in (b"2021-12-31T23:59:59 ", b"2021.12.31"):
        raw = part10(element(0x0008002A, "DT", text))
        assert str(pydicom_reads(raw).AcquisitionDateTime) == text.decode().strip()
        assert invalid(row_of(raw)) == {"AcquisitionDateTime": text.decode().strip()}


def test_nan_and_infinity_are_no_decimal_strings() -> None:
    raw = part10(element(0x00180050, "DS", b"NaN "), element(0x00181030, "LO", b"x "))
    assert str(pydicom_reads(raw).SliceThickness).lower() == "nan"
    assert invalid(row_of(raw)) == {"SliceThickness": "NaN"}


def test_a_time_with_colons_is_a_time() -> None:
    raw = part10(element(0x00080030, "TM", b"11:31:12"))
    assert pydicom_reads(raw).StudyTime == "11:31:12"
    assert str(row_of(raw)["StudyTime"]) == "11:31:12"


def test_leading_blanks_are_padding() -> None:
    raw = part10(element(0x00080060, "CS", b"  MR"), element(0x00080070, "LO", b" A"))
    assert (pydicom_reads(raw).Modality, pydicom_reads(raw).Manufacturer) == ("  MR", " A")
    assert (row_of(raw)["Modality"], row_of(raw)["Manufacturer"]) == ("MR", "A")


def test_a_caret_resets_the_character_set_of_a_name() -> None:
    character_set = element(0x00080005, "CS", b"ISO 2022 IR 100\\ISO 2022 IR 87")
    raw = part10(character_set, element(0x00100010, "PN", b"\x1b$B;3ED^\x1b$BB@O:^\xe7 "))
    assert str(pydicom_reads(raw).PatientName) != "山田^太郎^ç"
    assert row_of(raw)["PatientName"]["Alphabetic"] == "山田^太郎^ç"


def test_latin_alphabet_9_is_known() -> None:
    for term, name in ((b"ISO_IR 203", b"\xa4^\xa8 "), (b"\\ISO 2022 IR 203", b"\x1b-b\xa4^\x1b-b\xa8 ")):
        raw = part10(element(0x00080005, "CS", term), element(0x00100010, "PN", name))
        assert "¤" in str(pydicom_reads(raw).PatientName)
        assert row_of(raw)["PatientName"]["Alphabetic"] == "€^š"


def test_an_escape_sequence_that_is_left_makes_a_text_invalid() -> None:
    raw = part10(element(0x00100020, "LO", b"a\x1b[31mb "))
    assert "\x1b" in pydicom_reads(raw).PatientID
    assert invalid(row_of(raw)) == {"PatientID": "a␛[31mb"}
