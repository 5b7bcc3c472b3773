"""Files that break the encoding rules as real archives have them: no value is wrong, no row is short."""

import datetime as dt
import re
import shutil
import struct
import subprocess
import sys

import pytest
from checkout import ROOT
from header_feeding import content, outcome, read
from made_part10 import (
    ITEM,
    ITEM_END,
    SEQUENCE_END,
    UNDEFINED,
    big_endian,
    element,
    implicit,
    item,
    open_item,
    open_sequence,
    part10,
    sequence,
)

from harvester.dicom import HeaderColumns, HeaderParser
from harvester.dicom.header_limits import MAX_EMPTY_ELEMENTS, MAX_IRREGULARITIES
from harvester.errors import MalformedError, TruncatedError

IMPLICIT, BIG_ENDIAN = b"1.2.840.10008.1.2\0", b"1.2.840.10008.1.2.2\0"
MODALITY = element(0x00080060, "CS", b"OT")
SECONDARY_CAPTURE = element(0x00080016, "UI", b"1.2.840.10008.5.1.4.1.1.7\0")
BASIC_TEXT_SR = element(0x00080016, "UI", b"1.2.840.10008.5.1.4.1.1.88.11\0")
INSTANCE = element(0x00080018, "UI", b"1.2.3\0")
PATIENT = element(0x00100020, "LO", b"id")
CODE = element(0x00080100, "SH", b"T-1 ")
REFERENCES, CODES = 0x00081140, 0x00082218
IMAGE = (
    element(0x00280010, "US", b"\4\0"),
    element(0x00280011, "US", b"\4\0"),
    element(0x00280100, "US", b"\x10\0"),
)


def row_of(raw: bytes) -> dict:
    """The row, which is the same in whatever pieces the bytes come."""
    header = read(raw, len(raw))
    for step in (1, 61):
        assert content(read(raw, step)) == content(header)
    columns = HeaderColumns()
    columns.append(header)
    return {name: array[0].as_py() for name, array in columns.finish().items()}


def invalid(row: dict) -> dict[str, str]:
    return {entry["path"]: entry["text"] for entry in row["invalid_elements"]}


def reasons(row: dict) -> list[tuple[str, str]]:
    return [(entry["path"], entry["reason"]) for entry in row["invalid_elements"]]


def one_value(tag: int, vr: str, value: bytes, keyword: str) -> object:
    """The column's value, or the text in `invalid_elements`."""
    row = row_of(part10(MODALITY, element(tag, vr, value + b" " * (len(value) % 2))))
    assert (row[keyword] is None) == (keyword in invalid(row))
    return row[keyword] if row[keyword] is not None else f"invalid: {invalid(row)[keyword]}"


@pytest.mark.parametrize(
    "text",
    [
        *("2021-12-31T23:59:59", "2021.12.31", "2021/12/31", "20211231235959+01:00", "20211231235959+01"),
        *("20211231 +0100", "2020-2021", "2020+1401", "2020-1201", "2020+0060", "2020-0000"),
        *("20211231235959.1234567", "20211301", "2021123124", "2021x", "202", "20211231235961"),
    ],
)
def test_a_datetime_is_valid_as_a_whole_or_invalid(text: str) -> None:
    assert one_value(0x0008002A, "DT", text.encode(), "AcquisitionDateTime") == f"invalid: {text}"


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2021", dt.datetime(2021, 1, 1)),  # noqa: DTZ001
        ("20211231235960.5", dt.datetime(2021, 12, 31, 23, 59, 59, 500_000)),  # noqa: DTZ001
        ("20211231000000+1400", dt.datetime(2021, 12, 30, 10)),  # noqa: DTZ001
        ("202112312359-1200", dt.datetime(2022, 1, 1, 11, 59)),  # noqa: DTZ001
        ("2021-1000", dt.datetime(2021, 1, 1, 10)),  # noqa: DTZ001
    ],
)
def test_a_datetime_in_the_standard_s_form_is_one(text: str, moment: dt.datetime) -> None:
    assert one_value(0x0008002A, "DT", text.encode(), "AcquisitionDateTime") == moment


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10:20:30", dt.time(10, 20, 30)),
        ("10:20:30.25", dt.time(10, 20, 30, 250_000)),
        *((text, f"invalid: {text}") for text in ("10:20", "10:20:3", "1:20:30", "102030.1234567", "10203x")),
        *((text, f"invalid: {text}") for text in ("25:20:30", "10.20.30", "10:20:30+0100", "102030 0100")),
    ],
)
def test_a_time_with_colons_is_one_and_nothing_else_is_guessed(text: str, expected: object) -> None:
    assert one_value(0x00080030, "TM", text.encode(), "StudyTime") == expected


@pytest.mark.parametrize("text", ["2020 1 1", "2020+1+1", "20200101x", "2020-01-01", "2020.0101", "202001"])
def test_a_date_is_valid_as_a_whole_or_invalid(text: str) -> None:
    assert one_value(0x00080020, "DA", text.encode(), "StudyDate") == f"invalid: {text}"


@pytest.mark.parametrize("text", ["NaN", "inf", "-Infinity", "1e400", "nan", "1_0", "0x10"])
def test_what_python_takes_for_a_number_is_none(text: str) -> None:
    assert one_value(0x00180050, "DS", text.encode(), "SliceThickness") == f"invalid: {text}"
    assert one_value(0x00200013, "IS", text.encode(), "InstanceNumber") == f"invalid: {text}"
    many = "\\".join(["1.5"] * 20 + [text])
    row = row_of(part10(element(0x30060050, "DS", many.encode() + b" " * (len(many) % 2))))
    assert invalid(row) == {"ContourData": many}


def test_leading_blanks_are_no_part_of_a_code_string_or_a_short_or_long_string() -> None:
    row = row_of(
        part10(
            element(0x00080060, "CS", b"  OT"),
            element(0x00080050, "SH", b" A"),
            element(0x00080070, "LO", b" A"),
            element(0x00104000, "LT", b" A"),
        )
    )
    assert (row["Modality"], row["AccessionNumber"], row["Manufacturer"]) == ("OT", "A", "A")
    assert row["PatientComments"] == " A"  # PS3.5 6.2: leading spaces of LT are significant


def test_a_cut_image_that_is_filled_with_zeros_is_truncated() -> None:
    for zeros in (9, 4000, 200_000):
        for head in (
            (SECONDARY_CAPTURE, INSTANCE, MODALITY),
            (INSTANCE, MODALITY, *IMAGE),
            (MODALITY, *IMAGE[:1]),
        ):
            raw = part10(*head) + bytes(zeros)
            for step in (4096, len(raw)):
                assert outcome(raw, step) is TruncatedError


def test_a_cut_inside_a_sequence_that_is_filled_with_zeros_is_truncated() -> None:
    whole = part10(SECONDARY_CAPTURE, INSTANCE, sequence(REFERENCES, *[item(CODE)] * 20), MODALITY, *IMAGE)
    for cut in range(whole.index(ITEM), len(whole) - 30, 7):
        assert outcome(whole[:cut] + bytes(3000)) in (TruncatedError, MalformedError)


def test_zeros_behind_an_object_without_pixel_data_are_padding() -> None:
    row = row_of(part10(BASIC_TEXT_SR, INSTANCE, MODALITY, PATIENT) + bytes(5000))
    assert (row["Modality"], row["PatientID"]) == ("OT", "id")
    assert reasons(row) == [("CommandGroupLength", "5000 zero bytes in place of an element")]


def test_zeros_between_elements_are_passed_over_and_noted() -> None:
    row = row_of(part10(INSTANCE, MODALITY, bytes(64), PATIENT))
    assert row["PatientID"] == "id"
    assert len(row["invalid_elements"]) == 1
    assert outcome(part10(INSTANCE, MODALITY, bytes(64), b"\1\2\3\4garbage")) is MalformedError


@pytest.mark.parametrize("zeros", [4, 6, 8, 10, 128])
@pytest.mark.parametrize("close", [item, open_item])
def test_zeros_in_an_item_are_passed_over_and_noted(close, zeros: int) -> None:
    padding = bytes(zeros)
    for ending in ((padding,), (padding, element(0x00080104, "LO", b"B "))):
        row = row_of(part10(open_sequence(REFERENCES, close(CODE, *ending), item(CODE)), PATIENT))
        assert [one["CodeValue"] for one in row["ReferencedImageSequence"]] == ["T-1", "T-1"]
        assert row["ReferencedImageSequence"][0].get("CodeMeaning") == (None if len(ending) == 1 else "B")
        assert row["PatientID"] == "id"
        assert [one["path"] for one in row["invalid_elements"]] == [
            "ReferencedImageSequence[0].CommandGroupLength"
        ]


@pytest.mark.parametrize("close", [item, open_item])
def test_a_command_element_in_an_item_does_not_end_the_header(close) -> None:
    command = element(0, "UL", bytes(4))
    row = row_of(part10(sequence(REFERENCES, close(command, CODE)), PATIENT))
    assert row["ReferencedImageSequence"][0]["CodeValue"] == "T-1"
    assert row["PatientID"] == "id"
    unlike = implicit(0, b"\1\0\0\0")
    raw = part10(implicit(REFERENCES, close(unlike, implicit(0x00080100, b"T-1 "))), transfer_syntax=IMPLICIT)
    assert row_of(raw)["ReferencedImageSequence"][0]["CodeValue"] == "T-1"


def test_nine_megabytes_of_zeros_are_not_read_as_elements() -> None:
    raw = part10(BASIC_TEXT_SR, INSTANCE, MODALITY) + bytes(9 << 20)
    header = read(raw, 16 << 10)
    assert len(header.elements) < 10
    assert header.header_bytes == len(raw)
    parser = HeaderParser(len(raw))
    parser.feed(raw)
    assert parser.headers_read < 100  # a million, when each eight zeros were an element


@pytest.mark.parametrize("blank", [b"  ", b"\0\0", b"??", b"- "])
def test_an_element_without_a_vr_is_read_by_what_follows(blank: bytes) -> None:
    def without_vr(tag: int, value: bytes) -> bytes:
        return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, blank, len(value)) + value

    for pixels in (bytes(32), b"\xff" * 32, bytes(300_000)):
        row = row_of(
            part10(
                *IMAGE,
                without_vr(0x00280120, b"\0\0"),
                element(0x00281050, "DS", b"40"),
                without_vr(0x00324000, b""),
                element(0x00400310, "ST", b"text"),
                element(0x7FE00010, "OW", pixels),
            )
        )
        assert (row["PixelPaddingValue"], row["WindowCenter"], row["CommentsOnRadiationDose"]) == (
            0,
            [40.0],
            "text",
        )
        assert "StudyComments" in row["empty_elements"]
    inner = sequence(REFERENCES, item(without_vr(0x00080100, b"A "), element(0x00080104, "LO", b"B ")))
    row = row_of(part10(MODALITY, inner, PATIENT))
    assert row["ReferencedImageSequence"] == [{"CodeValue": "A", "CodeMeaning": "B"}]


@pytest.mark.parametrize("blank", [b"  ", b"\0\0", b"??", b"ZZ"])
def test_a_long_form_without_a_vr_is_read_by_what_follows(blank: bytes) -> None:
    def without_vr(tag: int, value: bytes, length: int | None = None) -> bytes:
        size = len(value) if length is None else length
        return struct.pack("<HH2sHL", tag >> 16, tag & 0xFFFF, blank, 0, size) + value

    coded = without_vr(REFERENCES, item(CODE))
    open_ended = without_vr(REFERENCES, item(CODE) + SEQUENCE_END + bytes(4), UNDEFINED)
    for references in (coded, open_ended):
        nested = sequence(CODES, item(references))
        row = row_of(part10(nested, without_vr(0x00081199, b""), PATIENT))
        assert row["AnatomicRegionSequence"][0]["ReferencedImageSequence"] == [{"CodeValue": "T-1"}]
        assert row["PatientID"] == "id"
    text = without_vr(0x00081190, b"http://a")
    assert row_of(part10(MODALITY, text, PATIENT))["RetrieveURL"] == "http://a"
    assert row_of(part10(MODALITY, text))["RetrieveURL"] == "http://a"


def test_elements_that_are_implicit_among_explicit_ones_are_read_as_such() -> None:
    for value in (b"", b"AB", b"A" * 300, b"A" * 70_000):
        row = row_of(part10(MODALITY, implicit(0x00104000, value), element(0x00181030, "LO", b"x ")))
        assert row["PatientComments"] == (value.decode() or None)
        assert row["ProtocolName"] == "x"


def test_every_element_of_a_replaced_value_is_kept() -> None:
    deep = sequence(
        REFERENCES, item(CODE, sequence(CODES, item(CODE))), item(element(0x00080104, "LO", b"B "))
    )
    long = element(0x00420011, "OB", b"\1" * 70_000)
    row = row_of(part10(deep, element(REFERENCES, "SQ", b""), long, element(0x00420011, "OB", b"")))
    assert row["ReferencedImageSequence"] == []
    found = invalid(row)
    assert found["ReferencedImageSequence[0].CodeValue"] == "T-1"
    assert found["ReferencedImageSequence[0].AnatomicRegionSequence[0].CodeValue"] == "T-1"
    assert found["ReferencedImageSequence[1].CodeMeaning"] == "B"
    assert {"EncapsulatedDocument", "ReferencedImageSequence"} <= found.keys()
    assert [one["length"] for one in row["bulk_data"] if one["path"] == "EncapsulatedDocument"].count(
        70_000
    ) == 1
    assert all(entry["reason"].startswith("repeated") for entry in row["invalid_elements"])


def test_a_repeated_element_without_a_column_is_marked() -> None:
    creator, table = element(0x00090010, "LO", b"ACME"), element(0x00281201, "OW", b"\1\0")
    private = sequence(0x00091001, item(PATIENT)), element(0x00091001, "SQ", b"")
    row = row_of(part10(creator, *private, table, table))
    assert invalid(row).keys() == {"00091001", "00091001[0].PatientID", "RedPaletteColorLookupTableData"}
    assert [entry["path"] for entry in row["OtherElements"]] == ["00090010", "00091001"]


def test_each_item_s_first_element_decides_its_encoding() -> None:
    creator = implicit(0x20050014, b"Philips MR Imaging DD 005 ")
    explicit_item = item(element(0x00189077, "CS", b"NO"), element(0x00189179, "CS", b"IEC_WHOLE_BODY"))
    implicit_item = item(implicit(0x00189077, b"NO"), implicit(0x00189179, b"IEC"))
    for items in ((explicit_item,), (implicit_item, explicit_item), (explicit_item, implicit_item) * 9):
        body = (implicit(0x00080060, b"MR"), creator, implicit(0x2005140F, b"".join(items)))
        row = row_of(part10(*body, implicit(0x20500020, b"IDENTITY"), transfer_syntax=IMPLICIT))
        assert row["PresentationLUTShape"] == "IDENTITY"
        texts = [
            entry["Data"]
            for entry in row["OtherElements"]
            if entry["path"].endswith("SpecificAbsorptionRateDefinition")
        ]
        assert texts == [["IEC_WHOLE_BODY" if one is explicit_item else "IEC"] for one in items]
    standard_one = implicit(REFERENCES, item(CODE) + item(implicit(0x00080100, b"T-2 ")))
    row = row_of(part10(implicit(0x00080060, b"MR"), standard_one, transfer_syntax=IMPLICIT))
    assert row["ReferencedImageSequence"] == [{"CodeValue": "T-1"}, {"CodeValue": "T-2"}]
    mixed = sequence(REFERENCES, item(implicit(0x00080100, b"T-2 ")), item(CODE))
    assert row_of(part10(mixed))["ReferencedImageSequence"] == [{"CodeValue": "T-2"}, {"CodeValue": "T-1"}]


def test_a_sequence_of_defined_length_that_cannot_be_followed_is_kept_as_bytes() -> None:
    for broken in (
        sequence(REFERENCES, item(element(0x00080100, "SH", b"T-1 ", 900)), item(CODE)),
        sequence(REFERENCES, item(CODE), CODE),
        sequence(REFERENCES, item(element(CODES, "SQ", b"ABCDABCD", UNDEFINED))),
        sequence(REFERENCES, open_item(item(CODE))),
        sequence(REFERENCES, bytes(2), item(CODE)),
    ):
        raw = part10(MODALITY, broken, PATIENT)
        assert [outcome(raw, step) for step in (1, 3, 7)] == [outcome(raw)] * 3
        row = row_of(raw)
        assert (row["Modality"], row["PatientID"]) == ("OT", "id")
        (bulk,) = [one for one in row["bulk_data"] if one["path"] == "ReferencedImageSequence"]
        assert raw[bulk["offset"] : bulk["offset"] + bulk["length"]] == broken[12:]
        ((path, reason),) = reasons(row)
        assert path == "ReferencedImageSequence"
        assert reason.startswith("kept as UN: ")


def test_an_item_that_begins_behind_its_sequence_is_found_in_pieces_of_any_size() -> None:
    begun = ITEM + struct.pack("<L", UNDEFINED) + element(CODES, "SQ", b"", UNDEFINED) + ITEM
    raw = part10(MODALITY, sequence(REFERENCES, begun), PATIENT, element(0x00200011, "IS", b"12"))
    assert row_of(raw)["SeriesNumber"] == 12
    assert [outcome(raw, step) for step in (1, 3, 7)] == [outcome(raw)] * 3


def test_un_in_big_endian_holds_little_endian() -> None:
    inside = implicit(0x0040A040, b"TEXT") + implicit(0x00280010, b"\7\0")
    open_one = ITEM + struct.pack("<L", UNDEFINED) + inside + ITEM_END + bytes(4) + SEQUENCE_END + bytes(4)
    undefined = struct.pack(">HH2sHL", 0x0040, 0xA730, b"UN", 0, UNDEFINED) + open_one
    defined = big_endian(0x0040A730, "UN", item(inside))
    swapped = big_endian(0x0040A040, "CS", b"TEXT") + big_endian(0x00280010, "US", b"\0\7")
    swapped = struct.pack(">HHL", 0xFFFE, 0xE000, len(swapped)) + swapped
    swapped = undefined[:12] + swapped + struct.pack(">HHL", 0xFFFE, 0xE0DD, 0)
    for un in (undefined, defined, swapped):
        row = row_of(
            part10(
                big_endian(0x00080060, "CS", b"OT"),
                un,
                big_endian(0x00540010, "US", b"\0\7"),
                big_endian(0x00540011, "UN", b"\5\0"),
                transfer_syntax=BIG_ENDIAN,
            )
        )
        assert row["ContentSequence"] == [{"ValueType": "TEXT", "Rows": 7}]
        assert (row["EnergyWindowVector"], row["NumberOfEnergyWindows"]) == ([7], 5)


KOREAN, CHINESE, JAPANESE = b"\\ISO 2022 IR 149", b"\\ISO 2022 IR 58 ", b"\\ISO 2022 IR 87 "


@pytest.mark.parametrize(
    ("character_set", "raw", "name"),
    [
        (b"ISO 2022 IR 100\\ISO 2022 IR 149", b"\xe7^\x1b$)C\xa4\xba^\xe7", "ç^ㅊ^ç"),
        (KOREAN, b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7", "Hong^Gildong"),
        (CHINESE, b"\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1", "张^小"),
        (JAPANESE, b"\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(J", "山田^太郎"),
        (JAPANESE, b"\x1b$B;3ED^\x1b$BB@O:", None),
    ],
)
def test_the_delimiters_of_a_name_return_to_the_first_character_set(
    character_set: bytes, raw: bytes, name: str | None
) -> None:
    row = row_of(
        part10(
            element(0x00080005, "CS", character_set), element(0x00100010, "PN", raw + b" " * (len(raw) % 2))
        )
    )
    if name is not None:
        assert row["PatientName"]["Alphabetic"] == name
    assert "\x1b" not in repr(row)


def test_text_with_code_extensions_is_decoded_line_by_line() -> None:
    raw = b"\x1b$)A\xd5\xc5\r\n\x1b$)A\xd0\xa1\r\nend\x1b(B."
    row = row_of(
        part10(element(0x00080005, "CS", CHINESE), element(0x00104000, "LT", raw + b" " * (len(raw) % 2)))
    )
    assert row["PatientComments"] == "张\r\n小\r\nend."


@pytest.mark.parametrize("escape", [b"\x1b]0;x\x07", b"\x1b$B;3", b"\x1b", b"\x1b[31m", b"\x1b$)Z\xb0\xa1"])
def test_a_text_with_an_escape_sequence_that_is_left_is_invalid(escape: bytes) -> None:
    value = b"a" + escape + b" " * ((len(escape) + 1) % 2)
    row = row_of(
        part10(
            element(0x00080050, "SH", value),
            element(0x00080060, "CS", value),
            element(0x00090010, "LO", b"ACME"),
            element(0x00091001, "LO", value),
            element(0x00100010, "PN", value),
            element(0x00104000, "LT", value),
        )
    )
    assert "\x1b" not in repr(row)
    assert set(invalid(row)) == {"AccessionNumber", "Modality", "PatientName", "PatientComments", "00091001"}
    assert all(text.startswith("a") for text in invalid(row).values())


def test_a_stray_delimitation_in_a_sequence_of_defined_length_is_passed_over() -> None:
    code = sequence(CODES, item(CODE))
    comment = element(0x00400310, "ST", b"text")
    for stray in (SEQUENCE_END, ITEM_END):
        row = row_of(part10(sequence(REFERENCES, item(code, stray + bytes(4), comment), item(CODE)), PATIENT))
        assert row["ReferencedImageSequence"][0]["CommentsOnRadiationDose"] == "text"
        assert row["ReferencedImageSequence"][1]["CodeValue"] == "T-1"
        assert "CommentsOnRadiationDose" not in row
        assert row["PatientID"] == "id"
        between = sequence(REFERENCES, item(CODE), stray + bytes(4), item(CODE))
        assert len(row_of(part10(between, PATIENT))["ReferencedImageSequence"]) == 2
        first = sequence(REFERENCES, stray + bytes(4), item(CODE))
        assert row_of(part10(first, PATIENT))["ReferencedImageSequence"] == [{"CodeValue": "T-1"}]
    opened = open_sequence(REFERENCES, ITEM_END + bytes(4), item(CODE))
    assert row_of(part10(opened, PATIENT))["ReferencedImageSequence"] == [{"CodeValue": "T-1"}]
    behind = open_sequence(REFERENCES, item(CODE) + ITEM_END + bytes(4), item(CODE) + ITEM_END + bytes(4))
    assert len(row_of(part10(behind, PATIENT))["ReferencedImageSequence"]) == 2


def test_an_item_without_its_sequence_is_passed_over() -> None:
    row = row_of(
        part10(MODALITY, ITEM + struct.pack("<L", len(PATIENT)), PATIENT, element(0x00181030, "LO", b"x "))
    )
    assert (row["PatientID"], row["ProtocolName"]) == ("id", "x")
    assert len(row["invalid_elements"]) == 1


def test_irregularities_are_listed_up_to_a_bound() -> None:
    row = row_of(part10(MODALITY, (ITEM_END + bytes(4)) * 5000, PATIENT))
    assert row["PatientID"] == "id"
    assert len(row["invalid_elements"]) == MAX_IRREGULARITIES + 1


def test_an_unknown_vr_has_the_long_form_unless_an_element_follows_the_short_one() -> None:
    head = element(0x00090010, "LO", b"ACME")
    for value in (b"v1.0.2", b"", b"x" * 3000):
        long = struct.pack("<HH2sHL", 0x0009, 0x1001, b"ZZ", 0, len(value)) + value
        assert row_of(part10(head, long, PATIENT))["PatientID"] == "id"
        short = struct.pack("<HH2sH", 0x0009, 0x1001, b"ZZ", len(value)) + value
        assert row_of(part10(head, short, PATIENT))["PatientID"] == "id"
        assert row_of(part10(MODALITY, head, short))["Modality"] == "OT"


def test_a_wrong_byte_order_is_named() -> None:
    meta = big_endian(0x00020010, "UI", b"1.2.840.10008.1.2.2\0")
    with pytest.raises(MalformedError, match="File Meta Information is in big endian"):
        read(bytes(128) + b"DICM" + meta + big_endian(0x00080060, "CS", b"OT"))
    with pytest.raises(MalformedError, match="in big endian, its transfer syntax"):
        read(part10(big_endian(0x00080060, "CS", b"OT")))
    with pytest.raises(MalformedError, match="in little endian, its transfer syntax"):
        read(part10(MODALITY, transfer_syntax=BIG_ENDIAN))


def test_an_empty_element_can_be_told_from_an_absent_one() -> None:
    row = row_of(
        part10(
            MODALITY,
            element(0x00080020, "DA", b""),
            element(0x00081140, "SQ", b""),
            element(0x00090010, "LO", b"ACME"),
            element(0x00091001, "LO", b""),
            element(0x00100010, "PN", b"  "),
            sequence(CODES, item(element(0x00080100, "SH", b""), element(0x00080104, "LO", b"B "))),
            element(0x00280010, "US", b""),
        )
    )
    assert set(row["empty_elements"]) == {
        *("StudyDate", "ReferencedImageSequence", "00091001", "PatientName", "Rows"),
        "AnatomicRegionSequence[0].CodeValue",
    }
    assert len(row["empty_elements"]) == 6
    assert row_of(part10(MODALITY))["empty_elements"] == []


def test_an_element_without_a_value_is_empty_in_whichever_vr_it_is_written() -> None:
    raw = part10(MODALITY, element(0x00200013, "AT", b""), element(0x00280010, "DA", b""))
    columns = HeaderColumns()
    for _ in range(3):
        columns.append(read(raw, len(raw)))
    found = columns.finish()
    assert found["empty_elements"].to_pylist() == [["InstanceNumber", "Rows"]] * 3
    assert found["invalid_elements"].to_pylist() == [[]] * 3


@pytest.mark.parametrize("count", [3, 100, 2000])
def test_empty_elements_of_many_items_are_listed_up_to_a_bound(count: int) -> None:
    items = [
        item(element(0x00080100, "SH", b""), sequence(CODES, item(CODE, element(0x00080104, "LO", b""))))
        for _ in range(count)
    ]
    row = row_of(part10(MODALITY, sequence(REFERENCES, *items)))
    paths = row["empty_elements"]
    assert len(paths) == len(set(paths)) == min(2 * count, MAX_EMPTY_ELEMENTS)
    assert {path.partition(".")[2] for path in paths} == {
        "CodeValue",
        "AnatomicRegionSequence[0].CodeMeaning",
    }
    assert paths[-1].startswith(f"ReferencedImageSequence[{len(paths) // 2 - 1}].")
    expected = [("", f"{2 * count} elements without a value, empty_elements has {MAX_EMPTY_ELEMENTS}")]
    assert reasons(row) == (expected if 2 * count > MAX_EMPTY_ELEMENTS else [])


def test_the_table_of_a_folder_has_a_row_or_a_failure_for_each_file(tmp_path) -> None:
    (tmp_path / "good.dcm").write_bytes(part10(MODALITY, PATIENT))
    (tmp_path / "bad.dcm").write_bytes(b"not dicom at all")
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "odd_files", tmp_path], check=True, capture_output=True, text=True
    )
    assert "good.dcm\n" in done.stdout
    assert "PatientID                        'id'" in done.stdout
    assert "failure: not_dicom" in done.stdout


@pytest.mark.skipif(shutil.which("dcmdump") is None, reason="dcmtk's dcmdump is not here")
def test_values_of_mutated_headers_are_those_of_pydicom_and_dcmtk(tmp_path) -> None:
    command = [sys.executable, ROOT / "scripts" / "fuzz_values.py", "--cases", "60", "--findings", tmp_path]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(re.search(r"(\d+) value compared", done.stdout)[1]) > 100
