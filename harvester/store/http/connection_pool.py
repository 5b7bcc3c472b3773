"""Opens connections to servers, keeps idle ones for a while, and ends exchanges that take too long."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Final

import aiohappyeyeballs
import anyio
from yarl import URL

from harvester.errors import ConnectionFailedError, TimedOutError
from harvester.store.cost import RequestCost
from harvester.store.http.connection import Connection
from harvester.store.http.connection_errors import connection_error
from harvester.store.http.dns import AddressCache

if TYPE_CHECKING:
    from aiohttp.abc import AbstractResolver

# RFC 8305 8: the delay before the next address of a host is tried in parallel.
_NEXT_ADDRESS_SECONDS: Final = 0.25
_CHECKS_PER_TIMEOUT: Final = 8


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Timeouts of an exchange, and how many idle connections are kept.

    Args:
        kept_connections: The most idle connections.
        connect_seconds: Until a connection is open.
        silence_seconds: Between two pieces of a response.
        total_seconds: Until the response is complete; the only bound that ends a slow drip.
        idle_seconds: How long an idle connection is kept; S3 closes it after 20 s.
    """

    kept_connections: int = 64
    connect_seconds: float = 10.0
    silence_seconds: float = 20.0
    total_seconds: float = 60.0
    idle_seconds: float = 15.0


DEFAULT_HTTP_LIMITS: Final = HttpLimits()


@asynccontextmanager
async def open_connections(
    limits: HttpLimits,
    *,
    tls: Callable[[], ssl.SSLContext] = ssl.create_default_context,
    resolver: "AbstractResolver | None" = None,
) -> AsyncIterator["ConnectionPool"]:
    """A pool whose connections are all closed at the end.

    Args:
        limits: Timeouts, and how many idle connections are kept.
        tls: Creates the context of encrypted connections, at the first one: that takes up to 50 ms.
        resolver: Finds the addresses of a host; None: the operating system does.
    """
    pool = ConnectionPool(limits, tls=tls, addresses=AddressCache(resolver))
    try:
        yield pool
    finally:
        with anyio.CancelScope(shield=True):
            await pool.close()


class ConnectionPool:
    """Connections to any number of servers, from `open_connections`.

    A connection is acquired for one exchange and released after it, however that ended.
    """

    def __init__(
        self, limits: HttpLimits, *, tls: Callable[[], ssl.SSLContext], addresses: AddressCache
    ) -> None:
        self._limits = limits
        self._tls = tls
        self._addresses = addresses
        self._loop = asyncio.get_running_loop()
        self._busy: set[Connection] = set()
        # In the order of their release.
        self._idle: dict[Connection, None] = {}
        self._idle_at: dict[str, list[Connection]] = {}
        shortest = min(limits.silence_seconds, limits.total_seconds)
        self._check_seconds = shortest / _CHECKS_PER_TIMEOUT
        self._check: asyncio.TimerHandle | None = None

    async def send(
        self, origin: str, request: bytes, cost: RequestCost, *, is_repeated: bool = False
    ) -> Connection:
        """Send a GET request and wait for the head of its response; `release` has to follow.

        A server may close an idle connection just when it is used (RFC 9112 9.3.1): the request is then
        repeated on a new one.

        Args:
            origin: The server, as `https://host:port`.
            request: The request.
            cost: Increased by the requests.
            is_repeated: Whether it was sent before, on a connection that was closed.

        Raises:
            StoreError: No connection can be opened, or it broke, or the response is not HTTP.
        """
        cost.requests += 1
        connection = await self.acquire(origin, is_new=is_repeated)
        try:
            await connection.send(request)
        except BaseException as error:
            self.release(connection)
            is_stale = isinstance(error, ConnectionFailedError) and connection.was_closed_before_response
            if is_repeated or not is_stale:
                raise
        else:
            return connection
        return await self.send(origin, request, cost, is_repeated=True)

    async def acquire(self, origin: str, *, is_new: bool = False) -> Connection:
        """A connection that is ready for a request; `release` has to follow.

        Args:
            origin: The server, as `https://host:port`.
            is_new: Whether it must not be an idle one.

        Raises:
            StoreError: It cannot be opened.
        """
        now = self._loop.time()
        connection = None if is_new else self._take_idle(origin, now)
        if connection is None:
            connection = await self._connect(origin)
        connection.deadline = now + self._limits.total_seconds
        connection.last_received = now
        self._busy.add(connection)
        if self._check is None:
            self._check = self._loop.call_later(self._check_seconds, self._close_expired)
        return connection

    def release(self, connection: Connection) -> None:
        """Keep a connection, or close it if its response was not read to the end."""
        self._busy.remove(connection)
        if not connection.is_reusable:
            connection.abort()
            return
        self._idle[connection] = None
        idle = self._idle_at.get(connection.origin)
        if idle is None:
            self._idle_at[connection.origin] = [connection]
        else:
            idle.append(connection)
        if len(self._idle) > self._limits.kept_connections:
            self._close_idle(next(iter(self._idle)))

    async def close(self) -> None:
        """Close all connections, and wait until they are closed."""
        if self._check is not None:
            self._check.cancel()
        connections = [*self._idle, *self._busy]
        for connection in connections:
            connection.abort()
        for connection in connections:
            await connection.wait_closed()
        await self._addresses.close()

    def _take_idle(self, origin: str, now: float) -> Connection | None:
        while idle := self._idle_at.get(origin):
            connection = idle[-1]
            self._remove_idle(connection)
            if connection.is_reusable and now - connection.last_received <= self._limits.idle_seconds:
                return connection
            connection.abort()
        return None

    def _remove_idle(self, connection: Connection) -> None:
        del self._idle[connection]
        idle = self._idle_at[connection.origin]
        if idle[-1] is connection:
            idle.pop()
        else:
            idle.remove(connection)
        if not idle:
            del self._idle_at[connection.origin]

    def _close_idle(self, connection: Connection) -> None:
        self._remove_idle(connection)
        connection.abort()

    def _close_expired(self) -> None:
        now = self._loop.time()
        limits = self._limits
        for connection in self._busy:
            if now > connection.deadline:
                connection.fail(TimedOutError(f"the response was not complete in {limits.total_seconds:g} s"))
            elif now - connection.last_received > limits.silence_seconds:
                connection.fail(TimedOutError(f"the server sent nothing for {limits.silence_seconds:g} s"))
        for connection in list(self._idle):
            if now - connection.last_received <= limits.idle_seconds and connection.is_reusable:
                break  # the next ones were used later
            self._close_idle(connection)
        is_needed = self._busy or self._idle
        self._check = self._loop.call_later(self._check_seconds, self._close_expired) if is_needed else None

    @cached_property
    def _tls_context(self) -> ssl.SSLContext:
        return self._tls()

    async def _connect(self, origin: str) -> Connection:
        url = URL(origin)
        if url.raw_host is None or url.port is None:
            raise ConnectionFailedError(f"{origin!r} names no server")
        server = f"{url.raw_host}:{url.port}"
        seconds = min(self._limits.connect_seconds, self._limits.total_seconds)
        try:
            with anyio.fail_after(seconds):
                return await self._open(origin, url.raw_host, url.port)
        except TimeoutError as error:
            raise TimedOutError(f"no connection to {server} in {seconds:g} s") from error
        except OSError as error:
            raise connection_error(error, server) from error

    async def _open(self, origin: str, host: str, port: int) -> Connection:
        is_encrypted = origin.startswith("https:")
        opened = await aiohappyeyeballs.start_connection(
            await self._addresses.of(host, port),
            happy_eyeballs_delay=_NEXT_ADDRESS_SECONDS,
            interleave=1,  # the two address families alternate
        )
        try:
            _, connection = await self._loop.create_connection(
                partial(Connection, origin),
                sock=opened,
                ssl=self._tls_context if is_encrypted else None,
                server_hostname=host if is_encrypted else None,
            )
        except BaseException:
            opened.close()
            raise
        return connection
