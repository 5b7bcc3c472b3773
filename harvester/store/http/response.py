"""Reads one HTTP answer, bounded and checked, and turns whatever goes wrong into an error of the tree."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from harvester.errors import (
    BadResponseError,
    ConnectionFailedError,
    ListingError,
    ObjectChangedError,
    RequestRejectedError,
    StoreError,
    TimedOutError,
)
from harvester.model import ByteRange, ObjectRef, RangeResponse
from harvester.store.cost import RequestCost
from harvester.store.http.http_errors import EXCERPT_BYTES, refusal
from harvester.store.http.range_response import (
    Promise,
    check_encoding,
    check_etag,
    promise_of_partial,
    promise_of_whole,
    size_of_unsatisfied,
    unquoted,
)


def counting(cost: RequestCost) -> aiohttp.ClientMiddlewareType:
    """A middleware that counts each request of aiohttp's client, and forbids its own retries.

    The client would repeat a request whose connection broke: twice the load on a server that fails.
    """

    async def send(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        cost.requests += 1
        try:
            return await handler(request)
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
            raise _broken(error) from error

    return send


class Answer(Protocol):
    """One answer, whose body has still to be read."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, by names of any case."""

    @property
    def body_length(self) -> int | None:
        """How long it says that its body is; None where only its end will tell."""

    @property
    def received(self) -> int:
        """How many bytes of the body have come."""

    async def read(self, least: int) -> tuple[bytes, bool]:
        """Wait for so many bytes of the body, or for its end: what has come, and whether it is all."""


@dataclass(slots=True)
class ClientResponse:
    """An answer as aiohttp's client gives it."""

    response: aiohttp.ClientResponse
    received: int = 0

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.response.status

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, by names of any case."""
        return self.response.headers

    @property
    def body_length(self) -> int | None:
        """How long it says that its body is; None where only its end will tell."""
        return None if "Transfer-Encoding" in self.headers else self.response.content_length

    async def read(self, least: int) -> tuple[bytes, bool]:
        """Wait for so many bytes of the body, or for its end: what has come, and whether it is all."""
        pieces: list[bytes] = []
        content = self.response.content
        while self.received < least and not content.at_eof():
            piece = await content.readany()
            pieces.append(piece)
            self.received += len(piece)
        return b"".join(pieces), content.at_eof()


@contextmanager
def errors_of(ref: ObjectRef, offset: int | None = None) -> Iterator[RequestCost]:
    """Run an exchange; every failure of the network leaves as a `StoreError` that names the object.

    Args:
        ref: The object or the listing's prefix.
        offset: The first byte that is asked for, where it is a range.

    Raises:
        StoreError: With the cost of the exchange.
    """
    cost = RequestCost()
    try:
        yield cost
    except StoreError as error:
        raise _named(error, ref, offset, cost)  # noqa: B904 - it is the same error
    except TimeoutError as error:
        raise _named(TimedOutError("no whole answer in time"), ref, offset, cost) from error
    except (aiohttp.ClientError, HttpProcessingError, OSError) as error:
        raise _named(_broken(error), ref, offset, cost) from error
    except UnicodeError as error:  # a host name that DNS cannot spell
        rejected = RequestRejectedError(f"the address cannot be used: {_one_line(error)}")
        raise _named(rejected, ref, offset, cost) from error


async def read_range(wanted: ByteRange, etag: str | None, cost: RequestCost, answer: Answer) -> RangeResponse:
    """Read the answer to a range request, not a byte more than was asked for and promised.

    Args:
        wanted: The range that was asked for.
        etag: The ETag that the object must still have.
        cost: What the exchange has cost before this answer.
        answer: Of any status but a redirect's.

    Raises:
        StoreError: The answer is an error, or is not that range.
    """
    status, headers = answer.status, answer.headers
    if status == 412 and etag is not None:
        raise ObjectChangedError(f"the object was replaced: its ETag was {etag!r}", status=412)
    found = unquoted(headers.get("ETag"))
    if status == 416:
        check_etag(etag, found)
        size = size_of_unsatisfied(wanted, headers, await _excerpt_of(answer))
        discarded = cost.bytes_fetched + answer.received
        return RangeResponse(data=b"", size=size, etag=found, requests=cost.requests, discarded=discarded)
    await _check_status(answer, (200, 206))
    check_encoding(headers)
    check_etag(etag, found)
    if status == 206:
        promise = promise_of_partial(wanted, headers, answer.body_length)
    else:
        promise = promise_of_whole(wanted, answer.body_length)
    # One byte more shows whether the body ends where it should; where the size is known and the rest of
    # the object would follow, nobody waits for it.
    beyond = 0 if promise.whole and promise.size is not None else 1
    data, ended = await answer.read(promise.length + beyond)
    size = _checked_size(promise, data, ended=ended)
    data = data[: promise.length]
    return RangeResponse(
        data=data,
        size=size,
        etag=found,
        requests=cost.requests,
        discarded=cost.bytes_fetched + answer.received - len(data),
    )


async def read_document(limit: int, answer: Answer) -> bytes:
    """Read the whole body of a 200, if it is no longer than `limit` bytes.

    Raises:
        StoreError: The answer is an error, encoded, or too long.
        aiohttp.ClientError: The connection broke.
        TimeoutError: The answer took too long.
    """
    await _check_status(answer, (200,))
    check_encoding(answer.headers)
    data, ended = await answer.read(limit + 1)
    if len(data) > limit or not ended:
        raise ListingError(f"a page of the listing is longer than {limit} bytes")
    return data


def _checked_size(promise: Promise, data: bytes, *, ended: bool) -> int:
    """The whole object's size, once the body has kept its promise."""
    if not promise.whole:
        if len(data) != promise.length or not ended:
            kept = "more" if len(data) >= promise.length else str(len(data))
            raise BadResponseError(f"promised {promise.length} bytes, the body has {kept}")
    elif promise.size is not None and len(data) < promise.length:
        raise BadResponseError(f"promised {promise.length} bytes, the body has {len(data)}")
    if promise.size is not None:
        return promise.size
    if not ended or len(data) > promise.length:
        raise BadResponseError("the server ignores ranges and does not say the object's size")
    return len(data)


async def _check_status(answer: Answer, good: tuple[int, ...]) -> None:
    if answer.status in good:
        return
    if answer.status < 400:
        raise BadResponseError(f"the server answers {answer.status}", status=answer.status)
    raise refusal(answer.status, answer.headers, await _excerpt_of(answer))


async def _excerpt_of(answer: Answer) -> bytes:
    """The beginning of an error's body; what it says is a courtesy, so that its loss changes nothing."""
    try:
        data, _ = await answer.read(EXCERPT_BYTES)
    except (StoreError, aiohttp.ClientError, HttpProcessingError, OSError):
        return b""
    return data[:EXCERPT_BYTES]


def _named(error: StoreError, ref: ObjectRef, offset: int | None, cost: RequestCost) -> StoreError:
    error.url = error.url or ref.url
    error.offset = offset if error.offset is None else error.offset
    error.requests, error.bytes_fetched = cost.requests, cost.bytes_fetched
    return error


def _broken(error: Exception) -> ConnectionFailedError:
    return ConnectionFailedError(f"the connection failed: {_one_line(error)}")


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
