"""A file that is DICOM and TIFF at once names its frames in its TIFF directory."""

import struct

import pytest
from frame_reading import found_in, index_from, made, places
from hypothesis import given
from hypothesis import strategies as st
from made_part10 import element
from made_tiff import FORMS, Form, beginning, directory

from harvester.errors import FrameIndexError

FRAMES = [[b"\xff\xd8\xff\xe0" + bytes([number] * 2 * number)] for number in range(1, 31)]
LITTLE = FORMS[0]


def dual(form, frames=FRAMES, entries=None, number_of_frames=None):
    """A file with one directory, behind the pixel data."""
    plain = made(frames, number_of_frames=number_of_frames, preamble=beginning(form, 1))
    offsets, lengths = places(plain, frames)
    at = len(plain) + 12
    entries = entries or (lambda tiles, counts: {324: tiles, 325: counts})
    tiles = entries([offset + 8 for offset in offsets], [length - 8 for length in lengths])
    trailing = directory(form, at, tiles)
    trailing += b"\0" * (len(trailing) % 2)
    return made(
        frames,
        number_of_frames=number_of_frames,
        preamble=beginning(form, at),
        behind=element(0xFFFCFFFC, "OB", trailing),
    )


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_the_tiles_of_the_directory_are_the_frames(form):
    raw = dual(form)
    found = found_in(raw, "tiff")
    assert found.index.source == "tiff"
    assert (list(found.index.offsets), list(found.index.lengths)) == places(raw, FRAMES)
    assert found.refused == ()


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_a_single_tile_stands_in_the_entry_itself(form):
    raw = dual(form, FRAMES[:1])
    index = index_from(raw, "tiff")
    assert (list(index.offsets), list(index.lengths)) == places(raw, FRAMES[:1])


def test_strips_are_frames_as_tiles_are():
    raw = dual(LITTLE, entries=lambda tiles, counts: {273: tiles, 279: counts})
    assert len(index_from(raw, "tiff")) == 30


def test_a_directory_in_another_order_names_the_frames_of_the_pixel_data():
    raw = dual(LITTLE, entries=lambda tiles, counts: {324: tiles[::-1], 325: counts[::-1]})
    index = index_from(raw, "tiff")
    assert (list(index.offsets), list(index.lengths)) == places(raw, FRAMES)


def test_empty_places_and_shared_tiles_are_no_frames_more():
    def sparse(tiles, counts):
        return {324: [*tiles, 0, tiles[4], 0], 325: [*counts, 0, counts[4], 0]}

    assert len(index_from(dual(LITTLE, entries=sparse), "tiff")) == 30


def test_a_count_without_the_padding_is_the_same():
    frames = [[b"\xff\xd8\xff" + bytes(2 * number) + b"\0"] for number in range(1, 31)]
    raw = dual(LITTLE, frames, lambda tiles, counts: {324: tiles, 325: [count - 1 for count in counts]})
    index = index_from(raw, "tiff")
    assert (list(index.offsets), list(index.lengths)) == places(raw, frames)


def test_of_several_directories_the_one_with_as_many_tiles_counts():
    plain = made(FRAMES, preamble=beginning(LITTLE, 1))
    offsets, lengths = places(plain, FRAMES)
    tiles = {324: [at + 8 for at in offsets], 325: [length - 8 for length in lengths]}
    at = len(plain) + 12
    thumbnail = directory(LITTLE, at, {273: [offsets[0] + 8], 279: [lengths[0] - 8]}, following=at + 100)
    both = thumbnail.ljust(100, b"\0") + directory(LITTLE, at + 100, tiles)
    raw = made(FRAMES, preamble=beginning(LITTLE, at), behind=element(0xFFFCFFFC, "OB", both))
    index = index_from(raw, "tiff")
    assert (list(index.offsets), list(index.lengths)) == places(raw, FRAMES)


def test_a_directory_for_each_frame_will_do():
    plain = made(FRAMES, preamble=beginning(LITTLE, 1))
    offsets, lengths = places(plain, FRAMES)
    at, pages = len(plain) + 12, b""
    for number, (offset, length) in enumerate(zip(offsets, lengths, strict=True), 1):
        following = at + 64 * number if number < len(FRAMES) else 0
        page = directory(LITTLE, 0, {273: [offset + 8], 279: [length - 8]}, following)
        pages += page.ljust(64, b"\0")
    raw = made(FRAMES, preamble=beginning(LITTLE, at), behind=element(0xFFFCFFFC, "OB", pages))
    index = index_from(raw, "tiff")
    assert (list(index.offsets), list(index.lengths)) == places(raw, FRAMES)


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        (lambda tiles, counts: {324: [tile + 2 for tile in tiles], 325: counts}, "first fragment"),
        (lambda tiles, counts: {324: tiles, 325: [*counts[:-1], counts[-1] + 2]}, "does not end with"),
        (lambda tiles, counts: {324: tiles, 325: [counts[0] + 2, *counts[1:]]}, "next one starts"),
        (lambda tiles, counts: {324: tiles[:-1], 325: counts[:-1]}, "29 tiles for 30 frames"),
        (lambda tiles, counts: {324: tiles, 325: counts[:-1]}, "30 offsets and 29 byte counts"),
        (lambda tiles, counts: {324: [0, *tiles[1:]], 325: counts}, "in front of the pixel data"),
        (lambda _tiles, _counts: {256: [1]}, "0 tiles for 30 frames"),
    ],
)
def test_a_directory_that_lies_is_refused(entries, reason):
    raw = dual(LITTLE, entries=entries)
    with pytest.raises(FrameIndexError, match=reason):
        index_from(raw, "tiff")
    found = found_in(raw)
    assert found.index.source == "scan"
    assert [source for source, _ in found.refused] == ["tiff"]


@pytest.mark.parametrize(
    ("preamble", "reason"),
    [
        (beginning(LITTLE, 0), "no directory"),
        (beginning(LITTLE, 0xFFFFFFFF), "behind the object's end"),
        (b"MM\0+" + bytes(124), "does not begin"),
        (beginning(Form("<", big=False), 200), "entries|inside a TIFF directory"),
    ],
)
def test_a_directory_that_is_nowhere_is_refused(preamble, reason):
    with pytest.raises(FrameIndexError, match=reason):
        index_from(made(FRAMES, preamble=preamble), "tiff")


def test_directories_that_lead_round_in_a_circle_are_refused():
    at = len(made(FRAMES)) + 12
    page = directory(LITTLE, at, {273: [8], 279: [1]}, following=at)
    raw = made(FRAMES, preamble=beginning(LITTLE, at), behind=element(0xFFFCFFFC, "OB", page))
    with pytest.raises(FrameIndexError, match="no end"):
        index_from(raw, "tiff")


def test_more_tiles_than_can_be_held_are_refused_before_they_are_read():
    at = len(made(FRAMES)) + 12
    entry = struct.pack("<HHLL", 324, 4, 0xFFFFFFF0, 8) + struct.pack("<HHLL", 325, 4, 0xFFFFFFF0, 8)
    page = struct.pack("<H", 2) + entry + bytes(4)
    raw = made(FRAMES, preamble=beginning(LITTLE, at), behind=element(0xFFFCFFFC, "OB", page))
    with pytest.raises(FrameIndexError, match="more than 2000000 tiles"):
        index_from(raw, "tiff")


@given(st.sampled_from(FORMS), st.binary(max_size=200))
def test_noise_in_place_of_a_directory_is_refused(form, noise):
    at = len(made(FRAMES)) + 12
    behind = element(0xFFFCFFFC, "OB", noise + b"\0" * (len(noise) % 2))
    found = found_in(made(FRAMES, preamble=beginning(form, at), behind=behind))
    assert found.index.source == "scan"
    assert [source for source, _ in found.refused] == ["tiff"]
