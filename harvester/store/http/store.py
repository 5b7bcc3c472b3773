"""Reads ranges of public objects over HTTP, from S3, GCS or any server that knows ranges."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Final, TypeAlias, TypeVar

import aiohttp
import anyio
from aiohttp.abc import AbstractResolver
from yarl import URL

from harvester.errors import ListingError, RequestRejectedError, StoreError
from harvester.model import ByteRange, ListedObject, ObjectRef, RangeResponse
from harvester.store.cost import RequestCost
from harvester.store.http import urls
from harvester.store.http.connection_pool import ConnectionBounds, Connections, open_connections
from harvester.store.http.listing import (
    DEFAULT_LISTING_LIMITS,
    ListingPage,
    join_pages,
    parse_json_page,
    parse_xml_page,
)
from harvester.store.http.range_response import if_match
from harvester.store.http.response import (
    Answer,
    ClientResponse,
    counting,
    errors_of,
    read_document,
    read_range,
)

T = TypeVar("T")
# An address, by the region of the bucket.
Where: TypeAlias = Callable[[str | None], str]

# What a server that has no JSON listing answers to one.
_NO_JSON_LISTING = frozenset({400, 404, 405, 501})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_USER_AGENT: Final = f"harvester/{version('harvester')}"


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Bounds of every exchange.

    Args:
        concurrency: Requests, and so connections, at once; others wait without their clock running.
        connect_seconds: For a connection to be made.
        silence_seconds: Between two pieces of an answer.
        total_seconds: For the whole answer; the only bound that ends a slow drip.
        redirects: How many are followed for one request, all of them to the same host.
    """

    concurrency: int = 64
    connect_seconds: float = 10.0
    silence_seconds: float = 20.0
    total_seconds: float = 60.0
    redirects: int = 3


DEFAULT_HTTP_LIMITS = HttpLimits()


@asynccontextmanager
async def open_http_store(
    *,
    endpoint: str | None = None,
    limits: HttpLimits = DEFAULT_HTTP_LIMITS,
    tls: ssl.SSLContext | None = None,
    resolver: AbstractResolver | None = None,
) -> AsyncIterator["HttpStore"]:
    """An HTTP store with its own connections, which are closed at the end.

    Requests are anonymous: no cookies, and neither proxies nor .netrc from the environment.

    Args:
        endpoint: Replaces the addresses of S3 and GCS, with the bucket in the path.
        limits: Bounds of every exchange.
        tls: Which certificates are trusted; None: those that the operating system trusts.
        resolver: Finds the addresses of hosts; None: the operating system does.

    Raises:
        ConfigError: The endpoint is no address.
    """
    bounds = ConnectionBounds(
        kept=limits.concurrency,
        connect_seconds=limits.connect_seconds,
        silence_seconds=limits.silence_seconds,
        total_seconds=limits.total_seconds,
    )
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            ssl=tls or True,
            resolver=resolver,
            limit=limits.concurrency,
            keepalive_timeout=bounds.idle_seconds,
        ),
        timeout=aiohttp.ClientTimeout(
            total=limits.total_seconds,
            sock_connect=limits.connect_seconds,
            sock_read=limits.silence_seconds,
        ),
        headers={"Accept-Encoding": "identity", "User-Agent": _USER_AGENT},
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
    )
    async with session, open_connections(bounds, tls=tls, resolver=resolver) as connections:
        yield HttpStore(session, connections, endpoint=endpoint, limits=limits)


class HttpStore:
    """A store over `s3`, `gs`, `https` and `http` refs, one request a call; see `open_http_store`.

    Args:
        session: Asks for listings; it must not decompress.
        connections: Over which ranges are asked for.
        endpoint: Replaces the addresses of S3 and GCS, with the bucket in the path.
        limits: Bounds of every exchange.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        connections: Connections,
        *,
        endpoint: str | None = None,
        limits: HttpLimits = DEFAULT_HTTP_LIMITS,
    ) -> None:
        self._session = session
        self._connections = connections
        self._endpoint = None if endpoint is None else urls.checked_endpoint(endpoint)
        self._limits = limits
        self._slots = anyio.Semaphore(limits.concurrency, fast_acquire=True)
        self._regions: dict[str, str] = {}
        self._without_json_listing: set[str] = set()

    async def get_range(self, ref: ObjectRef, wanted: ByteRange, *, etag: str | None = None) -> RangeResponse:
        """Read one range of an object, and check that the answer is that range.

        Raises:
            StoreError: One of its children, whatever the server or the network does.
        """
        fields = f"Range: bytes={wanted.start}-{wanted.stop - 1}\r\n"
        pinned = if_match(etag)
        if pinned is not None:
            fields += f"If-Match: {pinned}\r\n"

        def where(region: str | None) -> str:
            return urls.object_address(ref, endpoint=self._endpoint, region=region)

        with errors_of(ref, wanted.start) as cost:
            return await self._followed(
                ref, where, partial(self._asked, fields, cost), partial(read_range, wanted, etag, cost)
            )

    async def list_objects(self, prefix: ObjectRef) -> AsyncIterator[ListedObject]:
        """All objects whose key starts with the prefix's key.

        Raises:
            ListingError: A page failed, or the listing contradicts itself.
        """
        async for listed in join_pages(partial(self.list_page, prefix), prefix):
            yield listed

    async def list_page(self, prefix: ObjectRef, token: str | None) -> ListingPage:
        """One page of a listing: S3's by XML, GCS's by JSON; by XML too where an endpoint knows no JSON.

        Raises:
            StoreError: One of its children says what is wrong.
        """
        if prefix.scheme not in ("s3", "gs"):
            raise ListingError(
                f"{prefix.scheme}:// addresses cannot be listed; name a bucket, or each object",
                url=prefix.url,
            )
        if prefix.scheme == "s3" or prefix.bucket in self._without_json_listing:
            return await self._xml_page(prefix, token)
        try:
            document = await self._document(
                prefix, lambda _: urls.json_listing_address(prefix, token, endpoint=self._endpoint)
            )
        except StoreError as refused:
            if self._endpoint is None or token is not None or refused.status not in _NO_JSON_LISTING:
                raise
            page = await self._xml_page(prefix, None)
            self._without_json_listing.add(prefix.bucket)
            return page
        return parse_json_page(document, prefix.bucket)

    async def _xml_page(self, prefix: ObjectRef, token: str | None) -> ListingPage:
        def where(region: str | None) -> str:
            return urls.xml_listing_address(prefix, token, endpoint=self._endpoint, region=region)

        return parse_xml_page(await self._document(prefix, where), prefix.bucket, prefix.scheme)

    async def _document(self, prefix: ObjectRef, where: Where) -> bytes:
        """Ask for a page of a listing."""
        with errors_of(prefix) as cost:
            return await self._followed(
                prefix,
                where,
                partial(self._asked_by_client, cost),
                partial(read_document, DEFAULT_LISTING_LIMITS.page_bytes),
            )

    async def _followed(
        self,
        ref: ObjectRef,
        where: Where,
        ask: Callable[[str], AbstractAsyncContextManager[Answer]],
        read: Callable[[Answer], Awaitable[T]],
    ) -> T:
        """Ask at the address that `where` gives for a region, go where the server says, and read there."""
        url = where(self._regions.get(ref.bucket))
        async with self._slots:
            for _ in range(self._limits.redirects + 1):
                async with ask(url) as answer:
                    if answer.status not in _REDIRECTS:
                        return await read(answer)
                    url = self._redirected(ref, where, answer, url)
        raise RequestRejectedError(f"redirected more than {self._limits.redirects} times")

    @asynccontextmanager
    async def _asked(self, fields: str, cost: RequestCost, url: str) -> AsyncIterator[Answer]:
        """Ask over a connection of our own."""
        origin, request = _request(url, fields)
        cost.requests += 1
        connection = await self._connections.take(origin)
        try:
            await connection.ask(request)
            yield connection
        finally:
            cost.bytes_fetched += connection.received
            self._connections.give_back(connection)

    @asynccontextmanager
    async def _asked_by_client(self, cost: RequestCost, url: str) -> AsyncIterator[Answer]:
        """Ask by aiohttp's client."""
        # Leaving the block closes a connection whose answer was not read to its end.
        async with self._session.get(
            URL(url, encoded=True), allow_redirects=False, middlewares=(counting(cost),)
        ) as response:
            answer = ClientResponse(response)
            try:
                yield answer
            finally:
                cost.bytes_fetched += answer.received

    def _redirected(self, ref: ObjectRef, where: Where, answer: Answer, url: str) -> str:
        headers = answer.headers
        region = headers.get("x-amz-bucket-region", "")
        if ref.scheme == "s3" and self._endpoint is None and urls.is_region(region):
            self._regions[ref.bucket] = region
            return where(region)
        location = headers.get("Location", "")
        target = urls.redirect_target(url, location) if location else None
        if target is None:
            raise RequestRejectedError(
                f"the server redirects to {location[:200]!r}, which is not followed; name that address"
                " itself if it is trusted",
                status=answer.status,
            )
        return target


def _request(url: str, fields: str) -> tuple[str, bytes]:
    """The server that an address is at, and the request that it gets, with these header fields."""
    scheme, _, rest = url.partition("://")
    authority, _, target = rest.partition("/")
    request = (
        f"GET /{target} HTTP/1.1\r\nHost: {authority}\r\nAccept: */*\r\nAccept-Encoding: identity\r\n"
        f"User-Agent: {_USER_AGENT}\r\n{fields}\r\n"
    )
    return f"{scheme}://{authority}", request.encode("ascii")
