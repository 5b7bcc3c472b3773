import pytest
from unkind_server import Reply, answering, http, partial

from harvester.errors import (
    ConfigError,
    ConnectionFailedError,
    ListingError,
    NotFoundError,
    ObjectChangedError,
)
from harvester.model import ByteRange, ObjectRef
from harvester.store.http.store import open_http_store

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["s3_bucket", "gcs_bucket", "nginx_bucket"])
def bucket(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
async def store(bucket):
    async with open_http_store(endpoint=bucket.endpoint) as opened:
        yield opened


async def whole(store, ref):
    return (await store.get_range(ref, ByteRange(0, 1 << 20))).data


@pytest.mark.parametrize(("start", "stop"), [(0, 1), (0, 100), (100, 4000), (10000, 10240), (10239, 99999)])
async def test_a_range_is_the_objects_bytes(store, bucket, start, stop):
    answer = await store.get_range(ObjectRef("scans", "series/one.dcm"), ByteRange(start, stop))
    data = bucket.objects["series/one.dcm"]
    assert answer.data == data[start:stop]
    assert answer.size == len(data)
    assert answer.requests == 1
    assert answer.bytes_fetched == len(answer.data)


async def test_every_key_is_reached_whatever_its_letters(store, bucket):
    keys = [key for key in bucket.objects if not key.endswith("/")]
    for scheme in ("s3", "gs"):
        assert {key: await whole(store, ObjectRef("scans", key, scheme)) for key in keys} == {
            key: bucket.objects[key] for key in keys
        }


@pytest.mark.parametrize("start", [0, 10])
async def test_an_empty_object_is_an_empty_answer(store, start):
    answer = await store.get_range(ObjectRef("scans", "series/empty.dcm"), ByteRange(start, 100))
    assert (answer.data, answer.size) == (b"", 0)


@pytest.mark.parametrize("start", [10240, 10241, 999999])
async def test_a_range_behind_the_end_is_an_empty_answer_with_the_size(store, start):
    answer = await store.get_range(ObjectRef("scans", "series/one.dcm"), ByteRange(start, start + 10))
    assert (answer.data, answer.size) == (b"", 10240)


async def test_an_unknown_key_is_not_found(store):
    with pytest.raises(NotFoundError, match=r"series/none\.dcm") as caught:
        await store.get_range(ObjectRef("scans", "series/none.dcm"), ByteRange(0, 10))
    assert caught.value.status == 404


@pytest.mark.parametrize("bucket", ["s3_bucket", "nginx_bucket"], indirect=True)
async def test_the_etag_of_the_first_window_holds_for_the_next(store):
    ref = ObjectRef("scans", "series/one.dcm")
    first = await store.get_range(ref, ByteRange(0, 10))
    assert first.etag
    assert '"' not in first.etag
    second = await store.get_range(ref, ByteRange(10, 20), etag=first.etag)
    assert second.etag == first.etag
    with pytest.raises(ObjectChangedError):
        await store.get_range(ref, ByteRange(10, 20), etag="another")


@pytest.mark.parametrize("bucket", ["gcs_bucket"], indirect=True)
async def test_a_store_without_etags_is_read_with_the_etag_of_its_listing(store):
    listed = [found async for found in store.list_objects(ObjectRef("scans", "series/one", "gs"))]
    answer = await store.get_range(listed[0].ref, ByteRange(0, 10), etag=listed[0].etag)
    assert answer.size == listed[0].size


@pytest.mark.parametrize("bucket", ["s3_bucket", "gcs_bucket"], indirect=True)
async def test_a_listing_names_every_object_under_the_prefix_and_no_folder(store, bucket):
    scheme = "s3" if bucket.name == "scans" and "series/folder/" in bucket.objects else "gs"
    listed = [found async for found in store.list_objects(ObjectRef("scans", "series/", scheme))]
    expected = {
        key: len(data)
        for key, data in bucket.objects.items()
        if key.startswith("series/") and not key.endswith("/")
    }
    assert {found.ref.key: found.size for found in listed} == expected
    assert {found.ref.scheme for found in listed} == {scheme}
    assert all(found.etag and '"' not in found.etag for found in listed)


async def test_a_listing_of_more_than_a_page_is_whole(large_s3_bucket):
    async with open_http_store(endpoint=large_s3_bucket.endpoint) as store:
        keys = [found.ref.key async for found in store.list_objects(ObjectRef("large", "flat/"))]
    assert keys == sorted(large_s3_bucket.objects)


async def test_a_gs_prefix_is_listed_by_xml_where_the_endpoint_knows_no_json(large_s3_bucket):
    async with open_http_store(endpoint=large_s3_bucket.endpoint) as store:
        for _ in range(2):
            found = [found async for found in store.list_objects(ObjectRef("large", "flat/", "gs"))]
            assert len(found) == 1203
            assert found[0].ref == ObjectRef("large", "flat/0000.dcm", "gs")


async def test_that_an_endpoint_knows_no_json_is_asked_once():
    page = (
        b"<ListBucketResult><IsTruncated>false</IsTruncated>"
        b"<Contents><Key>a/b</Key><Size>3</Size></Contents></ListBucketResult>"
    )
    async with (
        answering(http(501), http(200, page)) as server,
        open_http_store(endpoint=server.endpoint) as store,
    ):
        for _ in range(3):
            assert len([found async for found in store.list_objects(ObjectRef("scans", "a/", "gs"))]) == 1
    assert [target.startswith("/storage/v1/b/scans/o?") for target in server.targets()] == [
        True,
        False,
        False,
        False,
    ]


@pytest.mark.parametrize("scheme", ["s3", "gs"])
async def test_a_listing_of_an_unknown_bucket_fails(moto_endpoint, scheme):
    async with open_http_store(endpoint=moto_endpoint) as store:
        with pytest.raises(ListingError, match=f"{scheme}://nowhere/a/") as caught:
            [found async for found in store.list_objects(ObjectRef("nowhere", "a/", scheme))]
    assert caught.value.status == 404


async def test_an_http_address_cannot_be_listed():
    async with open_http_store() as store:
        with pytest.raises(ListingError, match="cannot be listed"):
            [found async for found in store.list_objects(ObjectRef("example.org", "a/", "https"))]


async def test_an_http_address_is_asked_as_it_is_written():
    async with answering(partial(0, b"ab", 2)) as server, open_http_store() as store:
        url = f"{server.endpoint}/a%2Fb%3F/c d.dcm?X-Signature=a%2Bb%3D"
        assert await whole(store, ObjectRef.parse(url)) == b"ab"
    assert server.targets() == ["/a%2Fb%3F/c%20d.dcm?X-Signature=a%2Bb%3D"]


async def test_requests_are_anonymous_and_ask_for_plain_bytes(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    reply = partial(5, b"abc", 100, Set_Cookie="a=b", ETag='"v1"')
    async with answering(reply) as server, open_http_store(endpoint=server.endpoint) as store:
        await store.get_range(ObjectRef("scans", "one"), ByteRange(5, 8))
        await store.get_range(ObjectRef("scans", "one"), ByteRange(5, 8), etag="v1")
    assert server.sent("Range") == ["bytes=5-7", "bytes=5-7"]
    assert server.sent("Accept-Encoding") == ["identity", "identity"]
    assert server.sent("If-Match") == ['"v1"']
    assert not server.sent("Cookie")
    assert not server.sent("Authorization")


async def test_a_connection_is_used_again():
    async with answering(partial(0, b"a", 9)) as server, open_http_store(endpoint=server.endpoint) as store:
        for _ in range(3):
            await store.get_range(ObjectRef("scans", "one"), ByteRange(0, 1))
    assert (len(server.heads), server.connections) == (3, 1)


@pytest.mark.parametrize(
    "endpoint", ["127.0.0.1:9000", "ftp://host", "http://", "http://a b", "http://u:p@h", ""]
)
async def test_an_endpoint_that_is_no_address_is_refused(endpoint):
    with pytest.raises(ConfigError, match="endpoint"):
        async with open_http_store(endpoint=endpoint):
            pass


async def test_a_reused_connection_that_the_server_had_closed_is_replaced_once_and_counted():
    whole = partial(0, b"0123", 10)
    broken = Reply(b"", "close")
    async with (
        answering(whole, broken, whole) as server,
        open_http_store(endpoint=server.endpoint) as store,
    ):
        await store.get_range(ObjectRef("scans", "a"), ByteRange(0, 4))
        again = await store.get_range(ObjectRef("scans", "a"), ByteRange(0, 4))
        assert (again.data, again.requests, len(server.heads)) == (b"0123", 2, 3)


async def test_a_new_connection_that_breaks_is_not_repeated():
    async with (
        answering(Reply(b"", "close")) as server,
        open_http_store(endpoint=server.endpoint) as store,
    ):
        for sent in (1, 2):
            with pytest.raises(ConnectionFailedError) as caught:
                await store.get_range(ObjectRef("scans", "a"), ByteRange(0, 4))
            assert (caught.value.requests, len(server.heads)) == (1, sent)


async def test_a_connection_that_breaks_in_the_response_is_not_repeated():
    cut = Reply(b"HTTP/1.1 206 Partial", "close")
    async with (
        answering(partial(0, b"0123", 10), cut) as server,
        open_http_store(endpoint=server.endpoint) as store,
    ):
        await store.get_range(ObjectRef("scans", "a"), ByteRange(0, 4))
        with pytest.raises(ConnectionFailedError) as caught:
            await store.get_range(ObjectRef("scans", "a"), ByteRange(0, 4))
        assert (caught.value.requests, len(server.heads)) == (1, 2)
