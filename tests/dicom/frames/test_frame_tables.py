"""Offset tables that tell the truth are believed, others are refused with a reason."""

import struct

import pytest
from frame_reading import Asked, found_in, index_from, made, places
from header_feeding import read
from hypothesis import given
from hypothesis import strategies as st
from made_part10 import element, item, part10

from harvester.dicom.frames import PixelData
from harvester.errors import FrameIndexError

ONE_EACH = [[b"\xff\xd8\xff\xe0" + bytes([number] * 2 * number)] for number in range(1, 41)]
SEVERAL = [[b"\xff\xd8\xff\xe0" + bytes([number] * 10), b"more", b"end!"] for number in range(1, 41)]


def true_table(frames):
    raw = made(frames, table=[0] * len(frames))
    offsets, lengths = places(raw, frames)
    return [offset - offsets[0] for offset in offsets], lengths


def with_basic(frames, table, **how):
    return made(frames, table=table, **how)


def with_extended(frames, offsets, lengths, **how):
    return made(frames, extended=(offsets, lengths), **how)


@pytest.mark.parametrize("frames", [ONE_EACH, SEVERAL], ids=["one fragment", "several fragments"])
def test_a_true_basic_table_is_believed(frames):
    table, _ = true_table(frames)
    raw = with_basic(frames, table)
    index = index_from(raw, "basic")
    assert (list(index.offsets), list(index.lengths)) == places(raw, frames)


def test_a_true_extended_table_is_believed():
    table, lengths = true_table(ONE_EACH)
    raw = with_extended(ONE_EACH, table, [length - 8 for length in lengths])
    index = index_from(raw, "extended")
    assert (list(index.offsets), list(index.lengths)) == places(raw, ONE_EACH)


def test_a_length_without_the_padding_is_the_same():
    table, lengths = true_table(ONE_EACH)
    raw = with_extended(ONE_EACH, table, [length - 9 for length in lengths])
    index = index_from(raw, "extended")
    assert (list(index.offsets), list(index.lengths)) == places(raw, ONE_EACH)


def test_lengths_that_count_the_items_header_spoil_nothing():
    table, lengths = true_table(ONE_EACH)
    raw = with_extended(ONE_EACH, table, lengths)
    index = index_from(raw, "extended")
    assert (list(index.offsets), list(index.lengths)) == places(raw, ONE_EACH)


def test_a_long_extended_table_is_asked_for_where_it_lies():
    frames = [[bytes(2)]] * 9000  # 72,000 bytes a table: longer than what a header keeps
    table, lengths = true_table(frames)
    raw = with_extended(frames, table, [length - 8 for length in lengths])
    asked = Asked()
    index = index_from(raw, "extended", asked)
    assert (list(index.offsets), list(index.lengths)) == places(raw, frames)
    assert asked.rounds == 4  # the first item, both tables, and a look at some frames
    assert asked.bytes < 2 * 72000 + 200


@pytest.mark.parametrize("source", ["basic", "extended"])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda offsets: [offsets[0] + 2, *offsets[1:]], "first fragment"),
        (lambda offsets: [*offsets[:-1], offsets[-1] + 2], "no item starts"),
        (lambda offsets: [*offsets[:5], offsets[6], offsets[5], *offsets[7:]], "before the previous"),
        (lambda offsets: [*offsets[:-1], 0xFFFFFF00], "behind the object's end"),
        (lambda offsets: offsets[:-1], "bytes for 40 frames"),
        (lambda offsets: [*offsets, offsets[-1] + 8], "bytes for 40 frames"),
        (lambda offsets: [0] * len(offsets), "before the previous"),
    ],
    ids=["first", "last", "order", "behind", "fewer", "more", "zeros"],
)
def test_a_table_that_lies_is_refused_and_the_frames_are_found_all_the_same(source, change, reason):
    table, lengths = true_table(ONE_EACH)
    lie, lengths = change(table), change(lengths) if len(change(table)) != 40 else lengths
    if source == "basic":
        raw = with_basic(ONE_EACH, lie, number_of_frames=40)
    else:
        raw = with_extended(ONE_EACH, lie, [length - 8 for length in lengths], number_of_frames=40)
    with pytest.raises(FrameIndexError, match=reason):
        index_from(raw, source)
    found = found_in(raw)
    assert found.index.source == "scan"
    assert [lied for lied, _ in found.refused] == [source]
    assert (list(found.index.offsets), list(found.index.lengths)) == places(raw, ONE_EACH)


def test_with_no_more_effort_than_tables_a_lie_leaves_nothing():
    table, _ = true_table(ONE_EACH)
    found = found_in(with_basic(ONE_EACH, [2, *table[1:]]), "table")
    assert found.index is None
    assert "frame 1" in str(found.refused[0][1])


def test_an_empty_basic_table_is_none():
    raw = made(ONE_EACH)
    with pytest.raises(FrameIndexError, match="empty"):
        index_from(raw, "basic")
    assert found_in(raw, "table").refused == ()


def test_an_extended_table_without_lengths_is_none():
    table, _ = true_table(ONE_EACH)
    raw = made(ONE_EACH, extended=(table, []))
    with pytest.raises(FrameIndexError, match="lengths has 0 bytes"):
        index_from(raw, "extended")


def test_more_frames_than_bytes_are_refused_before_anything_is_read():
    raw = made([[b"one"]], number_of_frames=2_000_000_000, table=[0])
    asked = Asked()
    with pytest.raises(FrameIndexError, match="more than the pixel data can have"):
        index_from(raw, "extended", asked)
    assert asked.bytes == 0


def test_a_table_longer_than_the_object_is_refused():
    header = element(0x7FE00010, "OB", b"\xfe\xff\x00\xe0" + struct.pack("<L", 4_000_000_000), 0xFFFFFFFF)
    raw = part10(element(0x00280008, "IS", b"2 "), header)
    with pytest.raises(FrameIndexError, match="inside its basic offset table"):
        index_from(raw, "basic")


def test_a_number_of_frames_that_is_no_number_is_said():
    pixel_data = element(0x7FE00010, "OB", item() + item(b"12"), 0xFFFFFFFF)
    raw = part10(element(0x00280008, "IS", b"1A"), pixel_data)
    with pytest.raises(FrameIndexError, match="no number"):
        PixelData.of(read(raw), len(raw))


@given(
    place=st.integers(0, 39),
    offset=st.integers(0, 2**32 - 1),
    extended=st.booleans(),
)
def test_no_offset_is_believed_that_is_looked_at_and_wrong(place, offset, extended):
    few = ONE_EACH[:12]  # each of so few is looked at
    table, lengths = true_table(few)
    lie = [*table]
    lie[place % 12] = offset
    raw = with_extended(few, lie, [length - 8 for length in lengths]) if extended else with_basic(few, lie)
    found = found_in(raw)
    assert (list(found.index.offsets), list(found.index.lengths)) == places(raw, few)
    assert (found.refused == ()) == (lie == table)


@given(st.lists(st.integers(0, 2**32 - 1), max_size=20))
def test_a_table_of_noise_is_refused_or_true(table):
    few = ONE_EACH[:12]
    found = found_in(with_basic(few, table, number_of_frames=12))
    assert found.index is not None
    assert all(isinstance(error, FrameIndexError) for _, error in found.refused)


@given(st.lists(st.integers(0, 2**64 - 1), max_size=14), st.lists(st.integers(0, 2**64 - 1), max_size=14))
def test_an_extended_table_of_noise_is_refused(offsets, lengths):
    few = ONE_EACH[:12]
    found = found_in(made(few, extended=(offsets, lengths)))
    assert found.index.source == "scan"
