import pytest
from memory_store import MemoryStore

from harvester.errors import NotFoundError, ObjectChangedError
from harvester.model import ByteRange, ObjectRef

pytestmark = pytest.mark.anyio

ONE = ObjectRef("scans", "a/one")


async def test_a_range_is_the_objects_bytes_and_is_counted():
    store = MemoryStore({"s3://scans/a/one": b"0123456789"})
    first = await store.get_range(ONE, ByteRange(2, 5))
    behind = await store.get_range(ONE, ByteRange(10, 20), etag=first.etag)
    assert (first.data, first.size) == (b"234", 10)
    assert (behind.data, behind.size) == (b"", 10)
    assert store.requests == 2
    assert store.bytes_fetched == 3
    assert store.ranges == [(ONE, ByteRange(2, 5)), (ONE, ByteRange(10, 20))]


async def test_a_replaced_object_is_another():
    store = MemoryStore({ONE: b"0123456789"})
    first = await store.get_range(ONE, ByteRange(0, 5))
    assert store.put(ONE, b"another") == ONE
    with pytest.raises(ObjectChangedError):
        await store.get_range(ONE, ByteRange(5, 6), etag=first.etag)


async def test_an_unknown_object_is_not_found_and_counted():
    store = MemoryStore()
    with pytest.raises(NotFoundError, match="s3://scans/a/one"):
        await store.get_range(ONE, ByteRange(0, 5))
    assert store.requests == 1


async def test_a_listing_is_of_one_bucket_in_the_order_of_keys():
    keys = ["a/b", "a/é", "a/Z", "b/c"]
    store = MemoryStore(
        {f"s3://scans/{key}": key.encode() for key in keys} | {"gs://scans/a/b": b"other cloud"}
    )
    found = [listed async for listed in store.list_objects(ObjectRef("scans", "a/"))]
    assert [listed.ref.key for listed in found] == ["a/Z", "a/b", "a/é"]
    assert [listed.size for listed in found] == [3, 3, 4]
    answer = await store.get_range(found[0].ref, ByteRange(0, 1))
    assert answer.etag == found[0].etag
