"""One connection to an HTTP/1.1 server (RFC 9112), which serves one request after another.

Ranges use these connections rather than aiohttp's client, which takes three quarters of the CPU time of a
small range. The parser is llhttp, through httptools; this module adds the order of requests, and bounds.
"""

import asyncio
import enum
from typing import Final, cast

import httptools

from harvester.errors import ConnectionFailedError
from harvester.messages import one_line

# Within a factor of two of what servers and other clients allow.
_LONGEST_HEAD: Final = 64 << 10
# The read-ahead limit until the caller calls `read`.
_READ_AHEAD: Final = 256 << 10
# The header fields that are used: a response of S3 or Cloud Storage has up to twenty.
_FIELDS: Final = {
    name.encode(): name
    for name in (
        "content-encoding",
        "content-length",
        "content-range",
        "etag",
        "location",
        "retry-after",
        "transfer-encoding",
        "x-amz-bucket-region",
    )
}


class _Phase(enum.Enum):
    """How far an exchange is."""

    IDLE = enum.auto()
    HEAD = enum.auto()
    BODY = enum.auto()


class Connection(asyncio.Protocol):
    """A connection with one exchange at a time: `send`, then `read`; reusable if `is_reusable`.

    Args:
        origin: The server, for the pool that keeps the connection.

    Attributes:
        origin: The same.
        status: The response's HTTP status.
        headers: The response's headers, by names in lower case; only those that harvester uses.
        received: Bytes of the response's body so far.
        deadline: When the exchange must be complete, by the event loop's clock.
        last_received: When the last data came.
        exchanges: How many requests were sent.
    """

    def __init__(self, origin: str = "") -> None:
        self.origin = origin
        self.status = 0
        self.headers: dict[str, str] = {}
        self.received = 0
        self.deadline = self.last_received = 0.0
        self.exchanges = 0
        self._loop = asyncio.get_running_loop()
        self._fields: dict[bytes, bytes] = {}
        # Called by the parser for each header field; the first one of a name counts.
        self.on_header = self._fields.setdefault
        self._parser = httptools.HttpResponseParser(self)
        self._phase = _Phase.IDLE
        self._pieces: list[bytes] = []
        self._wanted = _READ_AHEAD
        self._head_bytes = 0
        self._is_paused = False
        self._keep_alive = True
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._closed: asyncio.Future[None] = self._loop.create_future()

    @property
    def is_reusable(self) -> bool:
        """Whether another request may be sent: the last response is complete, and the server keeps alive."""
        return self._phase is _Phase.IDLE and self._keep_alive

    @property
    def was_closed_before_response(self) -> bool:
        """Whether the server closed a reused connection before it sent any of the response.

        It may have closed it while it was idle, so an idempotent request may be repeated (RFC 9112 9.3.1).
        """
        return (
            self._closed.done() and self.exchanges > 1 and self._phase is _Phase.HEAD and not self._head_bytes
        )

    @property
    def body_length(self) -> int | None:
        """The declared length of the response's body; None if only its end shows it."""
        if "transfer-encoding" in self.headers:
            return None
        text = self.headers.get("content-length")
        return None if text is None else int(text)  # llhttp accepts only digits

    async def send(self, request: bytes) -> None:
        """Send a request and wait for the head of its response.

        Raises:
            ConnectionFailedError: The connection broke, or the response is not HTTP.
            TimedOutError: It took too long.
        """
        self._phase = _Phase.HEAD
        self._pieces = []
        self._wanted = _READ_AHEAD
        self._head_bytes = self.received = 0
        self.exchanges += 1
        self.last_received = self._loop.time()
        self._transport.write(request)
        while self._phase is _Phase.HEAD and self._error is None:
            self._waiter = self._loop.create_future()
            await self._waiter
        if self._error is not None:
            raise self._error

    async def read(self, least: int) -> tuple[bytes, bool]:
        """Wait for `least` bytes of the body, or for its end.

        Returns:
            What has come, which may be more; and whether it is the whole body.

        Raises:
            ConnectionFailedError: The connection broke.
            TimedOutError: It took too long.
        """
        self._wanted = least
        while self._phase is _Phase.BODY and self.received < least:
            if self._is_paused:
                self._is_paused = False
                self._transport.resume_reading()
            if self._error is None:
                self._waiter = self._loop.create_future()
                await self._waiter
            if self._error is not None:
                raise self._error
        return b"".join(self._pieces), self._phase is _Phase.IDLE

    def fail(self, error: Exception) -> None:
        """End the exchange with an error, and close the connection."""
        if self._error is None:
            self._error = error
        self._wake()
        self.abort()

    def abort(self) -> None:
        """Close the connection at once."""
        self._keep_alive = False
        self._transport.abort()

    async def wait_closed(self) -> None:
        """Wait until the connection is closed."""
        await self._closed

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # Called by the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # Other event loops have transports of their own classes.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Parse a piece of a response; data without a request ends the connection."""
        if self._phase is _Phase.IDLE:
            self.abort()
            return
        self.last_received = self._loop.time()
        if self._phase is _Phase.HEAD:
            left = _LONGEST_HEAD - self._head_bytes
            self._parse(data[:left])
            data = data[left:]
        if data and self._error is None:
            self._parse(data)

    def _parse(self, data: bytes) -> None:
        before, received = self._phase, self.received
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.fail(ConnectionFailedError("the server wants to speak another protocol"))
        except httptools.HttpParserError as error:
            self._end_at_nonsense(error)
        if self._phase is before and self.received == received:
            # Before or after the body: the parser keeps a head and a trailer until they end.
            self._head_bytes += len(data)
            if self._head_bytes >= _LONGEST_HEAD:
                message = f"the head or the trailer is longer than {_LONGEST_HEAD} bytes"
                self.fail(ConnectionFailedError(message))

    def connection_lost(self, exc: Exception | None) -> None:
        """End the exchange; the close of the connection may be the body's end (RFC 9112 6.3)."""
        self._keep_alive = False
        if not self._closed.done():
            self._closed.set_result(None)
        if self._phase is _Phase.BODY and exc is None and self._body_ends_with_connection():
            self._phase = _Phase.IDLE
        elif self._phase is not _Phase.IDLE and self._error is None:
            cause = "the server closed it" if exc is None else f"{type(exc).__name__}: {exc}"
            self._error = ConnectionFailedError(f"the connection failed: {one_line(cause)[:300]}")
        self._wake()

    def _end_at_nonsense(self, error: httptools.HttpParserError) -> None:
        self._keep_alive = False
        if self._phase is not _Phase.IDLE:  # a complete response counts, whatever follows it
            self.fail(ConnectionFailedError(f"this is not HTTP: {one_line(str(error))[:200]}"))

    def _body_ends_with_connection(self) -> bool:
        return "transfer-encoding" not in self.headers and "content-length" not in self.headers

    # Called by the parser.

    def on_message_begin(self) -> None:
        """A response begins; a second one to the same request ends the connection."""
        self._fields.clear()
        if self._phase is not _Phase.HEAD:
            self._keep_alive = False

    def on_headers_complete(self) -> None:
        """Begin the body, unless this is an interim response (RFC 9110 15.2)."""
        status = self._parser.get_status_code()
        if status < 100:
            self.fail(ConnectionFailedError(f"this is not HTTP: the status is {status:03}"))
        elif self._phase is _Phase.HEAD and status >= 200:
            self.status = status
            self.headers = {
                _FIELDS[field]: value.decode("utf-8", "surrogateescape").strip()
                for name, value in self._fields.items()
                if (field := name.lower()) in _FIELDS
            }
            self._phase = _Phase.BODY
            self._wake()

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body, and stop reading when there is enough."""
        if self._phase is not _Phase.BODY:
            return
        self._pieces.append(body)
        self.received += len(body)
        if self.received >= self._wanted:
            if not self._is_paused:
                self._is_paused = True
                self._transport.pause_reading()
            self._wake()

    def on_message_complete(self) -> None:
        """End the exchange."""
        if self._phase is not _Phase.BODY:
            return
        self._phase = _Phase.IDLE
        self._keep_alive = self._keep_alive and self._parser.should_keep_alive()
        if self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()
        self._wake()
