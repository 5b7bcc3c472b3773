"""Sends requests through HTTP proxies, by aiohttp's client, which is imported for that only: it is slow."""

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from harvester.errors import ConnectionFailedError, PermanentConnectionError, StoreError, TimedOutError
from harvester.store.cost import RequestCost
from harvester.store.http.connection_errors import connection_error
from harvester.store.http.connection_pool import HttpLimits
from harvester.store.http.http_errors import PROXY_WANTS_CREDENTIALS


@asynccontextmanager
async def open_proxied_requests(
    limits: HttpLimits, tls: ssl.SSLContext, resolver: AbstractResolver | None
) -> AsyncIterator["ProxiedRequests"]:
    """A client whose connections are all closed at the end.

    Requests have no cookies, and nothing of .netrc.

    Args:
        limits: Timeouts.
        tls: Which certificates are trusted.
        resolver: Finds the addresses of hosts; None: the operating system does.
    """
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            ssl=tls, resolver=resolver, limit=0, keepalive_timeout=limits.idle_seconds
        ),
        timeout=aiohttp.ClientTimeout(
            total=limits.total_seconds,
            sock_connect=limits.connect_seconds,
            sock_read=limits.silence_seconds,
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
    ) as session:
        yield ProxiedRequests(session)


class ProxiedRequests:
    """Sends requests through proxies, from `open_proxied_requests`.

    Args:
        session: Sends them; it must not decompress.
    """

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def send(
        self, proxy: URL, url: str, headers: Mapping[str, str], cost: RequestCost
    ) -> "AiohttpResponse":
        """Send a GET request and wait for the head of its response; its `close` has to follow.

        Raises:
            StoreError: There is no response.
        """
        try:
            return AiohttpResponse(
                await self._session.get(
                    URL(url, encoded=True),
                    headers=headers,
                    allow_redirects=False,
                    middlewares=(_counting(cost),),
                    proxy=proxy,
                )
            )
        except _FailedRequestError as error:
            raise error.error from error.__cause__
        except (aiohttp.ClientError, HttpProcessingError) as error:
            raise client_error(error, URL(url, encoded=True)) from error


@dataclass(slots=True)
class AiohttpResponse:
    """A response of aiohttp's client."""

    response: aiohttp.ClientResponse
    received: int = 0

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.response.status

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers that are used, by names in lower case."""
        return self.response.headers

    @property
    def body_length(self) -> int | None:
        """The declared length of the body; None if only its end shows it."""
        return None if "transfer-encoding" in self.headers else self.response.content_length

    async def read(self, least: int) -> tuple[bytes, bool]:
        """Wait for `least` bytes of the body, or for its end: what has come, and whether it is all.

        Raises:
            StoreError: The connection broke.
            TimeoutError: The response took too long.
        """
        pieces: list[bytes] = []
        content = self.response.content
        try:
            while self.received < least and not content.at_eof():
                piece = await content.readany()
                pieces.append(piece)
                self.received += len(piece)
        except (aiohttp.ClientError, HttpProcessingError) as error:
            raise client_error(error, self.response.url) from error
        return b"".join(pieces), content.at_eof()

    def close(self) -> None:
        """Keep the connection, or close it if the response was not read to its end."""
        self.response.release()


def _counting(cost: RequestCost) -> aiohttp.ClientMiddlewareType:
    """A middleware that counts each request of aiohttp's client, and prevents the client's own retries.

    They would double the load on a server just when it fails.
    """

    async def send(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        cost.requests += 1
        try:
            return await handler(request)
        except (
            aiohttp.ClientOSError,
            aiohttp.ServerDisconnectedError,
            aiohttp.ClientHttpProxyError,
        ) as error:
            raise _FailedRequestError(client_error(error, request.url)) from error

    return send


class _FailedRequestError(Exception):
    """Carries an error through aiohttp's client, which repeats or wraps any OSError."""

    def __init__(self, error: StoreError) -> None:
        super().__init__(error.message)
        self.error = error


def client_error(error: Exception, url: URL) -> StoreError:
    """The error of the tree for one of aiohttp's.

    Args:
        error: What it raised.
        url: The requested URL.
    """
    server = f"{url.host}:{url.port}"
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return TimedOutError(f"no connection to {server} in time")
    if isinstance(error, TimeoutError):
        return TimedOutError("the response was not complete in time")
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return _refused_by_proxy(error)
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        server = f"the proxy {error.host}:{error.port}"
    return connection_error(_cause(error), server)


def _cause(error: Exception) -> Exception:
    """The error of the operating system or of the TLS library inside one of aiohttp's."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return error.certificate_error
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.os_error
    return error


def _refused_by_proxy(error: aiohttp.ClientHttpProxyError) -> ConnectionFailedError:
    """The error for a proxy that does not open the connection; its address may hold a password."""
    if error.status in (401, 407):  # tinyproxy: the former for a wrong password
        return PermanentConnectionError(PROXY_WANTS_CREDENTIALS, status=error.status)
    kind = PermanentConnectionError if 400 <= error.status < 500 else ConnectionFailedError
    return kind(
        f"the proxy refuses to connect to the server ({error.status}); ask its operator, or name the host in"
        " NO_PROXY if it can be reached directly",
        status=error.status,
    )
