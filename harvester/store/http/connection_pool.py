"""Makes connections to servers, keeps those that are free for a while, and ends what takes too long."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import aiohappyeyeballs
import aiohttp
import anyio
from aiohttp.abc import AbstractResolver
from yarl import URL

from harvester.errors import ConnectionFailedError, TimedOutError
from harvester.store.http.connection import Connection
from harvester.store.http.dns import Hosts

# RFC 8305 8: before the next address of a host is tried beside the one that does not answer.
_NEXT_ADDRESS_SECONDS: Final = 0.25
_LOOKS_IN_THE_SHORTEST_BOUND: Final = 8


@dataclass(frozen=True, slots=True)
class ConnectionBounds:
    """How many connections are kept, and how long anything may take.

    Args:
        kept: The most that are kept without use.
        connect_seconds: For a connection to be made.
        silence_seconds: Between two pieces of an answer.
        total_seconds: From asking for a connection to the end of the answer.
        idle_seconds: How long one is kept without use; S3 drops a connection that was idle for 20 s.
    """

    kept: int = 64
    connect_seconds: float = 10.0
    silence_seconds: float = 20.0
    total_seconds: float = 60.0
    idle_seconds: float = 15.0


@asynccontextmanager
async def open_connections(
    bounds: ConnectionBounds,
    *,
    tls: ssl.SSLContext | None = None,
    resolver: AbstractResolver | None = None,
) -> AsyncIterator["Connections"]:
    """Connections that are all closed at the end.

    Args:
        bounds: How many are kept, and how long anything may take.
        tls: For https: which certificates are trusted; None: those that the operating system trusts.
        resolver: Finds the addresses of a host; None: the operating system does.
    """
    connections = Connections(bounds, tls=tls, hosts=Hosts(resolver or aiohttp.ThreadedResolver()))
    try:
        yield connections
    finally:
        with anyio.CancelScope(shield=True):
            await connections.close()


class Connections:
    """Connections to any number of servers; see `open_connections`.

    A connection is taken for one exchange and given back after it, whatever became of that.
    """

    def __init__(self, bounds: ConnectionBounds, *, tls: ssl.SSLContext | None, hosts: Hosts) -> None:
        self._bounds = bounds
        self._tls = tls
        self._hosts = hosts
        self._loop = asyncio.get_running_loop()
        self._busy: dict[Connection, str] = {}
        # The one that was given back last is the last of each.
        self._idle: dict[Connection, str] = {}
        self._idle_at: dict[str, dict[Connection, None]] = {}
        shortest = min(bounds.silence_seconds, bounds.total_seconds)
        self._look_seconds = shortest / _LOOKS_IN_THE_SHORTEST_BOUND
        self._look: asyncio.TimerHandle | None = None

    async def take(self, origin: str) -> Connection:
        """A connection that may be asked now; `give_back` has to follow.

        Args:
            origin: The server, as `https://host:port`.

        Raises:
            OSError: None can be made.
            TimeoutError: It takes too long.
        """
        now = self._loop.time()
        connection = self._idle_one(origin, now)
        if connection is None:
            connection = await self._dial(origin)
        connection.deadline = now + self._bounds.total_seconds
        connection.heard = now
        self._busy[connection] = origin
        if self._look is None:
            self._look = self._loop.call_later(self._look_seconds, self._end_what_is_late)
        return connection

    def give_back(self, connection: Connection) -> None:
        """Keep a connection, or close it where its answer was not read to its end."""
        origin = self._busy.pop(connection)
        if not connection.is_free:
            connection.abort()
            return
        self._idle[connection] = origin
        self._idle_at.setdefault(origin, {})[connection] = None
        if len(self._idle) > self._bounds.kept:
            self._drop(next(iter(self._idle)))

    async def close(self) -> None:
        """Close all, and wait until they are."""
        if self._look is not None:
            self._look.cancel()
        every = [*self._idle, *self._busy]
        for connection in every:
            connection.abort()
        for connection in every:
            await connection.lost()
        await self._hosts.close()

    def _idle_one(self, origin: str, now: float) -> Connection | None:
        while there := self._idle_at.get(origin):
            connection = next(reversed(there))
            self._forget(connection)
            if connection.is_free and now - connection.heard <= self._bounds.idle_seconds:
                return connection
            connection.abort()
        return None

    def _forget(self, connection: Connection) -> None:
        origin = self._idle.pop(connection)
        there = self._idle_at[origin]
        del there[connection]
        if not there:
            del self._idle_at[origin]

    def _drop(self, connection: Connection) -> None:
        self._forget(connection)
        connection.abort()

    def _end_what_is_late(self) -> None:
        now = self._loop.time()
        for connection in self._busy:
            if now > connection.deadline or now - connection.heard > self._bounds.silence_seconds:
                connection.fail(TimedOutError("no whole answer in time"))
        for connection in list(self._idle):
            if now - connection.heard <= self._bounds.idle_seconds and connection.is_free:
                break  # those behind it were used later
            self._drop(connection)
        waits = self._busy or self._idle
        self._look = self._loop.call_later(self._look_seconds, self._end_what_is_late) if waits else None

    @cached_property
    def _encryption(self) -> ssl.SSLContext:
        # Once, and only where something is encrypted: making one costs 25 ms.
        return self._tls or ssl.create_default_context()

    async def _dial(self, origin: str) -> Connection:
        url = URL(origin)
        if url.raw_host is None or url.port is None:
            raise ConnectionFailedError(f"{origin!r} names no server")
        with anyio.fail_after(min(self._bounds.connect_seconds, self._bounds.total_seconds)):
            reached = await aiohappyeyeballs.start_connection(
                await self._hosts.addresses(url.raw_host, url.port),
                happy_eyeballs_delay=_NEXT_ADDRESS_SECONDS,
                interleave=1,  # of the two families in turn
            )
            try:
                _, connection = await self._loop.create_connection(
                    Connection,
                    sock=reached,
                    ssl=self._encryption if url.scheme == "https" else None,
                    server_hostname=url.raw_host if url.scheme == "https" else None,
                )
            except BaseException:
                reached.close()
                raise
        return connection
