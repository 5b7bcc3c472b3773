"""Read-ahead during a scan does not change its result."""

import anyio
import anyio.lowlevel
import pytest
from frame_reading import index_from, made
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_store import MemoryStore

from harvester.errors import FrameIndexError, NotFoundError
from harvester.model import ObjectRef
from harvester.reader.access import ReaderStore
from harvester.reader.frame_lookup import find_index
from harvester.reader.source import ObjectSource

URL = "s3://bucket/slide.dcm"
START = b"\xff\xd8\xff\xe0"


def scanned(store):
    async def scan():
        source = ObjectSource(ReaderStore(store), ObjectRef.parse(URL))
        await source.open()
        return await find_index(source)

    return anyio.run(scan)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(2, 400_000), min_size=1, max_size=40), st.randoms(use_true_random=False))
def test_it_finds_what_a_scan_of_bytes_in_memory_finds(lengths, chance):
    frames = [[START + bytes(length * 2)] for length in lengths for _ in range(chance.choice([1, 3]))]
    raw = made(frames)
    found, expected = scanned(MemoryStore({URL: raw})), index_from(raw, "scan")
    assert list(found.offsets) == list(expected.offsets)
    assert list(found.lengths) == list(expected.lengths)


class Counting(MemoryStore):
    """Counts how many requests are under way."""

    now = most = 0

    async def get_range(self, ref, wanted, *, etag=None):
        self.now += 1
        self.most = max(self.most, self.now)
        for _ in range(3):
            await anyio.lowlevel.checkpoint()
        self.now -= 1
        return await super().get_range(ref, wanted, etag=etag)


def test_at_most_two_blocks_are_fetched_at_once():
    store = Counting({URL: made([[START + bytes(40_000)] for _ in range(1500)])})
    assert len(scanned(store)) == 1500
    assert 8 < store.most <= 17  # 8 MiB in parts of 1 MiB, and the stretch behind it
    assert store.bytes_fetched < 1.01 * 60_000_000


def test_an_object_that_goes_away_ends_the_scan():
    class Vanishing(MemoryStore):
        async def get_range(self, ref, wanted, *, etag=None):
            if wanted.start > 5_000_000:
                raise NotFoundError("gone", url=ref.url)
            return await super().get_range(ref, wanted, etag=etag)

    with pytest.raises(NotFoundError):
        scanned(Vanishing({URL: made([[START + bytes(40_000)] for _ in range(500)])}))


def test_bytes_that_are_no_item_end_the_scan():
    raw = bytearray(made([[START + bytes(40_000)] for _ in range(500)]))
    place = raw.rindex(b"\xfe\xff\x00\xe0", 0, 15_000_000)
    raw[place] = 0
    with pytest.raises(FrameIndexError, match="no item"):
        scanned(MemoryStore({URL: bytes(raw)}))
