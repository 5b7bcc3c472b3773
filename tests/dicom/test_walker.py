"""Where elements are: encodings, sequences, lengths that lie, bounds, values that are hopped over."""

import struct

import pytest
from header_feeding import content, depth_first, fed, outcome, plain, read, without_places
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

from harvester.dicom import ElementCache, Header, HeaderParser, NeedMore
from harvester.errors import HeaderLimitError, MalformedError, TruncatedError

IMPLICIT = b"1.2.840.10008.1.2\0"
BIG_ENDIAN = b"1.2.840.10008.1.2.2\0"
MODALITY = element(0x00080060, "CS", b"MR")
MODALITY_FOUND = (0x00080060, "CS", b"MR")
REFERENCES, CODES = 0x00081140, 0x00082218
CODE = element(0x00080100, "SH", b"T-1 ")
CODE_FOUND = (0x00080100, "SH", b"T-1 ")


def found(raw: bytes) -> list:
    """The data set's elements, whatever the pieces."""
    header = read(raw, len(raw))
    assert content(header) == content(read(raw, 1))
    return without_places(one for one in header.elements if one[0] >> 16 != 2)


@pytest.mark.parametrize("step", [1, 61, 4096])
def test_small_limits_give_the_same_header_in_pieces_and_whole(
    step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harvester.dicom.header_limits.MAX_KEPT_BINARY", 16)
    monkeypatch.setattr("harvester.dicom.header_limits.MAX_KEPT_VALUE", 32)
    values = [b"x" * length for length in (0, 8, 16, 18, 32, 34, 3000)]
    explicit = [element(0x00091001 + i, vr, one) for i, one in enumerate(values) for vr in ("LO", "UT", "OB")]
    tags = (0x00080070, 0x00081030, 0x00104000, 0x00182001, 0x00186011, 0x00203401, 0x00324000)
    plain_ones = [implicit(tag, one) for tag, one in zip(tags, values, strict=True)]
    for raw in (part10(*explicit), part10(*plain_ones, transfer_syntax=IMPLICIT)):
        assert content(read(raw, step)) == content(read(raw, len(raw)))


@pytest.mark.parametrize("make_sequence", [sequence, open_sequence])
@pytest.mark.parametrize("make_item", [item, open_item])
def test_sequences_and_items_of_defined_and_undefined_length_are_one_thing(make_sequence, make_item) -> None:
    inner = make_sequence(CODES, make_item(CODE), make_item())
    raw = part10(
        MODALITY, make_sequence(REFERENCES, make_item(inner), make_item(CODE)), element(CODES, "SQ", b"")
    )
    inside = (CODES, "SQ", [[CODE_FOUND], []])
    assert found(raw) == [MODALITY_FOUND, (REFERENCES, "SQ", [[inside], [CODE_FOUND]]), (CODES, "SQ", [])]


def test_numbers_of_a_big_endian_data_set_come_in_little_endian() -> None:
    values = {
        (0x00280010, "US"): struct.pack(">H", 512),
        (0x00280034, "IS"): b"1\\1 ",
        (0x00281101, "US"): struct.pack(">3H", 256, 0, 16),
        (0x00189073, "FD"): struct.pack(">d", 1.5),
        (0x00280009, "AT"): struct.pack(">2H", 0x18, 0x1063),
        (0x00720082, "SV"): struct.pack(">q", -2),
        (0x00720078, "UL"): struct.pack(">L", 70000),
        (0x00721234, "OW"): b"\x01\x02",
    }
    raw = part10(*(big_endian(*key, value) for key, value in values.items()), transfer_syntax=BIG_ENDIAN)
    header = read(raw)
    assert header.big_endian
    assert found(raw)[0] == (0x00280010, "US", struct.pack("<H", 512))
    assert [one[2] for one in found(raw)] == [
        *(struct.pack("<H", 512), b"1\\1 ", struct.pack("<3H", 256, 0, 16), struct.pack("<d", 1.5)),
        *(struct.pack("<2H", 0x18, 0x1063), struct.pack("<q", -2), struct.pack("<L", 70000), b"\x01\x02"),
    ]


def test_numbers_of_a_big_endian_data_set_that_do_not_fill_their_bytes_stay_as_they_are() -> None:
    raw = part10(big_endian(0x00280010, "US", b"abc"), transfer_syntax=BIG_ENDIAN)
    assert found(raw) == [(0x00280010, "US", b"abc")]


def test_big_endian_sequences_are_walked() -> None:
    items = struct.pack(">HHL", 0xFFFE, 0xE000, 12) + big_endian(0x00080100, "SH", b"T-1 ")
    end = struct.pack(">HHL", 0xFFFE, 0xE0DD, 0)
    undefined = struct.pack(">HH2sHL", 0x0008, 0x2218, b"SQ", 0, UNDEFINED) + items * 7 + end
    raw = part10(big_endian(REFERENCES, "SQ", items), undefined, transfer_syntax=BIG_ENDIAN)
    assert found(raw) == [(REFERENCES, "SQ", [[CODE_FOUND]]), (CODES, "SQ", [[CODE_FOUND]] * 7)]


def test_an_unknown_sequence_of_undefined_length_may_be_implicit_inside() -> None:
    # PS3.5 6.2.2 note 4; what is behind it is explicit again.
    inside = ITEM + struct.pack("<L", UNDEFINED) + implicit(0x00080100, b"T-1 ") + ITEM_END + bytes(4)
    raw = part10(open_sequence(0x00091010, inside, inside, vr="UN"), element(0x00100020, "LO", b"id"))
    assert found(raw) == [(0x00091010, "SQ", [[CODE_FOUND]] * 2), (0x00100020, "LO", b"id")]


def test_an_unknown_sequence_of_undefined_length_may_be_explicit_inside() -> None:
    raw = part10(open_sequence(0x00091010, open_item(CODE), item(CODE), vr="UN"))
    assert found(raw) == [(0x00091010, "SQ", [[CODE_FOUND]] * 2)]


def test_a_known_tag_written_as_un_has_its_vr_up_to_65_534_bytes() -> None:
    values = {
        0x00100010: (b"A^B ", "PN"),
        0x00280010: (b"\0\2", "US"),
        0x30060050: (b"1\\2\\3 " * 10922, "DS"),
    }
    raw = part10(*(element(tag, "UN", value) for tag, (value, _) in values.items()))
    assert found(raw) == [(tag, vr, value) for tag, (value, vr) in values.items()]
    # Longer ones may be UN because the length field of their VR is too short; pydicom leaves them, too.
    raw = part10(element(0x30060050, "UN", b"1\\2\\3 " * 10923))
    assert found(raw) == [(0x30060050, "UN", None)]


def test_letters_that_are_no_vr_are_read_in_the_short_form() -> None:
    raw = part10(
        element(0x00100010, "ZZ", b"A^B "), element(0x00091001, "QQ", b"ab"), element(0x00100020, "LO", b"id")
    )
    assert found(raw) == [(0x00100010, "PN", b"A^B "), (0x00091001, "UN", b"ab"), (0x00100020, "LO", b"id")]


def test_a_single_implicit_element_among_explicit_ones_is_read() -> None:
    raw = part10(MODALITY, implicit(0x00080070, b"ACME"), element(0x00100020, "LO", b"id"))
    assert found(raw) == [MODALITY_FOUND, (0x00080070, "LO", b"ACME"), (0x00100020, "LO", b"id")]


@pytest.mark.parametrize("stray", [ITEM_END, SEQUENCE_END])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_stray_delimitation_ends_nothing(stray: bytes, place: int) -> None:
    elements = [MODALITY, element(0x00100020, "LO", b"id")]
    elements[place:place] = [stray + bytes(4)]
    expected = [MODALITY_FOUND, (0x00100020, "LO", b"id")]
    if place:
        assert found(part10(*elements)) == expected
    plain_ones = [implicit(0x00080060, b"MR"), implicit(0x00100020, b"id")]
    plain_ones[place:place] = [stray + bytes(4)]
    assert found(part10(*plain_ones, transfer_syntax=IMPLICIT)) == expected


def test_an_item_out_of_place_in_an_item_is_malformed() -> None:
    with pytest.raises(MalformedError, match=r"\(FFFE,E000\) out of place \(at byte"):
        read(part10(MODALITY, open_sequence(REFERENCES, open_item(item(CODE)))))


def test_an_element_between_items_is_malformed() -> None:
    with pytest.raises(MalformedError, match=r"expected an item, found \(0008,0100\)"):
        read(part10(open_sequence(REFERENCES, item(CODE), CODE)))


def test_undefined_length_without_items_is_malformed() -> None:
    for vr in ("UT", "OB", "UN", "LO"):
        raw = part10(struct.pack("<HH", 0x0009, 0x1001) + vr.encode() + b"\0\0\xff\xff\xff\xff" + bytes(40))
        if vr != "LO":
            with pytest.raises(MalformedError, match="undefined length, but no item"):
                read(raw)


def test_fragments_that_are_no_pixel_data_are_bulk() -> None:
    fragments = item(b"abcd") + item(b"ef") + SEQUENCE_END + bytes(4)
    raw = part10(element(0x00091010, "OB", fragments, UNDEFINED), element(0x00100020, "LO", b"id"))
    header = read(raw, len(raw))
    assert content(header) == content(read(raw, 1))
    tag, vr, value, offset, length = header.elements[-2]
    assert (tag, vr, value) == (0x00091010, "OB", None)
    assert raw[offset : offset + length] == fragments[:-8]


def test_text_in_place_of_items_is_kept() -> None:
    for text in (b"AB", b"ABCD", b"ABCDEF", b"NAMED TYPE", b""):
        at_the_end = part10(MODALITY, element(REFERENCES, "SQ", text))
        between = part10(MODALITY, element(REFERENCES, "SQ", text), element(0x00100020, "LO", b"id"))
        plain_one = part10(implicit(0x00080060, b"MR"), implicit(REFERENCES, text), transfer_syntax=IMPLICIT)
        expected = (REFERENCES, "UN", text) if text else (REFERENCES, "SQ", [])
        assert found(at_the_end) == [MODALITY_FOUND, expected]
        assert found(between) == [MODALITY_FOUND, expected, (0x00100020, "LO", b"id")]
        assert found(plain_one) == [MODALITY_FOUND, expected]


@pytest.mark.parametrize(
    ("lie", "error"),
    [
        (element(0x00100020, "LO", b"id", 200), TruncatedError),
        (element(0x00104000, "UT", b"id", 3 << 30), TruncatedError),
        (element(0x00091001, "OB", b"id", 3 << 30), TruncatedError),
        (element(REFERENCES, "SQ", item(CODE), 3 << 30), TruncatedError),
        (element(REFERENCES, "SQ", item(CODE), 19), TruncatedError),
        (open_sequence(REFERENCES, item(element(0x00080100, "SH", b"T-1 ", 999))) + CODE, TruncatedError),
        (sequence(REFERENCES, item(sequence(CODES, item(CODE))[:-12])), TruncatedError),
        (element(REFERENCES, "SQ", ITEM + struct.pack("<L", 3 << 30) + CODE, UNDEFINED), TruncatedError),
        (element(REFERENCES, "SQ", ITEM + struct.pack("<L", UNDEFINED) + CODE, UNDEFINED), TruncatedError),
        (element(0x00091010, "OB", item(b"ab")[:-2] + b"abc", UNDEFINED), TruncatedError),
        (element(0x00091010, "OB", ITEM + struct.pack("<L", UNDEFINED), UNDEFINED), TruncatedError),
        (ITEM_END, TruncatedError),
        (b"\x08\0\x60\0", TruncatedError),
        (b"\x10\0\x20\0LO\x04\0id", TruncatedError),
    ],
)
def test_a_length_that_lies_is_an_error_whatever_the_pieces(lie: bytes, error: type[Exception]) -> None:
    raw = part10(MODALITY, lie)
    for step in (1, 61, len(raw)):
        assert outcome(raw, step) is error


@pytest.mark.parametrize("length", [0, 12, 13, 500, 3 << 30, UNDEFINED])
def test_a_sequence_s_end_ends_its_items_whatever_their_length_says(length: int) -> None:
    raw = part10(open_sequence(REFERENCES, ITEM + struct.pack("<L", length) + CODE), MODALITY)
    if length:
        assert found(raw) == [(REFERENCES, "SQ", [[CODE_FOUND]]), MODALITY_FOUND]
    else:
        assert outcome(raw, 1) is outcome(raw, len(raw)) is MalformedError


def test_an_element_that_overlaps_the_next_item_is_followed_to_the_sequence_s_end() -> None:
    # The first item says 12 bytes, its element reaches over the second item's header.
    lying = ITEM + struct.pack("<L", 12) + element(0x00080100, "SH", b"T-1 " + ITEM + struct.pack("<L", 12))
    raw = part10(sequence(REFERENCES, lying, item(CODE)), MODALITY)
    assert outcome(raw, 1) == outcome(raw, len(raw))
    header = read(raw)
    assert [len(one[2]) for one in header.elements if one[1] == "SQ"] == [2]


def test_zeros_behind_the_last_element_are_padding_and_anything_else_is_a_cut() -> None:
    for padding in (1, 4, 7):
        assert found(part10(MODALITY, bytes(padding))) == [MODALITY_FOUND]
        assert outcome(part10(MODALITY, b"\1" * padding)) is TruncatedError


def test_values_longer_than_what_is_kept_are_never_asked_for() -> None:
    long_binary, long_text = bytes(70_000), b"A" * (5 << 20)
    raw = part10(
        MODALITY,
        element(0x00091001, "OB", long_binary),
        sequence(REFERENCES, item(element(0x00091002, "OB", long_binary)), item(CODE)),
        element(0x00104000, "UT", long_text),
        element(0x00400280, "ST", b"short "),
        element(0x7FE00010, "OW", long_binary),
    )
    parser = HeaderParser(len(raw))
    fetched, answer = 300, parser.feed(raw[:300])
    while isinstance(answer, NeedMore):
        fetched += answer.stop - answer.start
        answer = parser.feed(raw[answer.start : answer.stop])
    assert fetched < 500
    hopped = [one for one in depth_first(answer.elements) if one[2] is None]
    assert [(one[0], raw[one[3] : one[3] + one[4]]) for one in hopped] == [
        (0x00091001, long_binary),
        (0x00091002, long_binary),
        (0x00104000, long_text),
    ]
    assert answer.header_bytes == raw.index(b"\xe0\x7f\x10\0")
    assert [stop - start for start, stop in parser.skipped] == [70_000, 70_000, 5 << 20]
    assert content(read(raw, len(raw))) == content(answer)


def test_text_up_to_the_bound_is_read_and_longer_text_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harvester.dicom.header_limits.MAX_KEPT_VALUE", 100_000)
    read_one = part10(element(0x00104000, "UT", b"A" * 100_000), MODALITY)
    hopped = part10(element(0x00104000, "UT", b"A" * 100_002), MODALITY)
    for step in (5000, len(hopped)):
        assert read(read_one, step).elements[-2][2] == b"A" * 100_000
        assert read(hopped, step).elements[-2][2] is None


def nested(depth: int, *, undefined: bool) -> bytes:
    if undefined:
        head = (
            struct.pack("<HH2sHL", 0x0008, 0x1140, b"SQ", 0, UNDEFINED) + ITEM + struct.pack("<L", UNDEFINED)
        )
        tail = ITEM_END + bytes(4) + SEQUENCE_END + bytes(4)
        return part10(head * depth + CODE + tail * depth)
    inside = CODE
    for _ in range(depth):
        inside = sequence(REFERENCES, item(inside))
    return part10(inside)


@pytest.mark.parametrize("undefined", [True, False])
def test_sequences_nest_64_deep_and_no_deeper(undefined: bool) -> None:  # noqa: FBT001
    header = read(nested(64, undefined=undefined), 61)
    assert len(list(depth_first(header.elements))) == 2 + 64 + 1
    for step in (1, 1 << 20):
        with pytest.raises(HeaderLimitError, match="nested more than 64 deep"):
            read(nested(65, undefined=undefined), step)


def test_too_many_elements_are_a_limit_whatever_the_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harvester.dicom.header_limits.MAX_ELEMENTS", 1000)
    for body in (
        [element(0x00091000 + i, "LO", b"") for i in range(1000)],
        [sequence(REFERENCES, *[item(CODE)] * 500)],
        [sequence(REFERENCES, *[item()] * 1000)],
        [open_sequence(REFERENCES, *[open_item(sequence(CODES, item()))] * 400)],
    ):
        few = part10(*body[:100]) if len(body) > 1 else part10(MODALITY)
        assert isinstance(read(few), Header)
        for step in (61, 4096, 1 << 20):
            with pytest.raises(HeaderLimitError, match="more than 1000 elements"):
                read(part10(*body), step)


def test_a_header_longer_than_the_limit_is_one_whatever_it_is_made_of() -> None:
    for body in (
        b"".join(element(0x00091000 + i, "LO", b"x" * 100) for i in range(300)),
        sequence(REFERENCES, *[item(CODE)] * 1500),
        element(0x00104000, "UT", b"A" * 30_000),
    ):
        raw = part10(body, element(0x7FE00010, "OW", bytes(4)))
        for step in (61, 4096):
            with pytest.raises(HeaderLimitError, match="longer than 20000 bytes"):
                read(raw, step, max_header_bytes=20_000)
    hopped = part10(element(0x00091001, "OB", bytes(70_000)), MODALITY)
    assert read(hopped, 4096, max_header_bytes=20_000).elements[-2][2] is None


def test_what_a_memory_knows_is_found_behind_items_of_undefined_length() -> None:
    cache = ElementCache()
    head = [open_sequence(REFERENCES, open_item(CODE)), MODALITY, element(0x00100020, "LO", b"id")]
    raw = part10(*head)
    first, second = read(raw, cache=cache), read(raw, cache=cache)
    assert plain(first.elements) == plain(second.elements)
    assert second.elements[-1] is first.elements[-1]


def test_an_error_says_where_and_stays() -> None:
    raw = part10(MODALITY, element(0x00100020, "LO", b"id", 200))
    parser = HeaderParser(len(raw))
    with pytest.raises(TruncatedError) as first:
        fed(parser, raw)
    assert first.value.offset == len(raw) - 2
    with pytest.raises(TruncatedError) as second:
        parser.feed(b"more")
    assert second.value is first.value
