"""Many headers and frames, one after another, in bounded memory, also for asynchronous callers."""

import gc
import itertools
from contextlib import aclosing

import anyio
import numpy as np
import pytest
from frame_reading import made
from made_part10 import element, part10
from memory_store import MemoryStore
from recorded_demo import recorded_demo

import harvester
from harvester.errors import FrameIndexError, NotFoundError

URL = "s3://bucket/slide.dcm"
IMAGES = [b"\xff\xd8\xff\xe0" + number.to_bytes(2, "big") * 100 for number in range(500)]
CT = "1.3.6.1.4.1.5962.1.3.1.1.20040119072730.12322"


@pytest.fixture
def slide():
    return MemoryStore({URL: made([[image] for image in IMAGES])})


def headers_store(count):
    store = MemoryStore()
    urls = [f"s3://bucket/{number:03d}.dcm" for number in range(count)]
    for number, url in enumerate(urls):
        store.put(url, part10(element(0x00200013, "IS", f"{number:04d}".encode())))
    return store, urls


def test_frames_come_in_their_order(slide):
    assert list(harvester.iter_frames(URL, decode=False, store=slide)) == IMAGES
    some = [500, 3, 3, *range(1, 200)]
    assert list(harvester.iter_frames(URL, some, False, store=slide)) == [IMAGES[one - 1] for one in some]
    assert list(harvester.iter_frames(URL, [], False, store=slide)) == []


def test_frame_numbers_may_have_no_end(slide):
    endless = harvester.iter_frames(URL, itertools.cycle([1, 2]), False, store=slide)
    assert list(itertools.islice(endless, 300)) == [IMAGES[0], IMAGES[1]] * 150


def test_a_frame_that_is_not_there_ends_the_iteration(slide):
    frames = harvester.iter_frames(URL, [1, 501], False, store=slide)
    with pytest.raises(FrameIndexError, match="501"):
        list(frames)


def test_closing_an_iterator_cancels_its_requests(slide):
    frames = harvester.iter_frames(URL, decode=False, store=slide)
    assert next(frames) == IMAGES[0]
    frames.close()
    assert slide.bytes_fetched < sum(map(len, IMAGES)) * 2


def test_a_million_frames_are_read_in_little_memory():
    size, frames = 64, 1_000_000
    head = part10(
        element(0x00280008, "IS", str(frames).encode() + b" "),
        element(0x00280010, "US", b"\x08\0"),
        element(0x00280011, "US", b"\x08\0"),
        element(0x00280100, "US", b"\x08\0"),
        element(0x7FE00010, "OW", b"", size * frames),
    )
    store = MemoryStore({URL: head + bytes(size * frames)})
    read = harvester.iter_frames(URL, decode=False, store=store)
    assert sum(len(frame) for frame in itertools.islice(read, 20_000)) == 20_000 * size
    assert store.bytes_fetched < 2_000_000


def test_headers_come_as_soon_as_they_are_there():
    store, urls = headers_store(200)

    class OneSlow(MemoryStore):
        async def get_range(self, ref, wanted, *, etag=None):
            if ref.url == urls[5]:
                while store.requests < 150:
                    await anyio.lowlevel.checkpoint()
            return await store.get_range(ref, wanted, etag=etag)

    found = list(harvester.iter_headers(iter(urls), ["InstanceNumber"], store=OneSlow()))
    assert {url: header.InstanceNumber for url, header in found} == dict(zip(urls, range(200), strict=True))
    assert [url for url, _ in found].index(urls[5]) > 100


def test_no_more_addresses_are_taken_than_are_read_at_once():
    store, urls = headers_store(3)
    taken = itertools.count()
    endless = (urls[next(taken) % 3] for _ in itertools.repeat(None))
    assert len(list(itertools.islice(harvester.iter_headers(endless, store=store), 100))) == 100
    gc.collect()
    assert next(taken) < 100 + 2 * 64


def test_one_object_that_is_not_there_ends_the_iteration():
    store, urls = headers_store(3)
    with pytest.raises(NotFoundError, match="missing"):
        list(harvester.iter_headers([*urls, "s3://bucket/missing.dcm"], store=store))


def test_asynchronous_callers_read_the_same(slide):
    store, urls = headers_store(20)

    async def read():
        one = await harvester.aread_header(urls[3], store=store)
        many = await harvester.aread_headers(urls, ["InstanceNumber"], store=store)
        some = await harvester.aread_frames(URL, [2, 1], False, store=slide)
        coming = [header.InstanceNumber async for _, header in harvester.aiter_headers(urls, store=store)]
        async with aclosing(harvester.aiter_frames(URL, [4, 5, 6], False, store=slide)) as frames:
            first = [await anext(frames), await anext(frames)]
        return one.InstanceNumber, [each.InstanceNumber for each in many], some, sorted(coming), first

    assert anyio.run(read) == (3, list(range(20)), IMAGES[1::-1], list(range(20)), IMAGES[3:5])


def test_asynchronous_callers_have_connections_of_their_own():
    with recorded_demo() as demo:
        how = {"endpoint": demo.address.endpoint}
        urls = harvester.series_urls(CT, catalog=demo.address.catalog_url, **how)

        async def read():
            header = await harvester.aread_header(urls[0], **how)
            (pixels,) = await harvester.aread_frames(urls[0], [1], **how)
            return header, pixels

        header, pixels = anyio.run(read)
        assert header == harvester.read_header(urls[0], **how)
        np.testing.assert_array_equal(pixels, harvester.read_frames(urls[0], [1], **how)[0])


def test_a_long_value_that_was_skipped_is_read_by_asynchronous_callers():
    raw = part10(
        element(0x00080060, "CS", b"SR"),
        element(0x00091010, "OB", b"ab" * 3_000_000),
        element(0x00100010, "PN", b"A^B "),
    )
    store = MemoryStore({URL: raw})

    async def read():
        return await harvester.aread_header(URL, store=store)

    header = anyio.run(read)
    assert (header.PatientName, len(header[0x0009, 0x1010].value)) == ("A^B", 6_000_000)


def test_the_progress_of_a_search_is_reported():
    raw = made([[b"\xff\xd8\xff\xe0" + bytes(40_000)] for _ in range(200)])
    told = []
    harvester.open_object(URL, store=MemoryStore({URL: raw}), progress=lambda *one: told.append(one)).read()
    assert {total for _, total in told} == {len(raw)}
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert len(told) > 3
