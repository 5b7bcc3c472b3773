"""Reads ranges of public objects over HTTP, from S3, GCS or any server that knows ranges."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import TypeVar

import aiohttp
import anyio
from yarl import URL

from harvester.errors import ListingError, RequestRejectedError, StoreError
from harvester.model import ByteRange, ListedObject, ObjectRef, RangeAnswer
from harvester.store import address
from harvester.store.exchange import Cost, errors_of, read_document, read_range
from harvester.store.listing import (
    DEFAULT_LISTING_LIMITS,
    ListingPage,
    join_pages,
    parse_json_page,
    parse_xml_page,
)
from harvester.store.range_answer import if_match

T = TypeVar("T")

# What a server that has no JSON listing answers to one.
_NO_JSON_LISTING = frozenset({400, 404, 405, 501})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


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
    connector: aiohttp.BaseConnector | None = None,
) -> AsyncIterator["HttpStore"]:
    """An HTTP store with its own connection pool, which is closed at the end.

    Requests are anonymous: no cookies, and neither proxies nor .netrc from the environment.

    Args:
        endpoint: Replaces the addresses of S3 and GCS, with the bucket in the path.
        limits: Bounds of every exchange.
        connector: Another pool, for example with certificates of one's own.

    Raises:
        ConfigError: The endpoint is no address.
    """
    session = aiohttp.ClientSession(
        connector=connector
        or aiohttp.TCPConnector(
            limit=limits.concurrency,
            keepalive_timeout=15.0,  # S3 drops a connection that was idle for 20 s
        ),
        timeout=aiohttp.ClientTimeout(
            total=limits.total_seconds,
            sock_connect=limits.connect_seconds,
            sock_read=limits.silence_seconds,
        ),
        headers={"Accept-Encoding": "identity", "User-Agent": f"harvester/{version('harvester')}"},
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
    )
    async with session:
        yield HttpStore(session, endpoint=endpoint, limits=limits)


class HttpStore:
    """A store over `s3`, `gs`, `https` and `http` refs, one request a call; see `open_http_store`.

    Args:
        session: The connection pool; it must not decompress.
        endpoint: Replaces the addresses of S3 and GCS, with the bucket in the path.
        limits: Bounds of every exchange.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        endpoint: str | None = None,
        limits: HttpLimits = DEFAULT_HTTP_LIMITS,
    ) -> None:
        self._session = session
        self._endpoint = None if endpoint is None else address.checked_endpoint(endpoint)
        self._limits = limits
        self._slots = anyio.Semaphore(limits.concurrency, fast_acquire=True)
        self._regions: dict[str, str] = {}
        self._without_json_listing: set[str] = set()

    async def get_range(self, ref: ObjectRef, wanted: ByteRange, *, etag: str | None = None) -> RangeAnswer:
        """Read one range of an object, and check that the answer is that range.

        Raises:
            StoreError: One of its children, whatever the server or the network does.
        """
        headers = {"Range": f"bytes={wanted.start}-{wanted.stop - 1}"}
        pinned = if_match(etag)
        if pinned is not None:
            headers["If-Match"] = pinned

        def where(region: str | None) -> URL:
            return address.object_address(ref, endpoint=self._endpoint, region=region)

        with errors_of(ref, wanted.start) as cost:
            return await self._exchange(ref, where, headers, cost, partial(read_range, wanted, etag, cost))

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
                prefix, lambda _: address.json_listing_address(prefix, token, endpoint=self._endpoint)
            )
        except StoreError as refused:
            if self._endpoint is None or token is not None or refused.status not in _NO_JSON_LISTING:
                raise
            page = await self._xml_page(prefix, None)
            self._without_json_listing.add(prefix.bucket)
            return page
        return parse_json_page(document, prefix.bucket)

    async def _xml_page(self, prefix: ObjectRef, token: str | None) -> ListingPage:
        def where(region: str | None) -> URL:
            return address.xml_listing_address(prefix, token, endpoint=self._endpoint, region=region)

        return parse_xml_page(await self._document(prefix, where), prefix.bucket, prefix.scheme)

    async def _document(self, prefix: ObjectRef, where: Callable[[str | None], URL]) -> bytes:
        with errors_of(prefix) as cost:
            return await self._exchange(
                prefix, where, {}, cost, partial(read_document, DEFAULT_LISTING_LIMITS.page_bytes, cost)
            )

    async def _exchange(
        self,
        ref: ObjectRef,
        where: Callable[[str | None], URL],
        headers: dict[str, str],
        cost: Cost,
        read: Callable[[aiohttp.ClientResponse], Awaitable[T]],
    ) -> T:
        url = where(self._regions.get(ref.bucket))
        async with self._slots:
            for _ in range(self._limits.redirects + 1):
                # Leaving the block closes a connection whose answer was not read to its end.
                async with self._session.get(
                    url, headers=headers, allow_redirects=False, middlewares=(cost.count,)
                ) as response:
                    if response.status not in _REDIRECTS:
                        return await read(response)
                    url = self._redirected(ref, where, response)
        raise RequestRejectedError(f"redirected more than {self._limits.redirects} times")

    def _redirected(
        self, ref: ObjectRef, where: Callable[[str | None], URL], response: aiohttp.ClientResponse
    ) -> URL:
        region = response.headers.get("x-amz-bucket-region", "")
        if ref.scheme == "s3" and self._endpoint is None and address.is_region(region):
            self._regions[ref.bucket] = region
            return where(region)
        location = response.headers.get("Location", "")
        target = address.redirect_target(response.url, location) if location else None
        if target is None:
            raise RequestRejectedError(
                f"the server redirects to {location[:200]!r}, which is not followed; name that address"
                " itself if it is trusted",
                status=response.status,
            )
        return target
