"""Values as careless software writes them: each comes out as pydicom reads it, or as invalid."""

import struct

import pytest
from made_part10 import ITEM, ITEM_END, SEQUENCE_END, UNDEFINED, element, part10
from pydicom_oracle import differences, expected_row, losses

from harvester.dicom.columns import HeaderColumns
from harvester.dicom.header import Header
from harvester.dicom.part10 import HeaderParser

TEXTS = (b" ", b"A", b"ab ", b"A\\B", b"A \\ B\\", b"\\", b"\\\\X", b"a\0", b"a\0b", b"\0", b" x", b"x \0 ")
NAMES = (
    *(
        b"A^B",
        b"A^B=C=D",
        b"=C",
        b"==D",
        b"A=",
        b"A==",
        b"A^B^^^",
        b" A ^B ",
        b"A=B=C=D",
        b"A\\B",
        b"A=B\\C==D",
    ),
    *(b"\\A", b"A\\", b" ", b"A =B ", b"A^\0"),
)
DECIMALS = (
    *(
        b" ",
        b"1",
        b"1.5",
        b" 1 ",
        b"1e5",
        b"1E+5 ",
        b"-0.0",
        b"+3",
        b"N/A",
        b"1\\2",
        b"1\\",
        b"\\2",
        b"1\\N/A",
    ),
    *(
        b"1,5",
        b"0x10",
        b"1e999",
        b"1\\ \\3",
        b"1 2",
        b"1\0",
        b"1\0\\2",
        b"\0",
        b"1.\\.5",
        b"1d5",
        b"\xb2",
        b"-",
        b"1_0",
    ),
    *(b"123456789012345678901234567890", b"0.1000000000000000055511151231257827"),
)
INTEGERS = (
    *(
        b"0",
        b"007",
        b"1.0",
        b"1.5",
        b"-5",
        b"+5",
        b" 5 ",
        b"5\\6",
        b"5\\",
        b"1e3",
        b"2147483648",
        b"1A",
        b"1_0",
    ),
    *(b"9223372036854775807", b"9223372036854775808", b"-9223372036854775809", b"5\0", b" ", b"0x5", b"1e20"),
    *(b"9007199254740993", b"1.0\\2", b"nan", b"inf", b"1\\x", b"-0"),
)
DATES = (
    *(
        b"20240131",
        b"20241331",
        b"2024.01.31",
        b"202401",
        b"2024",
        b"20240131-20240201",
        b"20240131 ",
        b" 20240131",
    ),
    *(
        b"20240131\\20240201",
        b"00000000",
        b"99991231",
        b"00010101",
        b"20240131\\",
        b"20240131\0",
        b"2024-01-31",
    ),
    *(b" ", b"2024013a", b"20240229", b"20230229", b"2024.1.31", b"2024/01/31"),
)
TIMES = (
    *(
        b"11",
        b"1131",
        b"113112",
        b"113112.5",
        b"113112.123456",
        b"113112.1234567",
        b"240000",
        b"235960",
        b"1",
    ),
    *(
        b"11:31:12",
        b"113",
        b"1131 ",
        b" 1131",
        b"1131\\1132",
        b"113112.",
        b"11-12",
        b"1131\0",
        b"113161",
        b"1131\\",
    ),
    *(b"113112.12 ", b"113112.1 2", b"236000", b"000000.000000", b" "),
)
MOMENTS = (
    *(
        b"2024",
        b"202401",
        b"20240131",
        b"2024013111",
        b"202401311131",
        b"20240131113112",
        b"20240131113112.5",
    ),
    *(
        b"20240131113112.123456+0100",
        b"20240131113112-0500",
        b"2024+0100",
        b"20240131113160",
        b"20241331",
        b"202",
    ),
    *(
        b"00010101000000+0100",
        b"99991231235959-0100",
        b"20240131113112.1234567",
        b"20240131T113112",
        b"2024013",
    ),
    *(
        b"20240131113112 ",
        b" 2024",
        b"2024\\2025",
        b"20240131113112+2500",
        b"20240131113112+0160",
        b"2024-",
        b"2024x",
    ),
    *(
        b"20240131113112+01",
        b"20240131113112.+0100",
        b"20240131113112-0000",
        b"2024013111311.5",
        b"20240131+010",
    ),
    *(b"20240131113112+2400", b"20240131113112+2359", b"2024\0", b"20240131113112.123456+01000", b"20245"),
)
TAGS = (b"\x18\0\x63\x10", b"\x18\0\x63\x10\x18\0\x65\x10", b"\xff\xff\xff\xff")
ODD = {  # value representation: an attribute of VM 1, one of VM n, and what is written there
    "AE": (0x00080055, 0x00080054, TEXTS),
    "CS": (0x00080060, 0x00080008, TEXTS),
    "LO": (0x00080070, 0x00181020, TEXTS),
    "LT": (0x00104000, 0x00104000, TEXTS),
    "SH": (0x00080050, 0x00102154, TEXTS),
    "UC": (0x00080119, 0x0040A162, TEXTS),
    "UI": (
        0x00080018,
        0x0008001A,
        (b"1.2", b"1.2\0", b"1.2 ", b"1.2\\1.3", b"1.2\0\\1.3", b"x", b"\\1.2", b" 1.2"),
    ),
    "UR": (0x00080120, 0x00081190, TEXTS),
    "PN": (0x00100010, 0x00081048, NAMES),
    "DS": (0x00180050, 0x00280030, DECIMALS),
    "IS": (0x00200013, 0x00081160, INTEGERS),
    "DA": (0x00080020, 0x00181200, DATES),
    "TM": (0x00080030, 0x00181201, TIMES),
    "DT": (0x0008002A, 0x00189701, MOMENTS),
    "AT": (0x00720026, 0x00280009, TAGS),
    "US": (0x00280010, 0x00281101, (b"\0\0", b"\1\0\2\0", b"\xff\xff\0\0\x10\0")),
    "FD": (0x00189073, 0x00189089, (struct.pack("<d", float("nan")), struct.pack("<2d", -0.0, float("inf")))),
    "SV": (0x00720082, 0x00720082, (struct.pack("<q", -(2**63)),)),
    "UV": (0x00720083, 0x00720083, (struct.pack("<Q", 2**64 - 1),)),
}
CHARACTER_SETS = (
    (b"ISO_IR 100", b"Buc^J\xe9r\xf4me"),
    (b"ISO_IR 192", b"Wang^XiaoDong=\xe7\x8e\x8b^\xe5\xb0\x8f\xe4\xb8\x9c"),
    (b"ISO_IR 192", b"\xff\xfe"),
    (b"GB18030", b"Wang=\xcd\xf5"),
    (b"GBK", b"Wang=\xcd\xf5"),
    (b"ISO_IR 13", b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3"),
    (b"ISO_IR 144", b"\xbb\xee\xda"),
    (b"ISO-IR 100", b"J\xe9r\xf4me"),
    (b"BOGUS", b"J\xe9r\xf4me"),
    (
        b"\\ISO 2022 IR 87",
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
    ),
    (b"ISO 2022 IR 13\\ISO 2022 IR 87", b"\xd4\xcf\xc0\xde=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J"),
    (b"\\ISO 2022 IR 149", b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7"),
    (b"ISO 2022 IR 100\\ISO 2022 IR 144", b"J\xe9r\xf4me\x1b-L\xbb\xee"),
    (b"ISO_IR 192\\ISO 2022 IR 87", b"\xe5\xb1\xb1"),
)


def header_of(raw: bytes) -> Header:
    answer = HeaderParser(len(raw)).feed(raw)
    assert isinstance(answer, Header)
    return answer


def found_in(files: list[bytes]) -> list[str]:
    columns = HeaderColumns()
    for raw in files:
        columns.append(header_of(raw))
    arrays = columns.finish()
    rows = [{name: array[i].as_py() for name, array in arrays.items()} for i in range(len(files))]
    found = []
    for raw, row in zip(files, rows, strict=True):
        header = header_of(raw)
        expected = expected_row(raw)
        row |= {"preamble": header.preamble, "header_bytes": header.header_bytes}
        found += [f"{raw[-40:]!r}: {what}" for what in differences(expected, row) + losses(expected, row)]
    return found


@pytest.mark.parametrize("vr", ODD)
def test_odd_values_are_read_as_pydicom_reads_them(vr: str) -> None:
    single, many, values = ODD[vr]
    padding = b"\0" if vr == "UI" else b" "
    even = [value + padding[: len(value) % 2] for value in values]
    as_is = [part10(element(tag, vr, value)) for tag in (single, many) for value in (b"", *even)]
    as_unknown = [part10(element(tag, "UN", value)) for tag in (single, many) for value in (b"", *even)]
    assert found_in(as_is + as_unknown) == []


def test_text_is_decoded_by_its_character_set() -> None:
    files = [
        part10(
            element(0x00080005, "CS", character_set + b" "[: len(character_set) % 2]),
            element(0x00081030, "LO", text + b" "[: len(text) % 2]),
            element(0x00091001, "LO", text + b" "[: len(text) % 2]),
            element(0x00100010, "PN", text + b" "[: len(text) % 2]),
            element(0x00104000, "LT", text),
        )
        for character_set, text in CHARACTER_SETS
    ]
    assert found_in(files) == []


@pytest.mark.parametrize("vr", ["LO", "UT", "IS", "DS", "UL", "FD", "OB", "AT", "PN", "DA", "SQ"])
def test_another_vr_than_the_dictionary_s_loses_nothing_and_harms_no_other_row(vr: str) -> None:
    content = {"UL": bytes(8), "FD": bytes(8), "OB": b"abcd", "AT": bytes(4), "SQ": b""}.get(vr, b"12\\x")
    tags = sorted(
        {tag for single, many, _ in ODD.values() for tag in (single, many)} | {0x00081115, 0x00282000}
    )
    files = [part10(element(tag, vr, content)) for tag in tags]
    assert found_in(files) == []


def test_a_private_sequence_is_one_whatever_the_private_dictionary_says() -> None:
    # pydicom's dictionary has CS for this element; in implicit VR the items behind it decide.
    def implicit(tag: int, value: bytes, length: int) -> bytes:
        return struct.pack("<HHL", tag >> 16, tag & 0xFFFF, length) + value

    inside = implicit(0x00100020, b"id", 2)
    items = ITEM + struct.pack("<L", UNDEFINED) + inside + ITEM_END + bytes(4) + SEQUENCE_END + bytes(4)
    creator = implicit(0x00290010, b"SIEMENS CSA HEADER", 18)
    body = (creator, implicit(0x00291008, items, UNDEFINED), implicit(0x00400010, b"X ", 2))
    assert found_in([part10(*body, transfer_syntax=b"1.2.840.10008.1.2\0")]) == []
