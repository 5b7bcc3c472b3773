"""A TCP link to a server far away: `link.py PORT ONE_WAY_SECONDS BYTES_PER_SECOND`; prints its own port.

Every byte comes later by the link's length, a new connection costs a round trip before its first byte leaves,
and all connections together carry no more than the link's width; 0 is no bound. Of each line that it reads it
prints how many bytes it has brought to clients so far.
"""

import asyncio
import contextlib
import socket
import sys
from collections import deque
from dataclasses import dataclass

_READ = 64 << 10  # bytes at once
_BUFFER = (
    512 << 10
)  # bytes that the kernel buffers for a client: few, so that only bytes that it reads are counted


@dataclass
class Link:
    """One direction of the link, which all connections share.

    Attributes:
        seconds: Its length.
        bytes_per_second: Its width.
        brought: How many bytes came out at its end.
        free: When what was sent last has left.
    """

    seconds: float
    bytes_per_second: float
    brought: int = 0
    free: float = 0.0

    @property
    def holds(self) -> int:
        """The maximum bytes of one connection under way."""
        return (
            max(_BUFFER, int(2 * self.seconds * self.bytes_per_second)) if self.bytes_per_second else 8 << 20
        )

    def arrival(self, now: float, length: int) -> float:
        """The arrival time of bytes that are sent now."""
        self.free = max(self.free, now)
        if self.bytes_per_second:
            self.free += length / self.bytes_per_second
        return self.free + self.seconds


class Direction:
    """One direction of one connection."""

    def __init__(self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.link = link
        self.reader = reader
        self.writer = writer
        self.under_way: deque[tuple[float, bytes]] = deque()
        self.held = 0
        self.moved = asyncio.Event()

    async def carry(self, handshake: float) -> None:
        """Carry all bytes; the first ones leave after the seconds that a connection takes."""
        loop = asyncio.get_running_loop()
        begun = loop.time() + handshake
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(self.send())
            data = b"some"
            while data:
                data = await self.reader.read(_READ)
                at = self.link.arrival(max(loop.time(), begun), len(data))
                self.under_way.append((at, data))
                self.held += len(data)
                self.moved.set()
                while self.held > self.link.holds and not sending.done():
                    self.moved.clear()
                    await self.moved.wait()

    async def send(self) -> None:
        """Pass bytes on at their arrival time; no bytes mean the end."""
        loop = asyncio.get_running_loop()
        while True:
            while not self.under_way:
                self.moved.clear()
                await self.moved.wait()
            at, data = self.under_way.popleft()
            if at > loop.time() + 0.0002:
                await asyncio.sleep(at - loop.time())
            if not data:
                break
            self.writer.write(data)
            await self.writer.drain()
            self.link.brought += len(data)
            self.held -= len(data)
            self.moved.set()
        with contextlib.suppress(OSError):
            self.writer.write_eof()


async def main() -> None:
    """Carry until killed."""
    port, seconds, bytes_per_second = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
    there, back = Link(seconds, bytes_per_second), Link(seconds, bytes_per_second)
    loop = asyncio.get_running_loop()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(Direction(there, reader, server_writer).carry(2 * seconds))
                tasks.create_task(Direction(back, server_reader, writer).carry(0.0))
        except* OSError:
            pass  # one end closed the connection
        finally:
            for end in (writer, server_writer):
                end.transport.abort()

    def tell() -> None:
        if sys.stdin.readline():
            print(back.brought, flush=True)
        else:
            loop.remove_reader(sys.stdin)

    listening = socket.create_server(("127.0.0.1", 0), backlog=1000)
    # The connections that are accepted inherit it.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    server = await asyncio.start_server(accept, sock=listening)
    loop.add_reader(sys.stdin, tell)
    print(listening.getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
