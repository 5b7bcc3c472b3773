import asyncio

import anyio
import pytest
from unkind_server import Reply, answering, http

from harvester.errors import ConnectionFailedError
from harvester.store.http.connection import Connection

pytestmark = pytest.mark.anyio

REQUEST = b"GET /one HTTP/1.1\r\nHost: here\r\n\r\n"


async def connected(server) -> Connection:
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(Connection, "127.0.0.1", server.port)
    return connection


async def asked(*replies, least=1 << 20):
    """Status, body and whether it was all, of the first answer; and the connection after it."""
    async with answering(*replies) as server:
        connection = await connected(server)
        try:
            await connection.send(REQUEST)
            data, ended = await connection.read(least)
            return connection.status, data, ended, connection.is_reusable
        finally:
            connection.abort()
            await connection.wait_closed()


async def test_an_answer_is_read_to_its_end():
    assert await asked(http(200, b"0123456789")) == (200, b"0123456789", True, True)


async def test_headers_are_found_by_names_in_lower_case():
    async with answering(http(200, b"", ETag='"v1"')) as server:
        connection = await connected(server)
        await connection.send(REQUEST)
        assert connection.headers["etag"] == '"v1"'
        assert connection.body_length == 0
        connection.abort()


async def test_one_question_follows_another():
    async with answering(http(206, b"one"), http(404, b"none")) as server:
        connection = await connected(server)
        for expected in ((206, b"one"), (404, b"none"), (404, b"none")):
            await connection.send(REQUEST)
            assert (connection.status, (await connection.read(100))[0]) == expected
        assert connection.received == 4
        connection.abort()
    assert server.connections == 1


@pytest.mark.parametrize(
    "before", [http(103, Link="</x>", Content_Length=""), b"HTTP/1.1 100 Continue\r\n\r\n"]
)
async def test_an_answer_before_the_answer_is_passed_over(before):
    assert await asked(before * 2 + http(206, b"0123")) == (206, b"0123", True, True)


async def test_a_body_without_a_length_ends_with_the_connection():
    reply = Reply(http(200, b"0123", Content_Length=""), "close")
    assert await asked(reply) == (200, b"0123", True, False)


async def test_a_chunked_body_loses_its_frame_and_its_trailer():
    reply = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n01\r\n2;x=y\r\n23\r\n0\r\nETag: x\r\n\r\n"
    )
    async with answering(reply) as server:
        connection = await connected(server)
        await connection.send(REQUEST)
        assert connection.body_length is None
        assert await connection.read(100) == (b"0123", True)
        assert connection.is_reusable
        assert "etag" not in connection.headers
        connection.abort()


async def test_a_connection_that_the_server_will_close_is_not_free():
    assert (await asked(http(200, b"01", Connection="close")))[-1] is False
    assert (await asked(http(200, b"01").replace(b"HTTP/1.1", b"HTTP/1.0")))[-1] is False


@pytest.mark.parametrize("more", [b"x", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab"])
async def test_bytes_behind_an_answer_are_no_answer_to_the_next_question(more):
    assert await asked(http(200, b"0123") + more) == (200, b"0123", True, False)


async def test_bytes_that_nobody_asked_for_end_the_connection():
    async with answering(Reply(http(200, b"0123"), "drip")) as server:
        connection = await connected(server)
        await connection.send(REQUEST)
        assert await connection.read(100) == (b"0123", True)
        await connection.wait_closed()
        assert not connection.is_reusable


async def test_no_more_of_a_body_is_read_than_is_wanted():
    async with answering(http(200, bytes(64 << 20))) as server:
        connection = await connected(server)
        await connection.send(REQUEST)
        data, ended = await connection.read(10)
        assert len(data) < 1 << 20
        assert not ended
        await anyio.wait_all_tasks_blocked()
        assert connection.received < 1 << 20
        connection.abort()


async def test_a_long_body_comes_whole_where_all_of_it_is_wanted():
    body = bytes(range(256)) * 10_000
    assert await asked(http(200, body), least=len(body)) == (200, body, True, True)


@pytest.mark.parametrize(
    "said",
    [
        Reply(b"", "close"),
        Reply(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000 + b"\r\n\r\n"),
        Reply(b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 20_000 + b"Content-Length: 0\r\n\r\n"),
        Reply(b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
        Reply(b"HTTP/1.1 100 Continue\r\n\r\n" * 5_000),
        Reply(b"SSH-2.0-OpenSSH_9\r\n"),
        *(
            Reply(b"HTTP/1.1 %s\r\nContent-Length: 2\r\n\r\nab" % status)
            for status in (b"099 ?", b"000 ?", b"7 ?")
        ),
    ],
)
async def test_what_is_no_answer_is_a_failed_connection(said):
    with anyio.fail_after(5):
        async with answering(said) as server:
            connection = await connected(server)
            with pytest.raises(ConnectionFailedError):
                await connection.send(REQUEST)
            assert not connection.is_reusable
            await connection.wait_closed()


@pytest.mark.parametrize("behind", [b"0\r\nX: " + b"a" * (4 << 20), b"1;" + b"a" * (4 << 20)])
async def test_what_is_no_body_within_a_body_has_a_bound(behind):
    """A trailer or a chunk's extension without an end, from a server that goes on sending."""
    head = b"HTTP/1.1 206 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"
    with anyio.fail_after(5):
        async with answering(Reply(head + behind, "hang")) as server:
            connection = await connected(server)
            await connection.send(REQUEST)
            with pytest.raises(ConnectionFailedError, match="bytes"):
                await connection.read(100)
            assert connection.received == 2


async def test_a_body_that_breaks_off_is_a_failed_connection():
    async with answering(Reply(http(200, b"0123", Content_Length="9"), "close")) as server:
        connection = await connected(server)
        await connection.send(REQUEST)
        with pytest.raises(ConnectionFailedError, match="closed"):
            await connection.read(100)
        assert connection.received == 4


async def test_a_question_that_is_given_up_leaves_the_connection_unusable():
    async with answering(Reply(b"", "hang")) as server:
        connection = await connected(server)
        with anyio.move_on_after(0.05):
            await connection.send(REQUEST)
        assert not connection.is_reusable
        connection.abort()
