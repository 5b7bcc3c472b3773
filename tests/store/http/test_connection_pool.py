from contextlib import asynccontextmanager

import anyio
import pytest
from aiohttp.abc import AbstractResolver
from unkind_server import Reply, answering, http

from harvester.errors import TimedOutError
from harvester.store.http.connection_pool import HttpLimits, open_connections

pytestmark = pytest.mark.anyio

REQUEST = b"GET /one HTTP/1.1\r\nHost: here\r\n\r\n"
ANSWER = http(200, b"0123")


class Names(AbstractResolver):
    """Every name leads to these addresses."""

    def __init__(self, port, *addresses):
        self.port = port
        self.addresses = addresses

    async def resolve(self, host, port=0, family=0):
        del port
        found = {"hostname": host, "port": self.port, "family": family, "proto": 0, "flags": 0}
        return [found | {"host": address} for address in self.addresses]

    async def close(self):
        pass


@asynccontextmanager
async def opened(resolver=None, **bounds):
    async with open_connections(HttpLimits(**bounds), resolver=resolver) as connections:
        yield connections


async def exchange(connections, origin):
    connection = await connections.acquire(origin)
    try:
        await connection.send(REQUEST)
        return (await connection.read(100))[0]
    finally:
        connections.release(connection)


async def test_a_free_connection_is_taken_again():
    async with answering(ANSWER) as server, opened() as connections:
        for _ in range(5):
            assert await exchange(connections, server.endpoint) == b"0123"
    assert server.connections == 1


async def test_exchanges_at_once_have_a_connection_each_and_share_them_later():
    async with answering(ANSWER) as server, opened() as connections:
        for _ in range(3):
            async with anyio.create_task_group() as tasks:
                for _ in range(4):
                    tasks.start_soon(exchange, connections, server.endpoint)
    assert len(server.heads) == 12
    assert server.connections == 4


async def test_another_server_gets_another_connection():
    async with answering(ANSWER) as one, answering(ANSWER) as other, opened() as connections:
        for server in (one, other, one, other):
            await exchange(connections, server.endpoint)
    assert (one.connections, other.connections) == (1, 1)


async def test_a_connection_that_the_server_closed_meanwhile_is_not_used():
    async with answering(Reply(ANSWER, "close"), ANSWER) as server, opened() as connections:
        connection = await connections.acquire(server.endpoint)
        await connection.send(REQUEST)
        await connection.read(100)
        connections.release(connection)
        await connection.wait_closed()
        assert await exchange(connections, server.endpoint) == b"0123"
    assert server.connections == 2


async def test_a_connection_that_was_idle_for_long_is_not_used():
    async with answering(ANSWER) as server, opened(idle_seconds=-1.0) as connections:
        for _ in range(2):
            await exchange(connections, server.endpoint)
    assert server.connections == 2


async def test_no_more_than_so_many_are_kept():
    async with answering(ANSWER) as server, opened(kept_connections=1) as connections:
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(exchange, connections, server.endpoint)
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(exchange, connections, server.endpoint)
    assert server.connections == 5


async def test_idle_connections_are_closed_when_their_time_is_over():
    async with answering(ANSWER) as server, opened(idle_seconds=0.05, silence_seconds=0.4) as connections:
        connection = await connections.acquire(server.endpoint)
        await connection.send(REQUEST)
        await connection.read(100)
        connections.release(connection)
        with anyio.fail_after(5):
            await connection.wait_closed()


@pytest.mark.parametrize("bounds", [{"silence_seconds": 0.2}, {"total_seconds": 0.2}])
async def test_what_takes_too_long_is_ended(bounds):
    async with answering(Reply(b"HTTP/1.1 200 OK\r\n", "hang")) as server, opened(**bounds) as connections:
        with anyio.fail_after(5), pytest.raises(TimedOutError):
            await exchange(connections, server.endpoint)


async def test_the_next_address_of_a_host_is_tried():
    async with answering(ANSWER) as server:
        names = Names(server.port, "::1", "127.0.0.1")
        async with opened(names) as connections:
            assert await exchange(connections, "http://scans.example") == b"0123"


async def test_all_connections_are_closed_at_the_end_those_in_use_too():
    async with answering(ANSWER, Reply(b"", "hang")) as server:
        async with opened() as connections:
            await exchange(connections, server.endpoint)
            idle_then_busy = await connections.acquire(server.endpoint)
            busy = await connections.acquire(server.endpoint)
        with anyio.fail_after(5):
            await idle_then_busy.wait_closed()
            await busy.wait_closed()
