"""The oracle itself, on data sets made by hand: bytes whose meaning the standard fixes."""

import datetime as dt
import struct
import zlib
from typing import Any

import pytest
from made_part10 import ITEM, SEQUENCE_END, element, item, part10
from oracle_comparison import HARVEST_COLUMNS
from pydicom_oracle import ExpectedRow, differences, expected_row, losses


def columns(*elements: bytes) -> dict[str, Any]:
    return expected_row(part10(*elements)).columns


def row_of(expected: ExpectedRow) -> dict[str, Any]:
    """The row that says just what is expected."""
    row = {name: getattr(expected, name) for name in HARVEST_COLUMNS} | expected.columns
    row["OtherElements"] = [
        {"path": one.path, "Tag": one.tag, "VR": "LO", "Creator": one.creator, "Data": list(one.texts or ())}
        for one in expected.other
    ]
    row["bulk_data"] = [
        {"path": one.path, "VR": one.vr, "offset": expected.content.index(one.data), "length": one.length}
        for one in expected.bulk
    ]
    row["invalid_elements"] = [
        {"path": path, "VR": "", "text": "", "reason": ""} for path in expected.invalid
    ]
    return row


EVERYTHING = part10(
    element(0x00080008, "CS", b"DERIVED \\SECONDARY "),
    element(0x00080020, "DA", b"20240131"),
    element(0x00081115, "SQ", item(element(0x0020000E, "UI", b"1.2\0"), element(0x00190010, "LO", b"ACME"))),
    element(0x00090010, "LO", b"ACME"),
    element(0x00091001, "LO", b"a\\b "),
    element(0x00091002, "OB", b"\1\2\3\4"),
    element(0x00100010, "PN", b"Yamada^Tarou=\xe5\xb1\xb1 "),
    element(0x00180050, "DS", b"N/A "),
    element(0x00282000, "OB", b"profile!"),
    element(0x7FE00010, "OW", bytes(8)),
)


@pytest.mark.parametrize(
    ("one", "column", "value"),
    [
        (element(0x00080008, "CS", b"DERIVED \\SECONDARY "), "ImageType", ["DERIVED", "SECONDARY"]),
        (element(0x00080008, "CS", b"A\\\\B "), "ImageType", ["A", None, "B"]),
        (element(0x00080008, "CS", b""), "ImageType", []),
        (element(0x00080060, "CS", b""), "Modality", None),
        (element(0x00080018, "UI", b"1.2\0"), "SOPInstanceUID", "1.2"),
        (element(0x00080020, "DA", b"20240131"), "StudyDate", dt.date(2024, 1, 31)),
        (element(0x00080030, "TM", b"1131 "), "StudyTime", dt.time(11, 31)),
        (element(0x00080030, "TM", b"113112.5"), "StudyTime", dt.time(11, 31, 12, 500000)),
        (
            element(0x0008002A, "DT", b"20240101003000+0100 "),
            "AcquisitionDateTime",
            dt.datetime.fromisoformat("2023-12-31T23:30"),
        ),
        (
            element(0x00100010, "PN", b"A^B=="),
            "PatientName",
            {"Alphabetic": "A^B", "Ideographic": None, "Phonetic": None},
        ),
        (element(0x00180050, "DS", b" 1.5e0"), "SliceThickness", 1.5),
        (element(0x00200013, "IS", b"2.0 "), "InstanceNumber", 2),
        (element(0x00280009, "AT", b"\x18\0\x63\x10"), "FrameIncrementPointer", ["00181063"]),
        (element(0x00400555, "SQ", b""), "AcquisitionContextSequence", []),
        (element(0x00104000, "LT", b"a\\b "), "PatientComments", "a\\b"),
        (element(0x60000010, "US", b"\2\0"), "OverlayRows", 2),
        (element(0x00181318, "DS", b"1 "), "dBdt", 1.0),
        (element(0x00181318, "UN", b"1 "), "dBdt", 1.0),
        (element(0x300A000C, "UN", b"PATIENT "), "RTPlanGeometry", "PATIENT"),
        (element(0x00280303, "SH", b"MODIFIED"), "LongitudinalTemporalInformationModified", "MODIFIED"),
    ],
)
def test_a_value_follows_the_type_table(one: bytes, column: str, value: object) -> None:
    assert columns(one)[column] == value


@pytest.mark.parametrize(
    "one",
    [
        element(0x00180050, "DS", b"N/A "),
        element(0x00180050, "DS", b"1\\2 "),
        element(0x00200013, "IS", b"1.5 "),
        element(0x00080020, "DA", b"20241331"),
        element(0x00080030, "TM", b"10-52-34"),
        element(0x00280010, "US", b"\1\0\2\0"),
        element(0x00100010, "PN", b"a=b=c=d "),
        element(0x00200013, "IS", b"9999999999999999999 "),
    ],
)
def test_what_the_column_cannot_hold_is_invalid(one: bytes) -> None:
    expected = expected_row(part10(one))
    assert len(expected.invalid) == 1
    assert expected.columns[expected.invalid[0]] is None


@pytest.mark.parametrize(("representation", "value"), [(b"", 65535), (b"\0\0", 65535), (b"\1\0", -1)])
def test_us_or_ss_goes_by_the_nearest_pixel_representation(representation: bytes, value: int) -> None:
    def implicit(tag: int, content: bytes) -> bytes:
        return struct.pack("<HHL", tag >> 16, tag & 0xFFFF, len(content)) + content

    around = implicit(0x00280103, representation) if representation else b""
    nested = implicit(0x00409096, item(implicit(0x00409216, b"\xff\xff")))
    expected = expected_row(
        part10(around, implicit(0x00280071, b"\xff\xff"), nested, transfer_syntax=b"1.2.840.10008.1.2\0")
    )
    assert expected.columns["PerimeterValue"] == value
    assert expected.columns["RealWorldValueMappingSequence"] == [{"RealWorldValueFirstValueMapped": value}]


def test_private_elements_name_their_creator_and_their_place() -> None:
    inner = item(element(0x00100020, "LO", b"id"), element(0x00091005, "OB", b"\1\2"))
    expected = expected_row(part10(element(0x00090010, "LO", b"ACME"), element(0x00091001, "SQ", inner)))
    assert [(one.path, one.tag, one.creator, one.needed) for one in expected.other] == [
        ("00090010", "00090010", None, True),
        ("00091001", "00091001", "ACME", False),
        ("00091001[0].00091005", "00091005", None, True),
        ("00091001[0].PatientID", "00100020", None, True),
    ]
    assert [(one.path, one.data) for one in expected.bulk] == [("00091001[0].00091005", b"\1\2")]
    assert not {"PatientID", "00091001"} & expected.columns.keys()


def test_a_second_overlay_group_is_an_other_element() -> None:
    expected = expected_row(part10(element(0x60000010, "US", b"\1\0"), element(0x60020010, "US", b"\2\0")))
    assert expected.columns["OverlayRows"] == 1
    assert [one.tag for one in expected.other] == ["60000010", "60020010"]


def test_a_long_un_of_a_known_tag_stays_binary_as_in_pydicom() -> None:
    value = b"1.5\\" * 20_000 + b"1 "
    expected = expected_row(part10(element(0x30060050, "UN", value)))
    assert expected.columns["ContourData"] is None
    assert [(one.path, one.vr, one.data) for one in expected.bulk] == [("ContourData", "UN", value)]
    shorter = expected_row(part10(element(0x30060050, "UN", b"1.5\\" * 16_383 + b" ")))
    assert shorter.columns["ContourData"] == [1.5] * 16_383 + [None]
    assert shorter.bulk == []


def test_text_in_a_sequence_of_the_dictionary_must_not_get_lost() -> None:
    text = struct.pack("<HHL", 0x0040, 0xA170, 10) + b"NAMED TYPE"
    expected = expected_row(part10(text, transfer_syntax=b"1.2.840.10008.1.2\0"))
    assert expected.loose == ["PurposeOfReferenceCodeSequence"]
    assert losses(expected, row_of(expected)) == ["PurposeOfReferenceCodeSequence is nowhere in the row"]


def test_an_element_that_stands_twice_has_to_stand_somewhere_else_too() -> None:
    repeated = [element(0x00080018, "UI", uid) for uid in (b"1.2\0", b"1.3\0")]
    expected = expected_row(part10(element(0x00080008, "CS", b"A "), *repeated))
    assert expected.columns["SOPInstanceUID"] == "1.3"
    row = row_of(expected)
    assert losses(expected, row) == ["SOPInstanceUID stands twice, and once in the row"]
    row["invalid_elements"] = [{"path": "SOPInstanceUID", "VR": "UI", "text": "1.2", "reason": "repeated"}]
    assert (losses(expected, row), differences(expected, row)) == ([], [])


def test_native_pixel_data_is_located() -> None:
    expected = expected_row(EVERYTHING)
    assert expected.header_bytes == EVERYTHING.index(struct.pack("<HH", 0x7FE0, 0x10))
    assert (expected.pixel_data_offset, expected.pixel_data_keyword) == (
        expected.header_bytes + 12,
        "PixelData",
    )
    assert (expected.encapsulated, expected.basic_offset_table, expected.extended_offset_table) == (
        False,
        None,
        None,
    )


@pytest.mark.parametrize(("table", "extended"), [(b"", False), (b"\0\0\0\0", False), (b"", True)])
def test_offset_tables_are_told_apart(table: bytes, *, extended: bool) -> None:
    before = element(0x7FE00001, "OV", bytes(8)) if extended else b""
    fragments = ITEM + struct.pack("<L", len(table)) + table + item(b"\xff\xd8") + SEQUENCE_END + bytes(4)
    jpeg = b"1.2.840.10008.1.2.4.50"
    expected = expected_row(
        part10(before, element(0x7FE00010, "OB", fragments, 0xFFFFFFFF), transfer_syntax=jpeg)
    )
    assert expected.encapsulated is True
    assert expected.basic_offset_table is bool(table)
    assert expected.extended_offset_table is extended


def test_offsets_of_a_deflated_file_count_inflated_bytes() -> None:
    plain = element(0x00080060, "CS", b"CT") + element(0x7FE00010, "OB", bytes(64))
    compressor = zlib.compressobj(wbits=-15)
    deflated = compressor.compress(plain) + compressor.flush()
    expected = expected_row(part10(deflated, transfer_syntax=b"1.2.840.10008.1.2.1.99"))
    meta = len(part10(transfer_syntax=b"1.2.840.10008.1.2.1.99"))
    assert expected.header_bytes == meta + 10
    assert expected.columns["Modality"] == "CT"


@pytest.mark.parametrize(
    ("preamble", "name"), [(bytes(128), "zero"), (b"II*\0" + bytes(124), "tiff"), (b"x" * 128, "other")]
)
def test_preambles_have_names(preamble: bytes, name: str) -> None:
    assert expected_row(part10(preamble=preamble)).preamble == name


def test_no_preamble_is_none() -> None:
    assert expected_row(element(0x00080060, "CS", b"CT")).preamble == "none"


def test_the_row_that_is_expected_has_no_differences_and_no_losses() -> None:
    expected = expected_row(EVERYTHING)
    assert differences(expected, row_of(expected)) == []
    assert losses(expected, row_of(expected)) == []


@pytest.mark.parametrize(
    ("column", "value", "culprit"),
    [
        ("StudyDate", dt.date(2024, 2, 1), "StudyDate"),
        ("StudyDate", None, "StudyDate"),
        ("Modality", "CT", "Modality"),
        ("ImageType", ["DERIVED"], "ImageType"),
        ("ReferencedSeriesSequence", [], "ReferencedSeriesSequence"),
        (
            "ReferencedSeriesSequence",
            [{"SeriesInstanceUID": "1.3"}],
            "ReferencedSeriesSequence[0].SeriesInstanceUID",
        ),
        ("OtherElements", [], "OtherElements"),
        ("bulk_data", [], "bulk_data"),
        ("invalid_elements", [], "invalid_elements"),
        ("header_bytes", 1, "header_bytes"),
        ("encapsulated", True, "encapsulated"),
    ],
)
def test_a_row_that_says_otherwise_is_named(column: str, value: object, culprit: str) -> None:
    expected = expected_row(EVERYTHING)
    found = differences(expected, row_of(expected) | {column: value})
    assert found
    assert all(one.startswith(culprit) for one in found)


@pytest.mark.parametrize("column", ["OtherElements", "bulk_data", "invalid_elements", "PatientName"])
def test_an_element_that_is_nowhere_is_a_loss(column: str) -> None:
    expected = expected_row(EVERYTHING)
    assert losses(expected, row_of(expected) | {column: None})


def test_bulk_data_that_points_elsewhere_is_a_loss() -> None:
    expected = expected_row(EVERYTHING)
    row = row_of(expected)
    row["bulk_data"][0]["offset"] += 1
    (loss,) = losses(expected, row)
    assert "points at" in loss


def test_both_spellings_of_a_path_are_equal() -> None:
    expected = expected_row(EVERYTHING)
    row = row_of(expected)
    for entry in row["OtherElements"]:
        entry["path"] = entry["path"].replace("ReferencedSeriesSequence", "00081115")
    assert differences(expected, row) == []
