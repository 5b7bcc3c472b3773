import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.errors import BadResponseError
from harvester.model import ByteRange
from harvester.store.http.range_response import (
    if_match,
    partial_body,
    unquoted,
    unsatisfied_size,
    whole_body,
)

offsets = st.integers(0, 40)


@given(start=offsets, length=st.integers(1, 40), first=offsets, last=st.integers(-1, 80), size=offsets)
def test_only_the_asked_range_is_a_promise(start, length, first, last, size):
    wanted = ByteRange(start, start + length)
    headers = {"content-range": f"bytes {first}-{last}/{size}"}
    right = first == start < size and last == min(wanted.stop, size) - 1
    behind = first == start >= size and last < first
    if right or behind:
        promise = partial_body(wanted, headers, None)
        assert (promise.length, promise.size) == (last - first + 1 if right else 0, size)
    else:
        with pytest.raises(BadResponseError):
            partial_body(wanted, headers, None)


@pytest.mark.parametrize(
    "text", [None, "", "bytes 0-9", "bytes 0-9/*", "bytes */10", "bytes 0-9/" + "9" * 5000, "items 0-9/10"]
)
def test_a_content_range_that_says_too_little_is_refused(text):
    with pytest.raises(BadResponseError):
        partial_body(ByteRange(0, 10), {} if text is None else {"content-range": text}, 10)


def test_a_whole_object_serves_its_beginning_only():
    assert whole_body(ByteRange(0, 10), 100).length == 10
    assert whole_body(ByteRange(0, 10), 4).length == 4
    assert whole_body(ByteRange(0, 10), None).size is None
    assert whole_body(ByteRange(7, 10), 7).length == 0
    with pytest.raises(BadResponseError, match="ignores ranges"):
        whole_body(ByteRange(7, 10), 8)


def test_an_unsatisfied_range_tells_the_size():
    assert unsatisfied_size(ByteRange(9, 10), {"content-range": "bytes */9"}, b"") == 9
    assert unsatisfied_size(ByteRange(9, 10), {}, b"<ActualObjectSize>3</ActualObjectSize>") == 3
    assert unsatisfied_size(ByteRange(0, 10), {}, b"") == 0
    with pytest.raises(BadResponseError):
        unsatisfied_size(ByteRange(8, 10), {"content-range": "bytes */9"}, b"")


@pytest.mark.parametrize(
    ("header", "etag", "sent"),
    [
        ('"abc"', "abc", '"abc"'),
        ("abc", "abc", '"abc"'),
        ('W/"abc"', "W/abc", None),
        (' "abc-2" ', "abc-2", '"abc-2"'),
        ('""', None, None),
        ("", None, None),
        (None, None, None),
        ('"ü"', "ü", None),
    ],
)
def test_an_etag_goes_without_quotes_and_returns_with_them(header, etag, sent):
    assert unquoted(header) == etag
    assert if_match(etag) == sent
