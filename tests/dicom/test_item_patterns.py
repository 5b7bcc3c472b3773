"""Items read by an earlier item's pattern: the same as items that are walked one by one."""

import struct
from collections.abc import Iterator
from unittest.mock import patch

import pytest
from header_feeding import (
    WINDOW,
    content,
    depth_first,
    needs_corpus,
    plain,
    read,
    whole_files,
    whole_headers,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from made_part10 import ITEM, element, implicit, item, open_item, open_sequence, part10, sequence

from harvester.dicom import HeaderColumns
from harvester.dicom.element import Items, Run
from harvester.dicom.header import Header
from harvester.dicom.item_patterns import ItemPatterns

IMPLICIT = b"1.2.840.10008.1.2\0"
FRAMES = 0x52009230  # PerFrameFunctionalGroupsSequence
POSITIONS = 0x00209113  # PlanePositionSequence
POSITION = 0x00200032  # ImagePositionPatient
LABEL = 0x00181030  # ProtocolName


def runs(header: Header) -> list[Run]:
    sequences = [one[2] for one in depth_first(header.elements) if isinstance(one[2], Items)]
    return [part for items in sequences for part in items.parts if isinstance(part, Run)]


def walked_one_by_one(raw: bytes) -> Header:
    with patch("harvester.dicom.walker.MIN_ITEMS", 1 << 60):
        header = read(raw)
    assert not runs(header)
    return header


def frames(encode: str, *, count: int = 16, odd: dict[int, bytes] | None = None) -> bytes:
    """A multi-frame header; the items at the keys of `odd` end with another element's bytes."""
    is_implicit, is_open = encode.startswith("implicit"), encode.endswith("open")

    def one(tag: int, vr: str, value: bytes) -> bytes:
        return implicit(tag, value) if is_implicit else element(tag, vr, value)

    def items_of(tag: int, *items: bytes) -> bytes:
        if not is_implicit:
            return (open_sequence if is_open else sequence)(tag, *items)
        if not is_open:
            return implicit(tag, b"".join(items))
        return implicit(tag, b"".join(items) + b"\xfe\xff\xdd\xe0\0\0\0\0", 0xFFFFFFFF)

    wrap = open_item if is_open else item
    made = [
        wrap(
            one(LABEL, "LO", b"frame %02d" % i),
            items_of(POSITIONS, wrap(one(POSITION, "DS", b"0\\0\\%03d " % i))),
            one(0x00211001, "LO", b"%04d" % i),
            (odd or {}).get(i, b""),
        )
        for i in range(count)
    ]
    syntax = IMPLICIT if is_implicit else b"1.2.840.10008.1.2.1\0"
    return part10(one(0x00080060, "CS", b"MR"), items_of(FRAMES, *made), transfer_syntax=syntax)


ENCODINGS = ["explicit", "explicit open", "implicit", "implicit open"]


@pytest.mark.parametrize("encode", ENCODINGS)
def test_items_of_one_structure_become_a_run(encode: str) -> None:
    raw = frames(encode)
    header = read(raw)
    assert sum(map(len, runs(header))) >= 6
    assert content(header) == content(walked_one_by_one(raw))


@pytest.mark.parametrize("encode", ENCODINGS)
@pytest.mark.parametrize("place", range(8, 16))
def test_one_item_that_differs_is_read_as_what_it_is(encode: str, place: int) -> None:
    is_implicit = encode.startswith("implicit")

    def one(tag: int, vr: str, value: bytes) -> bytes:
        return implicit(tag, value) if is_implicit else element(tag, vr, value)

    for odd in (
        one(0x00211002, "LO", b"x "),
        one(0x00211002, "LO", b""),
        one(0x00281050, "DS", b"4000"),
        one(0x00281050, "DS", b"40") * 2,
        one(0x00210010, "LO", b"ACME"),
        one(0x00089215, "SQ", item(one(0x00080100, "SH", b"1 ")))
        if not is_implicit
        else implicit(0x00089215, item(implicit(0x00080100, b"1 "))),
    ):
        for others in (
            {place: odd},
            {place: odd, place + 1: odd},
            dict.fromkeys(range(16), odd) | {place: b""},
        ):
            raw = frames(encode, odd=others)
            assert content(read(raw)) == content(walked_one_by_one(raw))


def test_text_in_place_of_a_sequence_is_told_from_items_of_the_same_length() -> None:
    nested = implicit(0x0040A170, item(implicit(0x00080100, b"1 ")))
    text = implicit(0x0040A170, b"NAMED TYPE and mor")
    assert len(nested) == len(text)
    items = [item(implicit(LABEL, b"%02d" % i), text) for i in range(16)]
    items[13] = item(implicit(LABEL, b"13"), nested)
    raw = part10(implicit(0x00080060, b"SR"), implicit(0x0040A730, b"".join(items)), transfer_syntax=IMPLICIT)
    header = read(raw)
    assert content(header) == content(walked_one_by_one(raw))
    found = [one for one in depth_first(header.elements) if one[0] == 0x0040A170]
    assert [one[1] for one in found] == ["UN"] * 13 + ["SQ"] + ["UN"] * 2


def test_private_elements_of_items_keep_the_vr_that_their_own_creator_gives() -> None:
    def frame(creator: bytes, i: int) -> bytes:
        return item(implicit(0x00290010, creator), implicit(0x00291008, b"%04d" % i))

    known, unknown = b"SIEMENS CSA HEADER", b"SOMEBODY ELSE'S 18"
    items = [frame(unknown if i in (11, 13) else known, i) for i in range(18)]
    raw = part10(implicit(0x00080060, b"MR"), implicit(FRAMES, b"".join(items)), transfer_syntax=IMPLICIT)
    header = read(raw)
    assert content(header) == content(walked_one_by_one(raw))
    vrs = [one[1] for one in depth_first(header.elements) if one[0] == 0x00291008]
    assert vrs == ["UN" if i in (11, 13) else "CS" for i in range(18)]


def test_an_item_that_claims_more_than_its_sequence_has_ends_with_it() -> None:
    inside = element(LABEL, "LO", b"abcd")
    lying = ITEM + struct.pack("<L", 500) + inside
    raw = part10(element(0x00080060, "CS", b"MR"), sequence(FRAMES, *[item(inside)] * 12, lying))
    header = read(raw)
    assert content(header) == content(walked_one_by_one(raw))
    assert len(header.elements[-1][2]) == 13


@st.composite
def similar_items(draw: st.DrawFn) -> bytes:
    """A sequence whose items are drawn from a few structures, nested and not, of any two lengths."""
    is_implicit = draw(st.booleans())

    def one(tag: int, vr: str, value: bytes) -> bytes:
        return implicit(tag, value) if is_implicit else element(tag, vr, value)

    def structure() -> Iterator[tuple[int, int]]:
        tags = draw(
            st.lists(st.sampled_from([LABEL, POSITION, 0x00210010, 0x00211001, 0x0040A170]), unique=True)
        )
        return ((tag, draw(st.sampled_from([0, 2, 10, 18]))) for tag in sorted(tags))

    structures = [tuple(structure()) for _ in range(draw(st.integers(1, 3)))]
    alphabet = st.sampled_from([b"1 ", b"\\2", b"\xfe\xff", b"\x00\xe0", b"AB"])

    def made() -> bytes:
        body = b""
        for tag, length in draw(st.sampled_from(structures)):
            value = b"".join(draw(st.lists(alphabet, min_size=length // 2, max_size=length // 2)))
            if tag == 0x0040A170 and length == 18 and draw(st.booleans()):
                value = item(one(0x00080100, "SH", b"1 "))
            vr = {LABEL: "LO", POSITION: "DS", 0x00210010: "LO", 0x00211001: "LO", 0x0040A170: "SQ"}[tag]
            body += one(tag, vr, value)
        return open_item(body) if draw(st.booleans()) else item(body)

    items = [made() for _ in range(draw(st.integers(9, 20)))]
    head = one(0x00080060, "CS", b"MR")
    syntax = IMPLICIT if is_implicit else b"1.2.840.10008.1.2.1\0"
    whole = implicit(FRAMES, b"".join(items)) if is_implicit else sequence(FRAMES, *items)
    return part10(head, whole, transfer_syntax=syntax)


@settings(max_examples=150, deadline=None)
@given(raw=similar_items())
def test_drawn_items_read_by_pattern_equal_items_walked_one_by_one(raw: bytes) -> None:
    try:
        expected = content(walked_one_by_one(raw))
    except Exception as error:  # noqa: BLE001  whatever it is, it must be the same
        with pytest.raises(type(error)):
            read(raw, len(raw))
        return
    assert content(read(raw, len(raw))) == expected


def without_runs(header: Header) -> Header:
    """The same header, each item walked for itself."""

    def copied(elements: list) -> list:
        made = []
        for tag, vr, raw, offset, length in elements:
            value = raw
            if isinstance(raw, Items):
                value = Items()
                value.parts = [copied(one) for one in raw]
            made.append((tag, vr, value, offset, length))
        return made

    fields = {name: getattr(header, name) for name in Header.__slots__ if name != "elements"}
    return Header(elements=copied(header.elements), **fields)


def columns_of(*headers: Header) -> dict:
    columns = HeaderColumns()
    for header in headers:
        columns.append(header)
    return columns.finish()


@settings(max_examples=50, deadline=None)
@given(raws=st.lists(similar_items(), min_size=1, max_size=3))
def test_columns_filled_run_by_run_equal_columns_filled_item_by_item(raws: list[bytes]) -> None:
    headers = []
    for raw in raws:
        try:
            headers.append(read(raw, len(raw)))
        except Exception:  # noqa: BLE001  held by the test above
            continue
    assert columns_of(*headers, *headers) == columns_of(*map(without_runs, [*headers, *headers]))


@needs_corpus
def test_every_multi_frame_header_of_the_corpus_is_the_same_without_patterns() -> None:
    compared = 0
    for path, raw in whole_files().items():
        if b"\x00\x52\x30\x92" not in raw[: 1 << 20]:
            continue
        cut = whole_headers()[path]
        if len(cut) > 400_000:
            continue
        header = read(raw, WINDOW)
        assert plain(header.elements) == plain(read(raw, 61).elements), path
        assert columns_of(header) == columns_of(without_runs(header)), path
        compared += 1
    assert compared >= 5


@pytest.mark.parametrize("made", [item, open_item])
def test_few_layouts_are_learnt_where_all_items_differ_in_length(made) -> None:
    items = [made(element(LABEL, "LO", b"x" * 2 * (length + 1))) for length in range(100)]
    with patch.object(ItemPatterns, "learn", autospec=True, side_effect=ItemPatterns.learn) as learn:
        header = read(part10(sequence(FRAMES, *items)))

    assert learn.call_count < 10
    assert len(header.elements[-1][2]) == 100


@pytest.mark.parametrize("made", [item, open_item])
def test_items_are_read_by_a_pattern_again_behind_items_that_all_differ(made) -> None:
    differing = [made(element(LABEL, "LO", b"x" * 2 * (length + 1))) for length in range(100)]
    alike = [
        made(element(LABEL, "LO", b"%03d " % number), element(POSITION, "DS", b"1 ")) for number in range(40)
    ]
    raw = part10(sequence(FRAMES, *differing, *alike))
    header = read(raw)

    assert sum(map(len, runs(header))) > 30
    assert content(header) == content(walked_one_by_one(raw))
