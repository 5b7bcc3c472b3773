"""Messages between two processes of one crawl: pickled Python objects over a socket pair."""

import pickle
import socket
import struct
from dataclasses import dataclass, field
from typing import Any, Final, Self

import anyio
from anyio.abc import UNIXSocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

_LENGTH: Final = struct.Struct("<Q")


@dataclass(slots=True)
class Channel:
    """One end of a socket pair; made by `over`.

    Messages are pickles: both ends are processes of this crawl, and no other process has the socket.
    """

    _stream: UNIXSocketStream
    _buffer: BufferedByteReceiveStream
    _sending: anyio.Lock = field(default_factory=anyio.Lock)

    @classmethod
    async def over(cls, end: socket.socket) -> Self:
        """A channel over one end of a socket pair."""
        stream = await UNIXSocketStream.from_socket(end)
        return cls(stream, BufferedByteReceiveStream(stream))

    async def send(self, message: object) -> None:
        """Send a message; it is lost if the other process has ended."""
        data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        try:
            async with self._sending:
                await self._stream.send(_LENGTH.pack(len(data)) + data)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return  # `receive` raises EndOfStream

    async def receive(self) -> Any:
        """Receive the next message.

        Raises:
            anyio.EndOfStream: The other end is closed, or its process has ended.
        """
        try:
            (length,) = _LENGTH.unpack(await self._buffer.receive_exactly(_LENGTH.size))
            data = await self._buffer.receive_exactly(length)
        except (anyio.IncompleteRead, anyio.BrokenResourceError, anyio.ClosedResourceError):
            raise anyio.EndOfStream from None
        return pickle.loads(data)  # noqa: S301 - our own process wrote it

    async def send_descriptor(self, descriptor: int) -> None:
        """Send an open file to the other process; allowed before the first message only."""
        try:
            await self._stream.send_fds(b"\0", [descriptor])
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return

    async def receive_descriptor(self) -> int:
        """Receive the open file that `send_descriptor` sent.

        Raises:
            anyio.EndOfStream: The other end is closed, or its process has ended.
        """
        try:
            _, (descriptor,) = await self._stream.receive_fds(1, 1)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, ValueError):
            raise anyio.EndOfStream from None
        return descriptor

    async def aclose(self) -> None:
        """Close this end."""
        await self._stream.aclose()
