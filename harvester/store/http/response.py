"""Reads one HTTP response, bounded and checked, and maps every failure to an error of the tree."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from harvester.errors import (
    BadResponseError,
    ListingError,
    RequestRejectedError,
    StoreError,
    TimedOutError,
)
from harvester.messages import one_line
from harvester.model import ByteRange, ObjectRef, RangeResponse
from harvester.store.cost import RequestCost
from harvester.store.http.connection_errors import connection_error
from harvester.store.http.http_errors import EXCERPT_BYTES, status_error
from harvester.store.http.range_response import (
    DeclaredBody,
    check_encoding,
    check_etag,
    object_changed,
    partial_body,
    unquoted,
    unsatisfied_size,
    whole_body,
)


class HttpResponse(Protocol):
    """A response whose head has come; the body is still to be read."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers that are used, by names in lower case."""

    @property
    def body_length(self) -> int | None:
        """The declared length of the body; None if only its end shows it."""

    @property
    def received(self) -> int:
        """Bytes of the body so far."""

    async def read(self, least: int) -> tuple[bytes, bool]:
        """Wait for `least` bytes of the body, or for its end: what has come, and whether it is all."""


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
        """Wait for `least` bytes of the body, or for its end: what has come, and whether it is all."""
        pieces: list[bytes] = []
        content = self.response.content
        while self.received < least and not content.at_eof():
            piece = await content.readany()
            pieces.append(piece)
            self.received += len(piece)
        return b"".join(pieces), content.at_eof()


def counting(cost: RequestCost) -> aiohttp.ClientMiddlewareType:
    """A middleware that counts each request of aiohttp's client, and prevents the client's own retries.

    They would double the load on a server just when it fails.
    """

    async def send(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        cost.requests += 1
        try:
            return await handler(request)
        except aiohttp.ConnectionTimeoutError as error:
            server = f"{request.url.host}:{request.url.port}"
            raise _FailedRequestError(TimedOutError(f"no connection to {server} in time")) from error
        except (
            aiohttp.ClientOSError,
            aiohttp.ServerDisconnectedError,
            aiohttp.ClientHttpProxyError,
        ) as error:
            server = f"{request.url.host}:{request.url.port}"
            raise _FailedRequestError(connection_error(error, server)) from error

    return send


class _FailedRequestError(Exception):
    """Carries an error through aiohttp's client, which repeats or wraps any OSError."""

    def __init__(self, error: StoreError) -> None:
        super().__init__(error.message)
        self.error = error


class StoreErrors:
    """Runs an exchange, and counts its cost; every failure of the network becomes a `StoreError`.

    The error has the object's URL and the cost of the exchange.

    Args:
        ref: The object, or the prefix of a listing.
        offset: The first byte of the requested range.
    """

    __slots__ = ("_cost", "_offset", "_ref")

    def __init__(self, ref: ObjectRef, offset: int | None = None) -> None:
        self._ref = ref
        self._offset = offset
        self._cost = RequestCost()

    def __enter__(self) -> RequestCost:
        return self._cost

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            return
        if isinstance(error, StoreError):
            self._complete(error)
            return
        found = _store_error(error, self._ref)
        if found is not None:
            self._complete(found)
            raise found from (error.__cause__ if isinstance(error, _FailedRequestError) else error)

    def _complete(self, error: StoreError) -> None:
        error.url = error.url or self._ref.url
        error.offset = self._offset if error.offset is None else error.offset
        error.requests, error.bytes_fetched = self._cost.requests, self._cost.bytes_fetched


def _store_error(error: BaseException, ref: ObjectRef) -> StoreError | None:
    """The error of the tree for one of the network; None: it is none."""
    if isinstance(error, _FailedRequestError):
        return error.error
    if isinstance(error, TimeoutError):
        return TimedOutError("the response was not complete in time")
    if isinstance(error, aiohttp.ClientError | HttpProcessingError | OSError):
        return connection_error(error, ref.bucket)
    if isinstance(error, UnicodeError):  # a host name that DNS cannot spell
        return RequestRejectedError(f"the URL cannot be used: {_error_text(error)}")
    return None


async def read_range(
    wanted: ByteRange, etag: str | None, cost: RequestCost, response: HttpResponse
) -> RangeResponse:
    """Read the response to a range request, and no more bytes than requested and declared.

    Args:
        wanted: The requested range.
        etag: The ETag that the object must still have.
        cost: What the exchange has cost before this response.
        response: Of any status but a redirect's.

    Raises:
        StoreError: The response is an error, or is not that range.
    """
    status, headers = response.status, response.headers
    if status == 412 and etag is not None:
        raise object_changed(etag)
    found = unquoted(headers.get("etag"))
    if status == 416:
        check_etag(etag, found)
        size = unsatisfied_size(wanted, headers, await _excerpt_of(response))
        discarded = cost.bytes_fetched + response.received
        return RangeResponse(b"", size, found, cost.requests, discarded)
    if status not in (200, 206):
        raise await _status_error(response)
    check_encoding(headers)
    check_etag(etag, found)
    if status == 206:
        body = partial_body(wanted, headers, response.body_length)
    else:
        body = whole_body(wanted, response.body_length)
    # One more byte shows whether the body ends where it should; not if the rest of the object would follow.
    beyond = 0 if body.is_whole_object and body.size is not None else 1
    data, ended = await response.read(body.length + beyond)
    size = _checked_size(body, data, ended=ended)
    data = data[: body.length]
    discarded = cost.bytes_fetched + response.received - len(data)
    return RangeResponse(data, size, found, cost.requests, discarded)


async def read_document(limit: int, response: HttpResponse) -> bytes:
    """Read the whole body of a 200 that is no longer than `limit` bytes.

    Raises:
        StoreError: The response is an error, encoded, or too long.
        aiohttp.ClientError: The connection broke.
        TimeoutError: The response took too long.
    """
    if response.status != 200:
        raise await _status_error(response)
    check_encoding(response.headers)
    data, ended = await response.read(limit + 1)
    if len(data) > limit or not ended:
        raise ListingError(f"a page of the listing is longer than {limit} bytes")
    return data


def _checked_size(body: DeclaredBody, data: bytes, *, ended: bool) -> int:
    """The whole object's size, if the data is as the head declared.

    Raises:
        BadResponseError: It is not.
    """
    if not body.is_whole_object:
        if len(data) != body.length or not ended:
            length = "more" if len(data) >= body.length else str(len(data))
            raise BadResponseError(f"declared {body.length} bytes, the body has {length}")
    elif body.size is not None and len(data) < body.length:
        raise BadResponseError(f"declared {body.length} bytes, the body has {len(data)}")
    if body.size is not None:
        return body.size
    if not ended or len(data) > body.length:
        raise BadResponseError("the server ignores ranges and does not tell the object's size")
    return len(data)


async def _status_error(response: HttpResponse) -> StoreError:
    if response.status < 400:
        return BadResponseError(f"the server responded with {response.status}", status=response.status)
    return status_error(response.status, response.headers, await _excerpt_of(response))


async def _excerpt_of(response: HttpResponse) -> bytes:
    """The beginning of an error's body; empty if it cannot be read, because the status is enough."""
    try:
        data, _ = await response.read(EXCERPT_BYTES)
    except (StoreError, aiohttp.ClientError, HttpProcessingError, OSError):
        return b""
    return data[:EXCERPT_BYTES]


def _error_text(error: Exception) -> str:
    return one_line(f"{type(error).__name__}: {error}")[:300]
