"""One connection to a server, over which one question after another is asked (HTTP/1.1, RFC 9112).

Ranges are asked for over connections of our own, not by aiohttp's client: of a small range, that takes
three quarters of all the CPU that the answer costs. What a stranger sends is read by llhttp, through
httptools; here are only the order of things and the bounds.
"""

import asyncio
import enum
from typing import Final, cast

import httptools
from multidict import CIMultiDict

from harvester.errors import ConnectionFailedError

# What servers and other clients agree on, within a factor of two.
_LONGEST_HEAD: Final = 64 << 10
# Of a body that nobody has said yet how much is wanted of.
_MOST_UNASKED: Final = 256 << 10
_HEADER_ENCODING: Final = ("utf-8", "surrogateescape")


class _Phase(enum.Enum):
    """Where an exchange is."""

    IDLE = enum.auto()
    HEAD = enum.auto()
    BODY = enum.auto()


class Connection(asyncio.Protocol):
    """A connection's one exchange at a time: `ask`, then `read`; then it may be asked again, if `is_free`.

    Attributes:
        status: The answer's HTTP status.
        headers: The answer's headers.
        received: How many bytes of the answer's body have come.
        deadline: When the exchange has to be over, by the event loop's clock.
        heard: When something came last.
    """

    def __init__(self) -> None:
        self.status = 0
        self.headers: CIMultiDict[str] = CIMultiDict()
        self.received = 0
        self.deadline = self.heard = 0.0
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._phase = _Phase.IDLE
        self._pieces: list[bytes] = []
        self._wanted = _MOST_UNASKED
        self._head_bytes = 0
        self._is_paused = False
        self._may_stay = True
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._lost: asyncio.Future[None] = self._loop.create_future()

    @property
    def is_free(self) -> bool:
        """Whether it may be asked: the last answer was read to its end, and the server keeps listening."""
        return self._phase is _Phase.IDLE and self._may_stay

    @property
    def body_length(self) -> int | None:
        """How long the answer says that its body is; None where only its end will tell."""
        if "Transfer-Encoding" in self.headers:
            return None
        text = self.headers.get("Content-Length")
        return None if text is None else int(text)  # llhttp let only digits pass

    async def ask(self, request: bytes) -> None:
        """Send a request and wait for the head of its answer.

        Raises:
            ConnectionFailedError: The connection broke, or this is no HTTP.
            TimedOutError: It took too long.
        """
        self._phase = _Phase.HEAD
        self._pieces = []
        self._wanted = _MOST_UNASKED
        self._head_bytes = self.received = 0
        self.heard = self._loop.time()
        self._transport.write(request)
        while self._phase is _Phase.HEAD:
            await self._news()
        if self._error is not None:
            raise self._error

    async def read(self, least: int) -> tuple[bytes, bool]:
        """Wait for so many bytes of the body, or for its end.

        Returns:
            What has come, which can be more; and whether it is all.

        Raises:
            ConnectionFailedError: The connection broke.
            TimedOutError: It took too long.
        """
        self._wanted = least
        while self._phase is _Phase.BODY and self.received < least:
            if self._is_paused:
                self._is_paused = False
                self._transport.resume_reading()
            await self._news()
        return b"".join(self._pieces), self._phase is _Phase.IDLE

    def fail(self, error: Exception) -> None:
        """End the exchange with an error, and the connection too."""
        if self._error is None:
            self._error = error
        self._wake()
        self.abort()

    def abort(self) -> None:
        """Close the connection at once."""
        self._may_stay = False
        self._transport.abort()

    async def lost(self) -> None:
        """Wait until the connection is closed."""
        await self._lost

    async def _news(self) -> None:
        if self._error is None:
            self._waiter = self._loop.create_future()
            await self._waiter
        if self._error is not None:
            raise self._error

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # What other event loops make is one by its behaviour only.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Read a piece of an answer; bytes that nobody asked for end the connection."""
        if self._phase is _Phase.IDLE:
            self.abort()
            return
        self.heard = self._loop.time()
        before, received = self._phase, self.received
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.fail(ConnectionFailedError("the server wants to speak another protocol"))
        except httptools.HttpParserError as error:
            self._end_nonsense(error)
        if self._phase is before and self.received == received:
            # No body yet, or none any more: the parser keeps a head and a trailer until they end.
            self._head_bytes += len(data)
        if self._head_bytes > _LONGEST_HEAD:
            self.fail(ConnectionFailedError(f"the head or the trailer is longer than {_LONGEST_HEAD} bytes"))

    def connection_lost(self, exc: Exception | None) -> None:
        """End the exchange: well, where the end of the connection is that of the body (RFC 9112 6.3)."""
        self._may_stay = False
        if not self._lost.done():
            self._lost.set_result(None)
        if self._phase is _Phase.BODY and exc is None and self._ends_with_connection():
            self._phase = _Phase.IDLE
        elif self._phase is not _Phase.IDLE and self._error is None:
            how = "the server closed it" if exc is None else f"{type(exc).__name__}: {exc}"
            self._error = ConnectionFailedError(f"the connection failed: {' '.join(how.split())[:300]}")
        self._wake()

    def _end_nonsense(self, error: httptools.HttpParserError) -> None:
        self._may_stay = False
        if self._phase is not _Phase.IDLE:  # a whole answer is one, whatever comes behind it
            self.fail(ConnectionFailedError(f"this is no HTTP: {' '.join(str(error).split())[:200]}"))

    def _ends_with_connection(self) -> bool:
        return "Transfer-Encoding" not in self.headers and "Content-Length" not in self.headers

    # What the parser calls.

    def on_message_begin(self) -> None:
        """An answer begins; one behind the answer that was asked for ends the connection."""
        if self._phase is _Phase.HEAD:
            self.headers = CIMultiDict()
        else:
            self._may_stay = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; what stands behind a chunked body is dropped."""
        if self._phase is _Phase.HEAD:
            self._head_bytes += len(name) + len(value) + 4
            self.headers.add(name.decode(*_HEADER_ENCODING), value.decode(*_HEADER_ENCODING).strip())

    def on_headers_complete(self) -> None:
        """Go on with the body, but for an answer before the answer (RFC 9110 15.2)."""
        status = self._parser.get_status_code()
        if status < 100:
            self.fail(ConnectionFailedError(f"this is no HTTP: its status is {status:03}"))
        elif self._phase is _Phase.HEAD and status >= 200:
            self.status = status
            self._phase = _Phase.BODY
            self._wake()

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body, and read no further than somebody wants."""
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
        self._may_stay = self._may_stay and self._parser.should_keep_alive()
        if self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()
        self._wake()
