"""Reads ranges of objects over HTTP, from S3, GCS or any server that supports range requests."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from harvester.config.proxies import Proxies
from harvester.errors import (
    AccessDeniedError,
    ListingError,
    RequestRejectedError,
    StoreError,
)
from harvester.messages import without_secrets
from harvester.model import VERSION, ByteRange, ObjectRef, RangeResponse
from harvester.store.cost import RequestCost
from harvester.store.http import urls
from harvester.store.http.connection import Connection
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
from harvester.store.http.response import HttpResponse, exchange_error, read_document, read_range
from harvester.store.http.signing import Signer

if TYPE_CHECKING:
    from aiohttp.abc import AbstractResolver

    from harvester.store.http.proxied import AiohttpResponse, ProxiedRequests

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
_SAME_FIELDS: Final = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": f"harvester/{VERSION}"}
_SAME_LINES: Final = "".join(f"{name}: {value}\r\n" for name, value in _SAME_FIELDS.items())


@asynccontextmanager
async def open_http_store(
    *,
    endpoint: str | None = None,
    limits: HttpLimits = DEFAULT_HTTP_LIMITS,
    tls: Callable[[], ssl.SSLContext] = ssl.create_default_context,
    resolver: "AbstractResolver | None" = None,
    proxies: Proxies | None = None,
    signer: Signer | None = None,
) -> AsyncIterator["HttpStore"]:
    """An HTTP store with its own connections, which are closed at the end.

    How many requests run at once is the caller's business.

    Args:
        endpoint: Replaces the endpoints of S3 and GCS; the bucket is the first part of the path.
        limits: Bounds of every exchange.
        tls: Creates the context of encrypted connections; the default trusts what the system trusts.
        resolver: Finds the addresses of hosts; None: the operating system does.
        proxies: Chooses the proxy of a request; None: there are none.
        signer: Signs requests; None: they are anonymous.

    Raises:
        ConfigError: The endpoint is not a URL.
    """
    async with (
        open_connections(limits, tls=tls, resolver=resolver) as connections,
        AsyncExitStack() as opened,
    ):
        proxied = None
        if proxies is not None and proxies.exist:
            from harvester.store.http.proxied import open_proxied_requests  # noqa: PLC0415 - aiohttp is slow

            proxied = await opened.enter_async_context(open_proxied_requests(limits, tls(), resolver))
        store = HttpStore(connections, endpoint=endpoint, proxies=proxies, proxied=proxied, signer=signer)
        yield store


class HttpStore(PagedStore):
    """A store over `s3`, `gs`, `https` and `http` refs, from `open_http_store`; one request per call.

    Args:
        connections: For direct requests.
        endpoint: Replaces the endpoints of S3 and GCS; the bucket is the first part of the path.
        proxies: Chooses the proxy of a request; None: there are none.
        proxied: Sends requests through proxies, if there are any.
        signer: Signs requests; None: they are anonymous.
    """

    def __init__(
        self,
        connections: ConnectionPool,
        *,
        endpoint: str | None = None,
        proxies: Proxies | None = None,
        proxied: "ProxiedRequests | None" = None,
        signer: Signer | None = None,
    ) -> None:
        self._signer = signer
        self._proxies = proxies
        self._proxied = proxied
        self._connections = connections
        self._endpoint = None if endpoint is None else urls.checked_endpoint(endpoint)
        self._regions: dict[str, str] = {}
        self._without_json_listing: set[str] = set()

    def get_range(
        self, ref: ObjectRef, wanted: ByteRange, *, etag: str | None = None
    ) -> Coroutine[Any, Any, RangeResponse]:
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

        return self._exchange(ref, wanted.start, url_of, headers, partial(read_range, wanted, etag))

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
        return await self._exchange(prefix, None, url_of, {}, partial(read_document, MOST_PAGE_BYTES))

    async def _exchange(
        self,
        ref: ObjectRef,
        offset: int | None,
        url_of: UrlOfRegion,
        headers: dict[str, str],
        read: Callable[[RequestCost, HttpResponse], Awaitable[T]],
    ) -> T:
        """Send a request, follow redirects, and read the response.

        Args:
            ref: The object, or the prefix of a listing.
            offset: The first byte of the requested range.
            url_of: The URL to request, which depends on the bucket's region.
            headers: What is sent beside the fields of every request.
            read: Reads a response of any status but a redirect's.

        Raises:
            StoreError: With the object's URL and the cost of the exchange.
        """
        cost = RequestCost()
        try:
            url = url_of(self._regions.get(ref.bucket))
            for _ in range(_MOST_REDIRECTS + 1):
                sent = headers
                if self._signer is not None:
                    sent = await self._signer.headers(ref, url, headers, self._regions.get(ref.bucket))
                response = await self._send(url, sent, cost)
                try:
                    if response.status not in _REDIRECTS and not self._is_other_region(ref, response):
                        return await read(cost, response)
                    url = self._redirected(ref, url_of, response, url)
                finally:
                    cost.bytes_fetched += response.received
                    self._finish(response)
            raise RequestRejectedError(f"redirected more than {_MOST_REDIRECTS} times")  # noqa: TRY301
        except Exception as error:
            if isinstance(error, AccessDeniedError) and ref.scheme in ("s3", "gs"):
                error.message += _SIGNED if self._signer else _ANONYMOUS
            found = exchange_error(error, ref, offset, cost)
            if found is None or found is error:
                raise
            raise found from error

    def _is_other_region(self, ref: ObjectRef, response: HttpResponse) -> bool:
        """Whether S3 refuses a request only because it was signed for another region than the bucket's."""
        if response.status != 400 or self._signer is None or ref.scheme != "s3":
            return False
        region = response.headers.get("x-amz-bucket-region", "")
        return self._endpoint is None and urls.is_region(region) and region != self._regions.get(ref.bucket)

    async def _send(
        self, url: str, headers: Mapping[str, str], cost: RequestCost
    ) -> "Connection | AiohttpResponse":
        """Send a request, and wait for the head of its response; `_finish` has to follow."""
        if self._proxies is not None and self._proxied is not None:
            proxy = self._proxies.of(url)
            if proxy is not None:
                return await self._proxied.send(proxy, url, {**_SAME_FIELDS, **headers}, cost)
        return await self._connections.send(*_request(url, headers), cost)

    def _finish(self, response: "Connection | AiohttpResponse") -> None:
        """Keep the connection of a response, or close it if that was not read to its end."""
        if isinstance(response, Connection):
            self._connections.release(response)
        else:
            response.close()

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


def _request(url: str, headers: Mapping[str, str]) -> tuple[str, bytes]:
    """The origin of a URL, and the bytes of a GET request with these header fields."""
    scheme, _, rest = url.partition("://")
    authority, _, target = rest.partition("/")
    fields = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    request = f"GET /{target} HTTP/1.1\r\nHost: {authority}\r\n{_SAME_LINES}{fields}\r\n"
    return f"{scheme}://{authority}", request.encode("ascii")
