"""Reads ranges of objects over HTTP, from S3, GCS or any server that supports range requests."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Final, TypeAlias, TypeVar

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from harvester.config.proxies import Proxies
from harvester.errors import (
    AccessDeniedError,
    ConnectionFailedError,
    ListingError,
    RequestRejectedError,
    StoreError,
)
from harvester.messages import without_secrets
from harvester.model import VERSION, ByteRange, ObjectRef, RangeResponse
from harvester.store.cost import RequestCost
from harvester.store.http import urls
from harvester.store.http.connection_pool import (
    DEFAULT_HTTP_LIMITS,
    ConnectionPool,
    HttpLimits,
    open_connections,
)
from harvester.store.http.listing import (
    MOST_PAGE_BYTES,
    ListingPage,
    PagedStore,
    parse_json_page,
    parse_xml_page,
)
from harvester.store.http.range_response import if_match
from harvester.store.http.response import (
    AiohttpResponse,
    HttpResponse,
    StoreErrors,
    counting,
    read_document,
    read_range,
)
from harvester.store.http.signing import Signer

T = TypeVar("T")
# A URL, by the region of the bucket.
UrlOfRegion: TypeAlias = Callable[[str | None], str]

# The responses of servers without a JSON listing.
_NO_JSON_LISTING: Final = frozenset({400, 404, 405, 501})
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS: Final = 3
_ANONYMOUS: Final = (
    ' without credentials: not public; [source] credentials = "environment" signs requests (of one'
    " object: --credentials environment)"
)
_SIGNED: Final = " with the credentials of the environment: they do not allow it"
_USER_AGENT: Final = f"harvester/{VERSION}"
_SAME_FIELDS: Final = f"Accept: */*\r\nAccept-Encoding: identity\r\nUser-Agent: {_USER_AGENT}\r\n"


@asynccontextmanager
async def open_http_store(
    *,
    endpoint: str | None = None,
    limits: HttpLimits = DEFAULT_HTTP_LIMITS,
    tls: ssl.SSLContext | None = None,
    resolver: AbstractResolver | None = None,
    proxies: Proxies | None = None,
    signer: Signer | None = None,
) -> AsyncIterator["HttpStore"]:
    """An HTTP store with its own connections, which are closed at the end.

    Requests have no cookies, and nothing of .netrc. How many run at once is the caller's business.

    Args:
        endpoint: Replaces the endpoints of S3 and GCS; the bucket is the first part of the path.
        limits: Bounds of every exchange.
        tls: Which certificates are trusted; None: those that the operating system trusts.
        resolver: Finds the addresses of hosts; None: the operating system does.
        proxies: Chooses the proxy of a request; None: there are none.
        signer: Signs requests; None: they are anonymous.

    Raises:
        ConfigError: The endpoint is not a URL.
    """
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            ssl=tls or True, resolver=resolver, limit=0, keepalive_timeout=limits.idle_seconds
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
    async with session, open_connections(limits, tls=tls, resolver=resolver) as connections:
        yield HttpStore(session, connections, endpoint=endpoint, proxies=proxies, signer=signer)


class HttpStore(PagedStore):
    """A store over `s3`, `gs`, `https` and `http` refs, from `open_http_store`; one request per call.

    Args:
        session: Sends the requests for listings, and all through a proxy; it must not decompress.
        connections: For direct requests for ranges.
        endpoint: Replaces the endpoints of S3 and GCS; the bucket is the first part of the path.
        proxies: Chooses the proxy of a request; None: there are none.
        signer: Signs requests; None: they are anonymous.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        connections: ConnectionPool,
        *,
        endpoint: str | None = None,
        proxies: Proxies | None = None,
        signer: Signer | None = None,
    ) -> None:
        self._signer = signer
        self._proxies = Proxies({}) if proxies is None else proxies
        self._session = session
        self._connections = connections
        self._endpoint = None if endpoint is None else urls.checked_endpoint(endpoint)
        self._regions: dict[str, str] = {}
        self._without_json_listing: set[str] = set()

    async def get_range(self, ref: ObjectRef, wanted: ByteRange, *, etag: str | None = None) -> RangeResponse:
        """Read one range of an object, and check that the response is that range.

        Raises:
            StoreError: One of its subclasses, for every failure of the server or the network.
        """
        headers = {"Range": f"bytes={wanted.start}-{wanted.stop - 1}"}
        pinned = if_match(etag)
        if pinned is not None:
            headers["If-Match"] = pinned

        def url_of(region: str | None) -> str:
            return urls.object_url(ref, endpoint=self._endpoint, region=region)

        with StoreErrors(ref, wanted.start) as cost:
            send, read = partial(self._send, cost), partial(read_range, wanted, etag, cost)
            return await self._exchange(ref, url_of, headers, send, read)

    async def list_page(self, prefix: ObjectRef, token: str | None) -> ListingPage:
        """One page of a listing: S3's in XML, GCS's in JSON, or in XML from an endpoint without JSON.

        Raises:
            StoreError: One of its subclasses says what is wrong.
        """
        if prefix.scheme not in ("s3", "gs"):
            raise ListingError(
                f"{prefix.scheme}:// URLs cannot be listed; name a bucket, or each object",
                url=prefix.url,
            )
        if prefix.scheme == "s3" or prefix.bucket in self._without_json_listing:
            return await self._xml_page(prefix, token)
        try:
            document = await self._document(
                prefix, lambda _: urls.json_listing_url(prefix, token, endpoint=self._endpoint)
            )
        except StoreError as error:
            if self._endpoint is None or token is not None or error.status not in _NO_JSON_LISTING:
                raise
            page = await self._xml_page(prefix, None)
            self._without_json_listing.add(prefix.bucket)
            return page
        return parse_json_page(document, prefix.bucket)

    async def _xml_page(self, prefix: ObjectRef, token: str | None) -> ListingPage:
        def url_of(region: str | None) -> str:
            return urls.xml_listing_url(prefix, token, endpoint=self._endpoint, region=region)

        return parse_xml_page(await self._document(prefix, url_of), prefix.bucket, prefix.scheme)

    async def _document(self, prefix: ObjectRef, url_of: UrlOfRegion) -> bytes:
        """One page of a listing, as the server sends it."""
        with StoreErrors(prefix) as cost:
            send, read = partial(self._send_by_aiohttp, cost), partial(read_document, MOST_PAGE_BYTES)
            return await self._exchange(prefix, url_of, {}, send, read)

    async def _exchange(
        self,
        ref: ObjectRef,
        url_of: UrlOfRegion,
        headers: dict[str, str],
        send: Callable[[Mapping[str, str], str], AbstractAsyncContextManager[HttpResponse]],
        read: Callable[[HttpResponse], Awaitable[T]],
    ) -> T:
        """Send a request, follow redirects, and read the response."""
        url = url_of(self._regions.get(ref.bucket))
        for _ in range(_MOST_REDIRECTS + 1):
            sent = headers
            if self._signer is not None:
                sent = await self._signer.headers(ref, url, headers, self._regions.get(ref.bucket))
            async with send(sent, url) as response:
                if response.status not in _REDIRECTS and not self._is_other_region(ref, response):
                    try:
                        return await read(response)
                    except AccessDeniedError as error:
                        if ref.scheme in ("s3", "gs"):
                            error.message += _SIGNED if self._signer else _ANONYMOUS
                        raise
                url = self._redirected(ref, url_of, response, url)
        raise RequestRejectedError(f"redirected more than {_MOST_REDIRECTS} times")

    def _is_other_region(self, ref: ObjectRef, response: HttpResponse) -> bool:
        """Whether S3 refuses a request only because it was signed for another region than the bucket's."""
        if response.status != 400 or self._signer is None or ref.scheme != "s3":
            return False
        region = response.headers.get("x-amz-bucket-region", "")
        return self._endpoint is None and urls.is_region(region) and region != self._regions.get(ref.bucket)

    def _send(
        self, cost: RequestCost, headers: Mapping[str, str], url: str
    ) -> AbstractAsyncContextManager[HttpResponse]:
        """Send a request, over one of harvester's connections if that is direct."""
        if self._proxies.of(url) is None:
            return _DirectExchange(self._connections, cost, *_request(url, headers))
        return self._send_by_aiohttp(cost, headers, url)

    @asynccontextmanager
    async def _send_by_aiohttp(
        self, cost: RequestCost, headers: Mapping[str, str], url: str
    ) -> AsyncIterator[HttpResponse]:
        """Send a request by aiohttp's client, through a proxy if there is one."""
        # Leaving the block closes a connection whose response was not read to its end.
        async with self._session.get(
            URL(url, encoded=True),
            headers=headers,
            allow_redirects=False,
            middlewares=(counting(cost),),
            proxy=self._proxies.of(url),
        ) as client_response:
            response = AiohttpResponse(client_response)
            try:
                yield response
            finally:
                cost.bytes_fetched += response.received

    def _redirected(self, ref: ObjectRef, url_of: UrlOfRegion, response: HttpResponse, url: str) -> str:
        headers = response.headers
        region = headers.get("x-amz-bucket-region", "")
        if ref.scheme == "s3" and self._endpoint is None and urls.is_region(region):
            self._regions[ref.bucket] = region
            return url_of(region)
        location = headers.get("location", "")
        target = urls.redirect_target(url, location) if location else None
        if target is None:
            shown = without_secrets(location)[:200]
            raise RequestRejectedError(
                f"the server redirects to {shown!r}, which is not followed; use that URL itself if you trust"
                " it",
                status=response.status,
            )
        return target


class _DirectExchange(AbstractAsyncContextManager[HttpResponse]):
    """A request over one of harvester's connections, and its response.

    Args:
        connections: The connections.
        cost: Counts the requests and the bytes.
        origin: The server.
        request: The request.
    """

    __slots__ = ("_connection", "_connections", "_cost", "_origin", "_request")

    def __init__(self, connections: ConnectionPool, cost: RequestCost, origin: str, request: bytes) -> None:
        self._connections = connections
        self._cost = cost
        self._origin = origin
        self._request = request

    async def __aenter__(self) -> HttpResponse:
        """Send the request, and again on a new connection if the server had closed the reused one.

        A server may close an idle connection just when it is used (RFC 9112 9.3.1); a GET may be repeated.
        """
        for is_repeated in (False, True):
            self._cost.requests += 1
            connection = await self._connections.acquire(self._origin, is_new=is_repeated)
            try:
                await connection.send(self._request)
            except BaseException as error:
                self._connections.release(connection)
                is_stale = isinstance(error, ConnectionFailedError) and connection.was_closed_before_response
                if is_repeated or not is_stale:
                    raise
            else:
                break
        self._connection = connection
        return connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cost.bytes_fetched += self._connection.received
        self._connections.release(self._connection)


def _request(url: str, headers: Mapping[str, str]) -> tuple[str, bytes]:
    """The origin of a URL, and the bytes of a GET request with these header fields."""
    scheme, _, rest = url.partition("://")
    authority, _, target = rest.partition("/")
    fields = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    request = f"GET /{target} HTTP/1.1\r\nHost: {authority}\r\n{_SAME_FIELDS}{fields}\r\n"
    return f"{scheme}://{authority}", request.encode("ascii")
