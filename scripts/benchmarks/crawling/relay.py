"""A TCP relay that delays every byte in both directions: `relay.py PORT SECONDS`; prints its own port."""

import asyncio
import sys
from collections import deque
from contextlib import suppress
from typing import cast

HELD_AT_MOST = 16 << 20  # bytes in one direction: 10 ms of a connection of 1.6 GB/s


class Delayed(asyncio.Protocol):
    """One end of a connection: received bytes leave at the other end later, in order."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.transport: asyncio.Transport | None = None
        self.other: Delayed | None = None
        self.held: deque[tuple[float, bytes]] = deque()
        self.bytes = 0
        self.blocked = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Delay the bytes; stop reading while too many are held."""
        self.hold(data)

    def eof_received(self) -> bool:
        """Pass the end of the stream on, after the bytes before it."""
        self.hold(b"")
        return True

    def connection_lost(self, error: Exception | None) -> None:
        """Close the other end as well."""
        del error
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()

    def pause_writing(self) -> None:
        """Stop writing: this end's buffer is full."""
        if self.other is not None:
            self.other.blocked = True

    def resume_writing(self) -> None:
        """Continue writing."""
        if self.other is not None:
            self.other.blocked = False
            self.other.release()

    def hold(self, data: bytes) -> None:
        """Keep a piece, and schedule when it is sent."""
        loop = asyncio.get_running_loop()
        self.held.append((loop.time() + self.seconds, data))
        self.bytes += len(data)
        if len(self.held) == 1:
            loop.call_later(self.seconds, self.release)
        if self.bytes > HELD_AT_MOST and self.transport is not None:
            self.transport.pause_reading()

    def release(self) -> None:
        """Send the pieces whose delay has passed."""
        loop = asyncio.get_running_loop()
        target = self.other.transport if self.other is not None else None
        while (
            self.held and not self.blocked and target is not None and self.held[0][0] <= loop.time() + 0.0002
        ):
            _, data = self.held.popleft()
            self.bytes -= len(data)
            if data and not target.is_closing():
                target.write(data)
            elif not data and target.can_write_eof():
                with suppress(OSError):
                    target.write_eof()
        if self.held and not self.blocked:
            loop.call_at(self.held[0][0], self.release)
        if self.bytes <= HELD_AT_MOST and self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()


class Accepted(Delayed):
    """The client's end, which connects to the server; bytes received before that wait."""

    def __init__(self, port: int, seconds: float) -> None:
        super().__init__(seconds)
        self.port = port
        self.connecting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connect to the server."""
        super().connection_made(transport)
        self.connecting = asyncio.get_running_loop().create_task(self.connect())

    async def connect(self) -> None:
        """Join both ends."""
        loop = asyncio.get_running_loop()
        there = Delayed(self.seconds)
        there.other = self
        await loop.create_connection(lambda: there, "127.0.0.1", self.port)
        self.other = there
        self.release()


async def main() -> None:
    """Relay until killed."""
    port, seconds = int(sys.argv[1]), float(sys.argv[2])
    server = await asyncio.get_running_loop().create_server(
        lambda: Accepted(port, seconds), "127.0.0.1", 0, backlog=1000
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
