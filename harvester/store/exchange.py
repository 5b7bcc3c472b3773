"""Reads one HTTP answer, bounded and checked, and turns whatever goes wrong into an error of the tree."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from harvester.errors import (
    BadAnswerError,
    ConnectionFailedError,
    ListingError,
    ObjectChangedError,
    RequestRejectedError,
    StoreError,
    TimedOutError,
)
from harvester.model import ByteRange, ObjectRef, RangeAnswer
from harvester.store.range_answer import (
    Promise,
    check_encoding,
    check_etag,
    promise_of_partial,
    promise_of_whole,
    size_of_unsatisfied,
    unquoted,
)
from harvester.store.refusal import EXCERPT_BYTES, refusal


@dataclass(slots=True)
class Cost:
    """What one call has cost so far."""

    requests: int = 0
    bytes_fetched: int = 0

    async def count(
        self, request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Count a request as it goes out, and let no broken connection be repeated behind our back.

        The client would send such a request again at once: twice the load just when a server breaks.

        Raises:
            ConnectionFailedError: The connection broke before the answer began.
        """
        self.requests += 1
        try:
            return await send(request)
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
            raise _broken(error) from error


@contextmanager
def errors_of(ref: ObjectRef, offset: int | None = None) -> Iterator[Cost]:
    """Run an exchange; every failure of the network leaves as a `StoreError` that names the object.

    Args:
        ref: The object or the listing's prefix.
        offset: The first byte that is asked for, where it is a range.

    Raises:
        StoreError: With the cost of the exchange.
    """
    cost = Cost()
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


async def read_range(
    wanted: ByteRange, etag: str | None, cost: Cost, response: aiohttp.ClientResponse
) -> RangeAnswer:
    """Read the answer to a range request, not a byte more than was asked for and promised.

    Args:
        wanted: The range that was asked for.
        etag: The ETag that the object must still have.
        cost: Where the bytes are counted.
        response: The answer, of any status but a redirect's.

    Raises:
        StoreError: The answer is an error, or is not that range.
        aiohttp.ClientError: The connection broke.
        TimeoutError: The answer took too long.
    """
    if response.status == 412 and etag is not None:
        raise ObjectChangedError(f"the object was replaced: its ETag was {etag!r}", status=412)
    found = unquoted(response.headers.get("ETag"))
    if response.status == 416:
        check_etag(etag, found)
        body = await _excerpt_of(response, cost)
        size = size_of_unsatisfied(wanted, response.headers, body)
        return RangeAnswer(
            data=b"", size=size, etag=found, requests=cost.requests, discarded=cost.bytes_fetched
        )
    await _check_status(response, (200, 206), cost)
    check_encoding(response.headers)
    check_etag(etag, found)
    body_length = _body_length(response)
    if response.status == 206:
        promise = promise_of_partial(wanted, response.headers, body_length)
    else:
        promise = promise_of_whole(wanted, body_length)
    # One byte more shows whether the body ends where it should; where the size is known and the rest of
    # the object would follow, nobody waits for it.
    beyond = 0 if promise.whole and promise.size is not None else 1
    data, ended = await _read_at_most(response, promise.length + beyond, cost)
    size = _checked_size(promise, data, ended=ended)
    data = data[: promise.length]
    return RangeAnswer(
        data=data,
        size=size,
        etag=found,
        requests=cost.requests,
        discarded=cost.bytes_fetched - len(data),
    )


async def read_document(limit: int, cost: Cost, response: aiohttp.ClientResponse) -> bytes:
    """Read the whole body of a 200, if it is no longer than `limit` bytes.

    Raises:
        StoreError: The answer is an error, encoded, or too long.
        aiohttp.ClientError: The connection broke.
        TimeoutError: The answer took too long.
    """
    await _check_status(response, (200,), cost)
    check_encoding(response.headers)
    data, ended = await _read_at_most(response, limit + 1, cost)
    if len(data) > limit or not ended:
        raise ListingError(f"a page of the listing is longer than {limit} bytes")
    return data


def _checked_size(promise: Promise, data: bytes, *, ended: bool) -> int:
    """The whole object's size, once the body has kept its promise."""
    if not promise.whole:
        if len(data) != promise.length or not ended:
            kept = "more" if len(data) >= promise.length else str(len(data))
            raise BadAnswerError(f"promised {promise.length} bytes, the body has {kept}")
    elif promise.size is not None and len(data) < promise.length:
        raise BadAnswerError(f"promised {promise.length} bytes, the body has {len(data)}")
    if promise.size is not None:
        return promise.size
    if not ended or len(data) > promise.length:
        raise BadAnswerError("the server ignores ranges and does not say the object's size")
    return len(data)


async def _read_at_most(response: aiohttp.ClientResponse, limit: int, cost: Cost) -> tuple[bytes, bool]:
    """The body up to the piece that reaches `limit`, and whether that was its end."""
    pieces: list[bytes] = []
    length = 0
    content = response.content
    while length < limit and not content.at_eof():
        piece = await content.readany()
        pieces.append(piece)
        length += len(piece)
        cost.bytes_fetched += len(piece)
    return b"".join(pieces), content.at_eof()


async def _check_status(response: aiohttp.ClientResponse, good: tuple[int, ...], cost: Cost) -> None:
    if response.status in good:
        return
    if response.status < 400:
        raise BadAnswerError(f"the server answers {response.status}", status=response.status)
    raise refusal(response.status, response.headers, await _excerpt_of(response, cost))


async def _excerpt_of(response: aiohttp.ClientResponse, cost: Cost) -> bytes:
    """The beginning of an error's body; what it says is a courtesy, so that its loss changes nothing."""
    try:
        data, _ = await _read_at_most(response, EXCERPT_BYTES, cost)
    except (aiohttp.ClientError, HttpProcessingError, OSError):
        return b""
    return data[:EXCERPT_BYTES]


def _body_length(response: aiohttp.ClientResponse) -> int | None:
    return None if "Transfer-Encoding" in response.headers else response.content_length


def _named(error: StoreError, ref: ObjectRef, offset: int | None, cost: Cost) -> StoreError:
    error.url = error.url or ref.url
    error.offset = offset if error.offset is None else error.offset
    error.requests, error.bytes_fetched = cost.requests, cost.bytes_fetched
    return error


def _broken(error: Exception) -> ConnectionFailedError:
    return ConnectionFailedError(f"the connection failed: {_one_line(error)}")


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
