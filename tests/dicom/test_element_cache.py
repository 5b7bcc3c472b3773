"""A header read with a memory of other headers equals the same header read without, whatever they were."""

import random

import pytest
from header_feeding import content, outcome, read, sibling, whole_headers
from hypothesis import given, settings
from hypothesis import strategies as st
from made_data_sets import MadeFile, made_files
from made_part10 import element, implicit, item, open_item, open_sequence, part10, sequence

from harvester.dicom import ElementCache, ElementCaches
from harvester.dicom.element import Items
from harvester.dicom.element_cache import SegmentCache
from harvester.dicom.header_limits import MAX_CACHED_SEGMENT_BYTES, MAX_CACHED_SEGMENTS, MAX_CACHED_SERIES

IMPLICIT = b"1.2.840.10008.1.2\0"
CODE = element(0x00080100, "SH", b"T-1 ")


@pytest.fixture(scope="module")
def headers() -> dict[str, bytes]:
    return {path: raw for path, raw in whole_headers().items() if len(raw) < 100_000}


@pytest.mark.parametrize("seed", range(2))
def test_real_headers_in_any_order_are_the_same_with_a_memory(headers: dict[str, bytes], seed: int) -> None:
    paths = sorted(headers) * 2
    random.Random(seed).shuffle(paths)
    cache = ElementCache()
    for path in paths:
        assert outcome(headers[path], 16 << 10, cache=cache) == outcome(headers[path]), path


def test_siblings_with_mutations_are_the_same_with_a_memory(headers: dict[str, bytes]) -> None:
    pick = random.Random(3)
    cache = ElementCache()
    compared = 0
    for path in sorted(headers):
        if len(headers[path]) > 8000:
            continue
        for _ in range(6):
            raw = sibling(headers[path], pick)
            step = pick.choice((61, 4096, len(raw)))
            assert outcome(raw, step, cache=cache) == outcome(raw, len(raw)), path
            compared += 1
    assert compared > 200


@settings(max_examples=20, deadline=None)
@given(files=st.lists(made_files(), min_size=2, max_size=6), seed=st.integers(0, 99))
def test_made_files_are_the_same_with_a_memory(files: list[MadeFile], seed: int) -> None:
    pick = random.Random(seed)
    cache = ElementCache()
    raws = [made.raw for made in files] + [sibling(made.raw, pick) for made in files]
    for raw in raws + raws:
        assert outcome(raw, 4096, cache=cache) == outcome(raw, len(raw))


def test_siblings_share_their_elements_and_not_their_places() -> None:
    cache = ElementCache()
    shared = [sequence(0x00081140, item(CODE)), element(0x00100020, "LO", b"id")]
    first = read(part10(element(0x00080018, "UI", b"1.2\0"), *shared), cache=cache)
    second = read(part10(element(0x00080018, "UI", b"1.2.34"), *shared), cache=cache)
    assert second.elements[-1][2] is first.elements[-1][2]
    assert second.elements[-1][3] == first.elements[-1][3] + 2
    inside = [next(iter(header.elements[-2][2]))[0] for header in (first, second)]
    assert inside[1][3] == inside[0][3] + 2


def test_runs_of_items_are_found_elsewhere_too() -> None:
    cache = ElementCache()
    items = [
        item(element(0x00080100, "SH", b"T-%02d" % i), sequence(0x00082218, item(CODE))) for i in range(9)
    ]
    for instance_uid in (b"1.2\0", b"1.2.34", b"1.2.3456"):
        raw = part10(element(0x00080018, "UI", instance_uid), sequence(0x00081140, *items))
        assert content(read(raw, cache=cache)) == content(read(raw))


def test_the_same_bytes_in_another_encoding_are_read_anew() -> None:
    # As explicit elements these are LO of 2 bytes; as implicit ones their length is that of all of them.
    length = int.from_bytes(b"LO\x02\0", "little")
    body = element(0x00100020, "LO", b"id")
    assert implicit(0x00100020, b"", length) == body[:8]
    cache = ElementCache()
    head = element(0x00080060, "CS", b"MR")
    explicit_one = part10(head, body, element(0x00100030, "DA", b"20240101"))
    implicit_one = part10(
        implicit(0x00080060, b"MR"),
        body[:8] + b"id" + b"A" * (length - 2),
        transfer_syntax=IMPLICIT,
    )
    for raw in (explicit_one, implicit_one, explicit_one, implicit_one):
        assert outcome(raw, len(raw), cache=cache) == outcome(raw, len(raw))


def test_a_stretch_that_begins_alike_is_not_the_same() -> None:
    cache = ElementCache()
    for text in (b"abcdef", b"abcdeg", b"abcdef", b"abcde "):
        raw = part10(element(0x00100020, "LO", text), element(0x00104000, "LT", b"x "))
        assert read(raw, cache=cache).elements[-2][2] == text


def test_a_stretch_that_the_object_s_end_cuts_is_a_cut_one() -> None:
    cache = ElementCache()
    raw = part10(CODE, element(0x00100020, "LO", b"an id of some length"), element(0x00104000, "LT", b"x "))
    read(raw, cache=cache)
    for cut in range(132, len(raw)):
        assert outcome(raw[:cut], 4096, cache=cache) == outcome(raw[:cut], 4096)


def test_a_private_sequence_is_what_its_own_header_s_creator_says() -> None:
    # In implicit VR a creator that pydicom knows decides what is a sequence; the bytes alone don't.
    def one(creator: bytes) -> bytes:
        items = item(implicit(0x00080100, b"T-1 "))
        return part10(
            implicit(0x00080060, b"MR"),
            implicit(0x20010010, creator),
            implicit(0x2001105F, items),
            transfer_syntax=IMPLICIT,
        )

    cache = ElementCache()
    known, unknown = one(b"Philips Imaging DD 001"), one(b"Unknown private maker1")
    for raw in (known, unknown, known, unknown):
        header = read(raw, cache=cache)
        assert isinstance(header.elements[-1][2], Items) == (raw == known)


def test_a_memory_of_endless_headers_stays_small() -> None:
    segments = SegmentCache()
    for i in range(3 * MAX_CACHED_SEGMENTS):
        segments.keep(i.to_bytes(8, "little") + bytes(100), [], 0)
        assert len(segments) <= MAX_CACHED_SEGMENTS
    too_long = b"too long" + bytes(MAX_CACHED_SEGMENT_BYTES)
    segments.keep(too_long, [], 0)
    assert segments.find(too_long[:8]) is None


def test_items_of_undefined_length_are_remembered_too() -> None:
    cache = ElementCache()
    raw = part10(open_sequence(0x00081140, open_item(CODE), open_item()), element(0x00100020, "LO", b"id"))
    first, second = read(raw, cache=cache), read(raw, cache=cache)
    assert content(first) == content(second) == content(read(raw))
    assert first.elements[-2][2] is second.elements[-2][2]


def test_each_series_has_a_memory_of_its_own_while_it_is_read() -> None:
    caches = ElementCaches()
    first = caches.of("first")
    for number in range(MAX_CACHED_SERIES - 1):
        caches.of(str(number))
        assert caches.of("first") is first

    for number in range(MAX_CACHED_SERIES):
        caches.of(f"later {number}")
    assert caches.of("first") is not first
