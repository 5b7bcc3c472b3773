"""From the first byte of an object to its header: prefixes, transfer syntaxes, pixel data, cut objects."""

import struct
import tracemalloc
import zlib

import pytest
from header_feeding import (
    CORPUS,
    PACKAGE,
    content,
    fed,
    inventory,
    needs_corpus,
    outcome,
    read,
    without_places,
)
from made_part10 import SEQUENCE_END, UNDEFINED, big_endian, element, implicit, item, part10, sequence
from pydicom.uid import UID_dictionary

from harvester.dicom import Header, HeaderParser, NeedMore
from harvester.dicom.part10 import DEFLATED
from harvester.errors import HeaderLimitError, MalformedError, NotDicomError, TruncatedError

EXPLICIT = b"1.2.840.10008.1.2.1\0"
IMPLICIT = b"1.2.840.10008.1.2\0"
BIG_ENDIAN = b"1.2.840.10008.1.2.2\0"
CLASS = b"1.2.840.10008.5.1.4.1.1.4\0"
EXPLICIT_BODY = element(0x00080016, "UI", CLASS) + element(0x00100020, "LO", b"id")
IMPLICIT_BODY = implicit(0x00080016, CLASS) + implicit(0x00100020, b"id")
BIG_ENDIAN_BODY = big_endian(0x00080016, "UI", CLASS) + big_endian(0x00100020, "LO", b"id")
BODY_FOUND = [(0x00080016, "UI", CLASS), (0x00100020, "LO", b"id")]
TRANSFER_SYNTAXES = sorted(uid for uid, entry in UID_dictionary.items() if entry[1] == "Transfer Syntax")


def data_set(header: Header) -> list:
    return without_places(one for one in header.elements if one[0] >> 16 not in (0, 2))


def deflated(body: bytes, uid: bytes = b"1.2.840.10008.1.2.1.99") -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return part10(packer.compress(body) + packer.flush(), transfer_syntax=uid)


@pytest.mark.parametrize("uid", TRANSFER_SYNTAXES)
def test_a_file_of_any_transfer_syntax_is_read(uid: str) -> None:
    padded = uid.encode() + b"\0" * (len(uid) % 2)
    if uid in DEFLATED:
        raw = deflated(EXPLICIT_BODY, padded)
    else:
        body = {IMPLICIT: IMPLICIT_BODY, BIG_ENDIAN: BIG_ENDIAN_BODY}.get(padded, EXPLICIT_BODY)
        raw = part10(body, transfer_syntax=padded)
    for step in (1, 61, 4096):
        header = read(raw, step)
        assert data_set(header) == BODY_FOUND
        assert header.transfer_syntax_uid == uid
        assert header.deflated == (uid in DEFLATED)
        assert header.implicit == (padded == IMPLICIT)
        assert header.big_endian == (padded == BIG_ENDIAN)


def test_the_first_element_decides_whether_vrs_are_implicit() -> None:
    for written, body in ((EXPLICIT, IMPLICIT_BODY), (IMPLICIT, EXPLICIT_BODY)):
        header = read(part10(body, transfer_syntax=written), 1)
        assert data_set(header) == BODY_FOUND
        assert header.implicit is (body == IMPLICIT_BODY)


@pytest.mark.parametrize(
    ("prefix", "kind"),
    [
        (bytes(128), "zero"),
        (b"II*\0" + bytes(124), "tiff"),
        (b"MM\0*" + bytes(124), "tiff"),
        (b"II+\0" + bytes(124), "tiff"),
        (b"MM\0+" + bytes(124), "tiff"),
        (bytes(127) + b"\1", "other"),
        (b"\x08\0\x05\0CS" + bytes(122), "other"),
    ],
)
def test_the_preamble_is_told(prefix: bytes, kind: str) -> None:
    raw = part10(EXPLICIT_BODY, preamble=prefix)
    assert {read(raw, step).preamble for step in (1, len(raw))} == {kind}


@pytest.mark.parametrize("body", [EXPLICIT_BODY, IMPLICIT_BODY, BIG_ENDIAN_BODY])
def test_a_data_set_without_prefix_and_without_meta_information_is_read(body: bytes) -> None:
    is_implicit, is_big_endian = body == IMPLICIT_BODY, body == BIG_ENDIAN_BODY
    for step in (1, 1000):
        header = read(body, step)
        assert header.preamble == "none"
        assert header.transfer_syntax_uid is None
        assert (header.implicit, header.big_endian) == (is_implicit, is_big_endian)
        assert without_places(header.elements) == BODY_FOUND


def test_meta_information_without_prefix_is_read() -> None:
    header = read(part10(IMPLICIT_BODY, transfer_syntax=IMPLICIT)[132:])
    assert header.preamble == "none"
    assert header.transfer_syntax_uid == "1.2.840.10008.1.2"
    assert data_set(header) == BODY_FOUND


def test_a_prefix_without_meta_information_is_read() -> None:
    for body in (EXPLICIT_BODY, IMPLICIT_BODY):
        header = read(bytes(128) + b"DICM" + body)
        assert (header.preamble, header.transfer_syntax_uid) == ("zero", None)
        assert without_places(header.elements) == BODY_FOUND


@pytest.mark.parametrize("length", [None, 0, 1, 28, 5000, 0xFFFFFFFF])
def test_the_meta_information_s_group_length_is_not_trusted(length: int | None) -> None:
    meta = element(0x00020010, "UI", EXPLICIT)
    if length is not None:
        meta = element(0x00020000, "UL", struct.pack("<L", length)) + meta
    raw = bytes(128) + b"DICM" + meta + EXPLICIT_BODY
    assert {data_set(read(raw, step)) == BODY_FOUND for step in (1, len(raw))} == {True}


def test_dicm_at_byte_128_of_a_data_set_without_prefix_is_text() -> None:
    head = element(0x00080005, "CS", b"ISO_IR 100")
    text = b"." * (128 - len(head) - 8) + b"DICM" + b"." * 40
    raw = head + element(0x00080070, "LO", text) + element(0x00100020, "LO", b"id")
    assert raw[128:132] == b"DICM"
    header = read(raw, 1)
    assert header.preamble == "none"
    assert header.elements[-1][:3] == (0x00100020, "LO", b"id")


def test_a_command_set_is_implicit_whatever_the_transfer_syntax() -> None:
    # PS3.7 6.3.1
    command = implicit(0x00000002, CLASS) + implicit(0x00000100, struct.pack("<H", 1))
    for syntax, body in ((EXPLICIT, EXPLICIT_BODY), (IMPLICIT, IMPLICIT_BODY)):
        raw = part10(command, body, transfer_syntax=syntax)
        for step in (1, 4096):
            header = read(raw, step)
            found = without_places(one for one in header.elements if one[0] >> 16 == 0)
            assert found == [(0x00000002, "UI", CLASS), (0x00000100, "US", b"\1\0")]
            assert data_set(header) == BODY_FOUND
    alone = read(part10(command))
    assert [one[0] >> 16 for one in alone.elements] == [2, 2, 0, 0]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"DICM",
        bytes(127),
        bytes(132),
        bytes(128) + b"DICM",
        bytes(128) + b"DICM\x02\0",
        bytes(1000),
        b"\x1f\x8b\x08" + bytes(300),
        b"<html><body>not found</body></html>" * 20,
        b"version https://git-lfs.github.com/spec/v1\n" * 4,
        b"\x08\0\x05\0CS",
        b"\x28\xb5\x2f\xfd" + bytes(200),
        b"\xff" * 300,
    ],
)
def test_what_is_no_dicom_says_so(raw: bytes) -> None:
    for step in (1, 4096):
        with pytest.raises((NotDicomError, TruncatedError)):
            read(raw, step) if raw else HeaderParser(0).feed(b"")
    with pytest.raises((NotDicomError, TruncatedError)):
        HeaderParser().finish(len(raw)) if not raw else outcome_untold(raw)


def outcome_untold(raw: bytes) -> Header:
    parser = HeaderParser()
    answer = parser.feed(raw)
    return parser.finish(len(raw)) if isinstance(answer, NeedMore) else answer


@pytest.mark.parametrize("step", [1, 61, 4096])
def test_an_object_whose_size_is_not_known_ends_where_it_is_told_to(step: int) -> None:
    for raw in (
        part10(EXPLICIT_BODY),
        deflated(EXPLICIT_BODY),
        IMPLICIT_BODY,
        part10(EXPLICIT_BODY, element(0x00091001, "OB", bytes(70_000))),
        part10(EXPLICIT_BODY, element(0x7FE00010, "OB", b"", UNDEFINED)),
    ):
        parser = HeaderParser()
        answer = parser.feed(raw[:step])
        while isinstance(answer, NeedMore) and answer.start < len(raw):
            answer = parser.feed(raw[answer.start : answer.start + step])
        header = parser.finish(len(raw))
        assert content(header) == content(read(raw))
        assert parser.finish(len(raw)) is header
        assert parser.feed(b"more") is header


@pytest.mark.parametrize("behind", [b"\x08", EXPLICIT_BODY[:20], element(0x00091001, "OB", b"", 70_000)])
def test_an_object_that_is_told_to_end_inside_its_header_is_truncated(behind: bytes) -> None:
    raw = part10(EXPLICIT_BODY, behind)
    parser = HeaderParser()
    answer = parser.feed(raw)
    assert isinstance(answer, NeedMore)
    with pytest.raises(TruncatedError):
        parser.finish(len(raw))


def test_a_deflated_data_set_has_its_offsets_in_what_it_inflates_to() -> None:
    body = EXPLICIT_BODY + element(0x7FE00010, "OW", bytes(5000))
    raw = deflated(body)
    start = len(part10(transfer_syntax=b"1.2.840.10008.1.2.1.99"))
    for step in (1, 61, 4096):
        header = read(raw, step)
        assert header.deflated
        assert header.header_bytes == start + len(EXPLICIT_BODY)
        assert header.pixel_data_offset == start + len(EXPLICIT_BODY) + 12
        assert header.elements[-1][3] == start + len(EXPLICIT_BODY) - 2


def test_long_values_of_a_deflated_data_set_are_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harvester.dicom.header_limits.MAX_KEPT_VALUE", 100_000)
    body = (
        element(0x00080070, "LO", b"ACME")
        + element(0x00091001, "OB", bytes(3 << 20))
        + element(0x00104000, "UT", b"A" * 200_000)
        + sequence(0x00400555, item(element(0x00091001, "OB", b"\1" * 70_000)))
        + element(0x7FE00009, "OD", bytes(16))
    )
    raw = deflated(body)
    for step in (1, 1000, len(raw)):
        header = read(raw, step)
        assert [one[2] is None for one in header.elements[2:5]] == [False, True, True]
        assert header.pixel_data_keyword == "DoubleFloatPixelData"
        assert header.header_bytes - len(part10(transfer_syntax=b"1.2.840.10008.1.2.1.99")) == len(body) - 28


def test_damage_behind_the_header_of_a_deflated_data_set_does_no_harm() -> None:
    body = (
        EXPLICIT_BODY
        + element(0x00104000, "UT", bytes(range(256)) * 20)
        + element(0x7FE00010, "OW", bytes(64))
    )
    whole = deflated(body)
    expected = content(read(whole))
    for damaged in (whole[:-3] + b"\xff\xff\xff", whole[:-12] + b"\xff" * 12):
        outcomes = [outcome(damaged, step) for step in (1, 61, len(damaged))]
        assert outcomes == [outcomes[0]] * 3
    assert outcome(whole[:-1] + b"\xff", len(whole)) == expected


def test_damage_in_the_header_of_a_deflated_data_set_is_malformed() -> None:
    raw = deflated(EXPLICIT_BODY)
    start = raw.index(b"1.99") + 4
    for damaged in (raw[:start] + b"\xff" * 20, raw[:start] + zlib.compress(EXPLICIT_BODY)):
        for step in (1, len(damaged)):
            assert outcome(damaged, step) is MalformedError


def test_a_deflated_data_set_may_begin_with_two_zeros() -> None:
    body = EXPLICIT_BODY + element(0x00104000, "UT", b"A" * (256 - len(EXPLICIT_BODY) - 12))
    stored = b"\0" + struct.pack("<HH", 256, 0xFFFF - 256) + body + b"\1\0\0\xff\xff"
    raw = part10(stored, transfer_syntax=b"1.2.840.10008.1.2.1.99")
    for step in (1, len(raw)):
        assert data_set(read(raw, step))[:2] == BODY_FOUND


def test_a_deflated_data_set_that_is_cut_is_truncated() -> None:
    raw = deflated(EXPLICIT_BODY)
    for end in range(len(part10(transfer_syntax=b"1.2.840.10008.1.2.1.99")) + 1, len(raw)):
        for step in (1, end):
            assert outcome(raw[:end], step) is TruncatedError


@pytest.mark.parametrize("step", [1 << 16, 1 << 30])
def test_a_deflated_bomb_is_a_limit_before_it_takes_memory(step: int) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    head = element(0x00091001, "OB", b"", 1 << 30)
    zeros = bytes(1 << 20)
    packed = packer.compress(head) + b"".join(packer.compress(zeros) for _ in range(64)) + packer.flush()
    raw = part10(packed, transfer_syntax=b"1.2.840.10008.1.2.1.99")
    tracemalloc.start()
    with pytest.raises(HeaderLimitError, match="inflates beyond the limit"):
        read(raw, step, max_header_bytes=16 << 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


@pytest.mark.parametrize("step", [4096, 1 << 20])
def test_a_deflated_data_set_of_nothing_is_not_read_for_ever(step: int) -> None:
    nothing = b"\0\0\0\xff\xff" * 200_000  # stored blocks of no bytes
    raw = part10(nothing, transfer_syntax=b"1.2.840.10008.1.2.1.99")
    with pytest.raises(HeaderLimitError, match="longer than the limit"):
        read(raw, step, max_header_bytes=200_000)


@pytest.mark.parametrize("keyword", ["PixelData", "FloatPixelData", "DoubleFloatPixelData"])
def test_the_header_ends_in_front_of_the_pixel_data(keyword: str) -> None:
    tag, vr = {"PixelData": (0x7FE00010, "OW"), "FloatPixelData": (0x7FE00008, "OF")}.get(
        keyword, (0x7FE00009, "OD")
    )
    raw = part10(EXPLICIT_BODY, element(tag, vr, bytes(1600)))
    for step in (1, 4096):
        header = read(raw, step)
        assert header.pixel_data_keyword == keyword
        assert header.header_bytes == len(raw) - 1612
        assert header.pixel_data_offset == len(raw) - 1600
        assert header.pixel_data_length == 1600
        assert header.encapsulated is header.basic_offset_table is header.extended_offset_table or (
            header.encapsulated is False
        )


def test_the_pixel_data_of_an_item_is_not_the_object_s() -> None:
    icon = sequence(0x00880200, item(element(0x7FE00010, "OW", bytes(64))))
    header = read(part10(icon, element(0x00900000, "UL", bytes(4)), element(0x7FE00010, "OW", bytes(8))))
    assert header.pixel_data_length == 8
    assert header.elements[-2][2] is not None


@pytest.mark.parametrize("make", ["explicit", "implicit", "big endian"])
@pytest.mark.parametrize("table", [b"", bytes(8)])
@pytest.mark.parametrize("extended", [None, b"", bytes(16)])
def test_offset_tables_are_told_from_the_first_item_and_the_extended_table(
    make: str, table: bytes, extended: bytes | None
) -> None:
    if make == "big endian":
        items = struct.pack(">HHL", 0xFFFE, 0xE000, len(table)) + table
        pixels = struct.pack(">HH2sHL", 0x7FE0, 0x0010, b"OB", 0, UNDEFINED) + items
        extra = big_endian(0x7FE00001, "OV", extended) if extended is not None else b""
        raw = part10(BIG_ENDIAN_BODY, extra, pixels, transfer_syntax=BIG_ENDIAN)
    elif make == "implicit":
        extra = implicit(0x7FE00001, extended) if extended is not None else b""
        pixels = implicit(0x7FE00010, item(table) + item(b"ab") + SEQUENCE_END + bytes(4), UNDEFINED)
        raw = part10(IMPLICIT_BODY, extra, pixels, transfer_syntax=IMPLICIT)
    else:
        extra = element(0x7FE00001, "OV", extended) if extended is not None else b""
        pixels = element(0x7FE00010, "OB", item(table) + item(b"ab") + SEQUENCE_END + bytes(4), UNDEFINED)
        raw = part10(EXPLICIT_BODY, extra, pixels)
    for step in (1, 4096):
        header = read(raw, step)
        assert header.encapsulated is True
        assert header.pixel_data_length is None
        assert header.basic_offset_table is bool(table)
        assert header.extended_offset_table is bool(extended)


def test_no_more_than_eight_bytes_behind_the_pixel_data_element_s_header_are_asked_for() -> None:
    pixels = element(0x7FE00010, "OB", item(bytes(8)) + item(bytes(5000)), UNDEFINED)
    raw = part10(EXPLICIT_BODY, pixels)
    end = len(raw) - len(pixels) + 12
    asked, parser = [], HeaderParser(len(raw))
    answer = parser.feed(raw[:1])
    while isinstance(answer, NeedMore):
        asked.append(answer)
        answer = parser.feed(raw[answer.start : answer.start + 1])
    assert max(need.stop for need in asked) == end + 8
    assert {need.last for need in asked if need.stop > end} == {True}
    assert not any(need.last for need in asked if need.stop <= end)
    native = part10(EXPLICIT_BODY, element(0x7FE00010, "OW", bytes(5000)))
    parser = HeaderParser(len(native))
    assert isinstance(parser.feed(native[: len(native) - 5000]), Header)


@pytest.mark.parametrize("behind", range(9))
def test_an_object_cut_in_its_first_fragment_has_its_header(behind: int) -> None:
    pixels = element(0x7FE00010, "OB", item(bytes(8)), UNDEFINED)
    raw = part10(EXPLICIT_BODY, pixels)[: len(part10(EXPLICIT_BODY)) + 12 + behind]
    header = read(raw, 1)
    assert header.encapsulated is True
    assert header.basic_offset_table is (behind == 8 or (behind > 4))


@needs_corpus
def test_positions_and_tables_of_every_corpus_file_are_those_of_the_inventory() -> None:
    compared = 0
    for path, known in inventory().items():
        raw = (CORPUS / path).read_bytes()
        if (
            not known["header_length"]
            or known["header_parses"] != "True"
            or not isinstance(outcome(raw), tuple)
        ):
            continue
        header = read(raw, 4096)
        compared += 1
        assert header.deflated == (known["deflated"] == "True"), path
        if known["has_pixel_data"] == "True":
            assert header.header_bytes == int(known["header_length"]), path
            assert str(header.encapsulated) == known["encapsulated"], path
            assert header.pixel_data_length == (
                None if header.encapsulated else int(known["pixel_length"])
            ), path
        if header.encapsulated:
            if known["bot"]:
                assert header.basic_offset_table == (known["bot"] not in ("False", "empty", "0")), path
            assert header.extended_offset_table == (known["eot"] == "True"), path
    assert compared > 300


@needs_corpus
def test_what_is_asked_for_of_real_files_is_their_header_and_eight_bytes() -> None:
    for path in inventory():
        raw = (CORPUS / path).read_bytes()
        if not isinstance(outcome(raw), tuple):
            continue
        header = read(raw)
        if header.deflated:
            continue
        parser = HeaderParser(len(raw))
        answer, last = parser.feed(raw[:140]), 140
        while isinstance(answer, NeedMore):
            last = max(last, answer.stop)
            answer = parser.feed(raw[answer.start : answer.stop])
        end = header.pixel_data_offset or len(raw)
        assert last <= end + (8 if header.encapsulated else 0), path


def test_an_empty_data_set_behind_meta_information_is_a_header() -> None:
    header = read((PACKAGE / "test_files" / "CT_small.dcm").read_bytes()[:336])
    assert {one[0] >> 16 for one in header.elements} == {2}
    assert header.header_bytes == 336
    assert fed(HeaderParser(336), (PACKAGE / "test_files" / "CT_small.dcm").read_bytes()[:336], 7)
