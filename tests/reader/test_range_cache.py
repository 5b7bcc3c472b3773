"""The range cache holds true bytes, up to its limit."""

from hypothesis import given
from hypothesis import strategies as st

from harvester.model import ByteRange
from harvester.reader.range_cache import RangeCache

OBJECT = bytes(range(251)) * 4
SPANS = st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 200)), max_size=30)


def put(cache, start, length, *, pin=False):
    cache.put(start, OBJECT[start : start + length], pin=pin)


@given(SPANS, st.integers(0, 1003), st.integers(1, 300))
def test_cached_bytes_are_those_that_were_put(spans, start, length):
    cache = RangeCache(1 << 20)
    held = set()
    for first, count in spans:
        put(cache, first, count)
        held |= set(range(first, min(first + count, len(OBJECT))))
    stop = start + length
    missing = [place for gap in cache.gaps(start, stop) for place in range(gap.start, gap.stop)]
    assert missing == [place for place in range(start, stop) if place not in held]
    assert cache.get(start, stop) == (None if missing else OBJECT[start:stop])


def test_the_least_recently_used_range_is_dropped():
    cache = RangeCache(250)
    put(cache, 0, 100)
    put(cache, 100, 100)
    assert cache.get(0, 10) is not None
    put(cache, 200, 100)
    assert cache.get(100, 101) is None
    assert cache.get(0, 100) == OBJECT[:100]
    assert cache.get(200, 300) == OBJECT[200:300]


def test_pinned_ranges_are_never_dropped():
    cache = RangeCache(100)
    put(cache, 0, 500, pin=True)
    for start in range(500, 1000, 50):
        put(cache, start, 50)
    assert cache.get(0, 500) == OBJECT[:500]
    assert len(cache.gaps(0, 1000)) == 1


def test_the_next_range_is_found():
    cache = RangeCache(1000)
    put(cache, 50, 10)
    assert cache.next_start(0) == 50
    assert cache.next_start(50) is None
    assert cache.gaps(40, 70) == [ByteRange(40, 50), ByteRange(60, 70)]


def test_an_empty_range_is_always_cached():
    assert RangeCache(10).get(5, 5) == b""
