"""The pieces that a header comes in change nothing of it, and no element is looked at again."""

from functools import cache

import pytest
from header_feeding import WINDOW, content, fed, outcome, read, whole_files, whole_headers, without_places
from hypothesis import given, settings
from hypothesis import strategies as st
from made_data_sets import MadeFile, made_files

from harvester.dicom import ElementCache, Header, HeaderParser
from harvester.dicom.element import Items, RawElement


@cache
def files() -> dict[str, bytes]:
    return {path: raw for path, raw in whole_files().items() if len(raw) <= 3 << 20}


@cache
def small() -> dict[str, bytes]:
    return {path: raw for path, raw in files().items() if len(whole_headers()[path]) <= 12_000}


def headers_in(elements: list[RawElement]) -> int:
    """How many headers of elements and items there are at most, delimitations included."""
    count = 0
    for _tag, _vr, raw, _offset, _length in elements:
        count += 1
        if isinstance(raw, Items):
            count += 1 + sum(2 + headers_in(item) for item in raw)
    return count


def work(raw: bytes, step: int) -> tuple[Header, int]:
    parser = HeaderParser(len(raw))
    return fed(parser, raw, step), parser.headers_read


@pytest.mark.parametrize("step", [4096, 61])
def test_real_headers_are_the_same_in_pieces(step: int) -> None:
    for path, raw in files().items():
        header, looked_at = work(raw, step)
        assert content(header) == content(read(raw, len(raw))), path
        if not header.deflated:  # whose walker begins anew behind the meta information
            assert looked_at <= headers_in(header.elements) + 2, path


def test_real_headers_are_the_same_byte_by_byte() -> None:
    for path, raw in small().items():
        header, looked_at = work(raw, 1)
        assert content(header) == content(read(raw, WINDOW)), path
        if not header.deflated:
            assert looked_at <= headers_in(header.elements) + 2, path


def test_without_repeated_items_as_many_headers_are_looked_at_whatever_the_pieces() -> None:
    compared = 0
    for path, raw in small().items():
        header = read(raw)
        if header.deflated or any(isinstance(one[2], Items) for one in header.elements):
            continue
        assert len({work(raw, step)[1] for step in (1, 61, 4096, len(raw))}) == 1, path
        compared += 1
    assert compared > 10


@settings(max_examples=120, deadline=None)
@given(made=made_files(), pieces=st.lists(st.integers(1, 300), min_size=1, max_size=20))
def test_a_data_set_is_found_as_it_was_made_whatever_the_pieces(made: MadeFile, pieces: list[int]) -> None:
    header = read(made.raw, len(made.raw))
    assert without_places(header.elements[2:]) == made.expected
    assert header.header_bytes == len(made.raw)
    assert header.implicit == (made.encoding == "implicit")
    for step in (1, 61, 4096):
        again, looked_at = work(made.raw, step)
        assert content(again) == content(header)
        assert looked_at <= headers_in(header.elements) + 2
    assert content(read(made.raw, pieces + [64] * len(made.raw))) == content(header)
    cache = ElementCache()
    assert {str(outcome(made.raw, step, cache=cache)) for step in (61, 4096, 4096)} == {str(content(header))}


@settings(max_examples=60, deadline=None)
@given(made=made_files(), size=st.integers(0, 1 << 16))
def test_a_size_that_lies_gives_an_error_or_a_header_but_no_other_end(made: MadeFile, size: int) -> None:
    raw = made.raw
    if size > len(raw):
        raw += bytes(size - len(raw))
    assert isinstance(outcome(raw[:size], 4096, size=size), type | tuple)


PATHS = st.deferred(lambda: st.sampled_from(sorted(small())))


@settings(max_examples=80, deadline=None)
@given(path=PATHS, pieces=st.lists(st.integers(1, 3000), min_size=1, max_size=40))
def test_real_headers_are_the_same_in_random_pieces(path: str, pieces: list[int]) -> None:
    raw = small()[path]
    assert content(read(raw, pieces + [4096] * len(raw))) == content(read(raw, len(raw)))
