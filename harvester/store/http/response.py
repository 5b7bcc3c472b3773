"""Reads one HTTP response, bounded and checked, and maps every failure to an error of the tree."""

from collections.abc import Mapping
from typing import Protocol

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


def exchange_error(
    error: Exception, ref: ObjectRef, offset: int | None, cost: RequestCost
) -> StoreError | None:
    """The error of the tree for one that ended an exchange, with the object's URL and the cost; None: a bug.

    Args:
        error: What was raised.
        ref: The object, or the prefix of a listing.
        offset: The first byte of the requested range.
        cost: What the exchange has cost.
    """
    found = error if isinstance(error, StoreError) else _store_error(error, ref)
    if found is not None:
        found.url = found.url or ref.url
        found.offset = offset if found.offset is None else found.offset
        found.requests, found.bytes_fetched = cost.requests, cost.bytes_fetched
    return found


def _store_error(error: Exception, ref: ObjectRef) -> StoreError | None:
    if isinstance(error, TimeoutError):
        return TimedOutError("the response was not complete in time")
    if isinstance(error, OSError):
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


async def read_document(limit: int, _cost: RequestCost, response: HttpResponse) -> bytes:
    """Read the whole body of a 200 that is no longer than `limit` bytes.

    Raises:
        StoreError: The response is an error, encoded, or too long, or the connection broke.
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
    except OSError:  # also StoreError
        return b""
    return data[:EXCERPT_BYTES]


def _error_text(error: Exception) -> str:
    return one_line(f"{type(error).__name__}: {error}")[:300]
