import gzip
import ssl

import pytest
from unkind_server import Reply, answering, http, partial

from harvester.errors import (
    AccessDeniedError,
    BadResponseError,
    ConnectionFailedError,
    ListingError,
    NotFoundError,
    ObjectChangedError,
    RequestRejectedError,
    ServerFaultError,
    StoreError,
    ThrottledError,
    TimedOutError,
)
from harvester.model import ByteRange, ObjectRef
from harvester.store.cost import RequestCost
from harvester.store.http.connection_pool import HttpLimits
from harvester.store.http.response import exchange_error
from harvester.store.http.store import open_http_store

pytestmark = pytest.mark.anyio

REF = ObjectRef("scans", "series/one.dcm")
IMPATIENT = HttpLimits(connect_seconds=2.0, silence_seconds=0.3, total_seconds=0.6)
CHUNKED = {"Content_Length": "", "Transfer_Encoding": "chunked"}


async def asked(*replies, wanted=ByteRange(0, 10), etag=None, limits=IMPATIENT):  # noqa: B008
    async with (
        answering(*replies) as server,
        open_http_store(endpoint=server.endpoint, limits=limits) as store,
    ):
        return await store.get_range(REF, wanted, etag=etag)


async def refused(error, *replies, **arguments):
    """The error of one request; a grouped one is unwrapped, so that a test sees what a caller does."""
    async with (
        answering(*replies) as server,
        open_http_store(endpoint=server.endpoint, limits=arguments.pop("limits", IMPATIENT)) as store,
    ):
        with pytest.raises(error) as caught:
            await store.get_range(REF, arguments.pop("wanted", ByteRange(0, 10)), **arguments)
    assert type(caught.value) is error
    assert caught.value.url == "s3://scans/series/one.dcm"
    assert "\n" not in str(caught.value)
    return caught.value


def chunked(*pieces: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + end


async def test_a_true_answer_is_taken():
    answer = await asked(partial(0, b"0123456789", 50, ETag='"v1"'))
    assert (answer.data, answer.size, answer.etag) == (b"0123456789", 50, "v1")


async def test_a_chunked_range_is_taken():
    body = chunked(b"0123", b"456789")
    answer = await asked(http(206, body, Content_Range="bytes 0-9/50", **CHUNKED))
    assert (answer.data, answer.size) == (b"0123456789", 50)


@pytest.mark.parametrize(
    "content_range",
    [
        "bytes 1-10/50",
        "bytes 0-8/50",
        "bytes 0-10/50",
        "bytes 0-9/*",
        "bytes 0-9/5",
        "0-9/50",
        "lines 0-9/50",
        "",
    ],
)
async def test_another_range_than_asked_for_is_refused(content_range):
    await refused(BadResponseError, partial(0, b"0123456789", 50, Content_Range=content_range))


async def test_a_multipart_answer_is_refused():
    await refused(BadResponseError, http(206, b"--edge", Content_Type="multipart/byteranges; boundary=edge"))


async def test_a_body_shorter_than_its_range_is_refused():
    await refused(BadResponseError, http(206, b"01234", Content_Range="bytes 0-9/50"))
    await refused(BadResponseError, http(206, chunked(b"01234"), Content_Range="bytes 0-9/50", **CHUNKED))


async def test_a_body_longer_than_its_range_is_refused():
    await refused(BadResponseError, http(206, b"0123456789A", Content_Range="bytes 0-9/50"))
    await refused(
        BadResponseError, http(206, chunked(b"0123456789A"), Content_Range="bytes 0-9/50", **CHUNKED)
    )


async def test_an_endless_body_is_left_soon():
    endless = Reply(http(206, chunked(b"x" * 100, end=b""), Content_Range="bytes 0-9/50", **CHUNKED), "hang")
    error = await refused(BadResponseError, endless)
    assert error.bytes_fetched == 100


async def test_a_cut_body_is_a_failed_connection():
    cut = Reply(http(206, b"01234", Content_Range="bytes 0-9/50", Content_Length="10"), "close")
    error = await refused(ConnectionFailedError, cut)
    assert error.bytes_fetched == 5
    assert error.offset == 0


async def test_an_encoded_body_is_refused():
    body = gzip.compress(b"0" * 10)
    head = {"Content_Encoding": "gzip", "Content_Range": f"bytes 0-9/{len(body)}"}
    await refused(BadResponseError, http(206, body[:10], **head))
    await refused(BadResponseError, http(200, body, Content_Encoding="gzip"))


async def test_a_body_that_is_encoded_for_its_way_is_refused():
    """Though it has as many bytes as were promised."""
    both = CHUNKED | {"Transfer_Encoding": "gzip, chunked", "Content_Range": "bytes 0-9/50"}
    await refused(BadResponseError, http(206, chunked(b"0123456789"), **both))


async def test_an_answer_of_another_version_is_refused():
    await refused(ObjectChangedError, partial(0, b"0123456789", 50, ETag='"v2"'), etag="v1")
    await refused(ObjectChangedError, http(200, b"0123456789", ETag='"v2"'), etag="v1")
    await refused(ObjectChangedError, http(412), etag="v1")


@pytest.mark.parametrize("etag", ['"v1"', "v1", 'W/"v1"'])
async def test_an_etag_is_the_same_with_or_without_quotes_and_weakness(etag):
    answer = await asked(partial(0, b"0123456789", 50, ETag=etag), etag="v1")
    assert answer.etag.removeprefix("W/") == "v1"


async def test_a_weak_etag_is_compared_here_and_not_sent():
    async with (
        answering(partial(0, b"0123456789", 50, ETag='W/"v1"')) as server,
        open_http_store(endpoint=server.endpoint) as store,
    ):
        first = await store.get_range(REF, ByteRange(0, 10))
        assert first.etag == "W/v1"
        await store.get_range(REF, ByteRange(0, 10), etag=first.etag)
        with pytest.raises(ObjectChangedError):
            await store.get_range(REF, ByteRange(0, 10), etag="W/v0")
    assert server.sent("If-Match") == []


async def test_an_etag_with_line_breaks_cannot_write_headers():
    await refused(ObjectChangedError, partial(0, b"0123456789", 50, ETag='"v1"'), etag='v1"\r\nX-Evil: 1')


async def test_a_whole_object_is_taken_up_to_the_range_and_left():
    whole = Reply(http(200, b"0123456789" * 10, Content_Length=str(10**12)), "hang")
    answer = await asked(whole)
    assert (answer.data, answer.size) == (b"0123456789", 10**12)
    assert answer.bytes_fetched == 100
    short = await asked(http(200, b"01234"))
    assert (short.data, short.size) == (b"01234", 5)
    unsized = await asked(http(200, chunked(b"01234"), **CHUNKED))
    assert (unsized.data, unsized.size) == (b"01234", 5)


async def test_the_connection_of_a_whole_object_is_closed_not_drained():
    async with (
        answering(Reply(http(200, b"0" * 20, Content_Length=str(10**12)), "hang")) as server,
        open_http_store(endpoint=server.endpoint) as store,
    ):
        await store.get_range(REF, ByteRange(0, 10))
        await store.get_range(REF, ByteRange(0, 10))
    assert server.connections == 2


async def test_a_whole_object_is_refused_where_the_range_lies_inside_or_the_size_is_unknown():
    await refused(BadResponseError, http(200, b"0123456789" * 10), wanted=ByteRange(10, 20))
    await refused(BadResponseError, http(200, chunked(b"0" * 50), **CHUNKED))


async def test_a_range_behind_the_end_is_empty_however_it_is_said():
    behind = ByteRange(50, 60)
    for reply in (
        http(416, Content_Range="bytes */50"),
        http(416, b"<Error><Code>InvalidRange</Code><ActualObjectSize>50</ActualObjectSize></Error>"),
        http(206, b"", Content_Range="bytes 50-49/50"),
        http(200, b"0" * 50),
    ):
        answer = await asked(reply, wanted=behind)
        assert (answer.data, answer.size) == (b"", 50)


async def test_an_empty_object_is_empty_however_it_is_said():
    for reply in (
        http(416, Content_Range="bytes */0", ETag='"v0"'),
        http(416, b"<Error><Code>InvalidRange</Code></Error>", ETag='"v0"'),
        http(206, b"", Content_Range="bytes 0--1/0", ETag='"v0"'),
        http(200, b"", ETag='"v0"'),
    ):
        answer = await asked(reply)
        assert (answer.data, answer.size, answer.etag) == (b"", 0, "v0")


async def test_a_416_that_cannot_be_true_is_refused():
    await refused(BadResponseError, http(416, Content_Range="bytes */50"))
    await refused(BadResponseError, http(416), wanted=ByteRange(5, 10))
    await refused(BadResponseError, http(206, b"x", Content_Range="bytes 50-49/50"), wanted=ByteRange(50, 60))


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (404, NotFoundError),
        (410, RequestRejectedError),
        (401, AccessDeniedError),
        (403, AccessDeniedError),
        (408, ThrottledError),
        (429, ThrottledError),
        (503, ThrottledError),
        (500, ServerFaultError),
        (502, ServerFaultError),
        (504, ServerFaultError),
        (599, ServerFaultError),
        (400, RequestRejectedError),
        (412, RequestRejectedError),
        (204, BadResponseError),
        (304, BadResponseError),
    ],
)
async def test_every_status_has_its_error(status, error):
    caught = await refused(error, http(status))
    assert caught.status == status
    assert caught.requests == 1


async def test_an_error_says_what_the_server_said_and_how_long_to_wait():
    document = b"<Error><Code>SlowDown</Code><Message>Please reduce\r\n your rate.</Message></Error>"
    error = await refused(ThrottledError, http(503, document, Retry_After="7"))
    assert "SlowDown: Please reduce your rate." in str(error)
    assert error.retry_after == 7.0


async def test_an_error_whose_body_breaks_is_still_that_error():
    await refused(NotFoundError, Reply(http(404, b"<Co", Content_Length="900"), "close"))
    await refused(ThrottledError, Reply(http(503, b"<Co", Content_Length="900"), "hang"))


async def test_an_error_with_an_endless_body_is_left_soon():
    error = await refused(ServerFaultError, Reply(http(500, b"x" * 4000, Content_Length=str(10**12)), "hang"))
    assert error.bytes_fetched <= 4000


async def test_a_redirect_to_the_same_host_is_followed_and_counted():
    moved = http(307, Location="/elsewhere/one.dcm?part=a%2Bb")
    async with (
        answering(moved, partial(0, b"0123456789", 50)) as server,
        open_http_store(endpoint=server.endpoint) as store,
    ):
        answer = await store.get_range(REF, ByteRange(0, 10))
    assert answer.data == b"0123456789"
    assert answer.requests == 2
    assert server.targets()[1] == "/elsewhere/one.dcm?part=a%2Bb"
    assert server.sent("Range") == ["bytes=0-9", "bytes=0-9"]


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://localhost:1/x",
        "file:///etc/passwd",
        "//other.example/x",
        "",
    ],
)
async def test_a_redirect_elsewhere_is_refused(location):
    error = await refused(RequestRejectedError, http(302, Location=location))
    assert location in str(error)
    assert error.status == 302


async def test_a_redirect_in_a_circle_ends():
    error = await refused(RequestRejectedError, http(302, Location="/again"))
    assert error.requests == 4


async def test_a_server_that_is_silent_is_left_in_time():
    await refused(TimedOutError, Reply(b"", "hang"))
    await refused(
        TimedOutError, Reply(http(206, b"0", Content_Range="bytes 0-9/50", Content_Length="10"), "hang")
    )


async def test_a_slow_drip_is_left_in_time():
    size = 10**6
    drip = Reply(
        http(206, b"0", Content_Range=f"bytes 0-{size - 1}/{size}", Content_Length=str(size)), "drip"
    )
    error = await refused(TimedOutError, drip, wanted=ByteRange(0, size))
    assert 1 < error.bytes_fetched < 1000


async def test_a_refused_connection_is_a_failed_one():
    async with answering(b"") as server:
        pass
    async with open_http_store(endpoint=server.endpoint) as store:
        with pytest.raises(ConnectionFailedError):
            await store.get_range(REF, ByteRange(0, 10))


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 206 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 206 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 206 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 206 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 206 OK\r\nContent-Range: bytes 0-9/50\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_an_answer_that_is_no_http_is_a_failed_connection(said):
    await refused(ConnectionFailedError, Reply(said, "close"))


async def test_a_host_that_dns_cannot_spell_is_refused():
    async with open_http_store() as store:
        with pytest.raises(StoreError):
            await store.get_range(ObjectRef("a" * 70 + ".invalid", "x", "http"), ByteRange(0, 1))


async def test_a_page_of_a_listing_has_a_bound():
    async with (
        answering(Reply(http(200, b" " * 100_000, Content_Length=str(10**12)), "drip")) as server,
        open_http_store(endpoint=server.endpoint, limits=IMPATIENT) as store,
    ):
        with pytest.raises(ListingError, match="not complete in"):
            [found async for found in store.list_objects(ObjectRef("scans", "a/"))]
    async with (
        answering(http(200, b" " * (17 << 20))) as server,
        open_http_store(endpoint=server.endpoint) as store,
    ):
        with pytest.raises(ListingError, match="longer than"):
            [found async for found in store.list_objects(ObjectRef("scans", "a/"))]


@pytest.mark.parametrize(
    "raised",
    [ConnectionResetError("reset"), ssl.SSLError("handshake")],
    ids=lambda error: type(error).__name__,
)
def test_an_error_of_the_operating_system_becomes_one_of_ours(raised):
    error = exchange_error(raised, REF, 5, RequestCost(2, 30))
    assert isinstance(error, ConnectionFailedError)
    assert (error.url, error.offset, error.requests, error.bytes_fetched) == (REF.url, 5, 2, 30)


def test_a_bug_stays_a_bug():
    assert exchange_error(KeyError("key"), REF, None, RequestCost()) is None
