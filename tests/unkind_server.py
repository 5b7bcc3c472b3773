"""An HTTP server on loopback that sends exactly the bytes of a test, valid or not."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSListener


@dataclass(frozen=True)
class Reply:
    """The response to one request, and the action after it: `keep`, `close`, `hang` or `drip`."""

    data: bytes
    then: str = "keep"


@dataclass
class UnkindServer:
    """A running server; `heads` are the raw requests, `connections` the number of connections."""

    replies: list[Reply]
    port: int = 0
    heads: list[str] = field(default_factory=list)
    connections: int = 0

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def sent(self, name: str) -> list[str]:
        """The values of one header, over all requests."""
        lines = [line.partition(": ") for head in self.heads for line in head.split("\r\n")]
        return [value for found, _, value in lines if found.lower() == name.lower()]

    def targets(self) -> list[str]:
        """The targets of the request lines."""
        return [head.split(" ")[1] for head in self.heads]

    async def serve(self, stream: ByteStream) -> None:
        self.connections += 1
        async with stream:
            buffered = b""
            while True:
                while b"\r\n\r\n" not in buffered:
                    try:
                        buffered += await stream.receive()
                    except (anyio.EndOfStream, anyio.BrokenResourceError):
                        return
                head, _, buffered = buffered.partition(b"\r\n\r\n")
                reply = self.replies[min(len(self.heads), len(self.replies) - 1)]
                self.heads.append(head.decode("latin-1"))
                try:
                    await stream.send(reply.data)
                    while reply.then == "drip":
                        await anyio.sleep(0.02)
                        await stream.send(b"x")
                except anyio.BrokenResourceError:
                    return
                if reply.then == "hang":
                    await anyio.sleep_forever()
                if reply.then == "close":
                    return


@asynccontextmanager
async def answering(
    *replies: Reply | bytes, tls: ssl.SSLContext | None = None
) -> AsyncIterator[UnkindServer]:
    """Serve the replies in their order, one a request, the last one for all that follow."""
    server = UnkindServer([reply if isinstance(reply, Reply) else Reply(reply) for reply in replies])
    multi = await anyio.create_tcp_listener(local_host="127.0.0.1")
    server.port = multi.extra(SocketAttribute.local_port)
    listener = multi if tls is None else TLSListener(multi, tls, standard_compatible=False)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, server.serve)
        yield server
        tasks.cancel_scope.cancel()


def http(status: int, body: bytes = b"", **headers: str) -> bytes:
    """A response with the right Content-Length, unless the headers say another (`_` stands for `-`)."""
    lines = {"Content-Length": str(len(body))}
    lines.update({name.replace("_", "-"): value for name, value in headers.items()})
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value)
    return f"HTTP/1.1 {status} Word\r\n{head}\r\n".encode("latin-1") + body


def partial(start: int, body: bytes, size: int | str, **headers: str) -> bytes:
    """A valid 206."""
    headers.setdefault("Content_Range", f"bytes {start}-{start + len(body) - 1}/{size}")
    return http(206, body, **headers)
