"""A bucket on loopback that serves ranges and pages correctly, except for a share of faulty responses."""

import re
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from urllib.parse import parse_qs, unquote, urlsplit

import anyio
from anyio.abc import ByteStream, Listener, SocketAttribute
from anyio.streams.tls import TLSListener
from unkind_server import http

FAULTS = (
    "slow_down",
    "too_many",
    "internal_error",
    "request_timeout",
    "reset_before",
    "reset_in_body",
    "short_body",
    "drip",
    "hang",
    "whole_object",
    "other_range",
    "gzip",
)


@dataclass
class FaultyBucket:
    """A running server.

    Attributes:
        objects: What it holds, by key, in one bucket of any name.
        faults: What may happen to a request, each as often as the others.
        share: How many of the requests are spoilt, from 0 to 1.
        down: While it is, every connection is cut before the answer.
        requests: How many it got; `spoilt`: how many of them it spoilt, by what happened.
        at_once: The most that it had at once.
    """

    objects: Mapping[str, bytes]
    faults: Sequence[str] = ()
    share: float = 0.0
    seed: int = 1
    down: bool = False
    port: int = 0
    requests: int = 0
    refused: int = 0
    here: int = 0
    at_once: int = 0
    spoilt: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._random = Random(self.seed)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, stream: ByteStream) -> None:
        buffered = b""
        async with stream:
            while True:
                while b"\r\n\r\n" not in buffered:
                    try:
                        buffered += await stream.receive()
                    except (anyio.EndOfStream, anyio.BrokenResourceError):
                        return
                head, _, buffered = buffered.partition(b"\r\n\r\n")
                self.requests += 1
                self.here += 1
                self.at_once = max(self.at_once, self.here)
                try:
                    if not await self.answer(stream, head.decode("latin-1")):
                        return
                except anyio.BrokenResourceError:
                    return
                finally:
                    self.here -= 1

    async def answer(self, stream: ByteStream, head: str) -> bool:
        """Respond to one request; False closes the connection."""
        if self.down:
            self.refused += 1
            return False
        target = urlsplit(head.split(" ")[1])
        key = unquote(target.path).split("/", 2)[2]
        true = self.range_of(key, head) if key else self.page(parse_qs(target.query))
        if self._random.random() >= self.share:
            await stream.send(true)
            return True
        fault = self._random.choice(self.faults)
        self.spoilt[fault] = self.spoilt.get(fault, 0) + 1
        return await self.spoil(fault, stream, true, self.objects.get(key, b""))

    def range_of(self, key: str, head: str) -> bytes:
        data = self.objects.get(key)
        if data is None:
            return http(404, b"<Error><Code>NoSuchKey</Code></Error>")
        found = re.search(r"[Rr]ange: bytes=(\d+)-(\d+)", head)
        start, stop = int(found[1]), min(int(found[2]) + 1, len(data))
        where = f"bytes {start}-{stop - 1}/{len(data)}"
        return http(206, data[start:stop], Content_Range=where, ETag='"one"')

    def page(self, query: dict[str, list[str]]) -> bytes:
        prefix = query.get("prefix", [""])[0]
        keys = sorted(key for key in self.objects if key.startswith(prefix))
        start = int(query.get("continuation-token", ["0"])[0])
        stop = start + 10
        contents = "".join(f"<Contents><Key>{key}</Key><Size>1</Size></Contents>" for key in keys[start:stop])
        more = str(stop < len(keys)).lower()
        token = f"<NextContinuationToken>{stop}</NextContinuationToken>" if stop < len(keys) else ""
        document = f"<ListBucketResult>{contents}<IsTruncated>{more}</IsTruncated>{token}</ListBucketResult>"
        return http(200, document.encode())

    async def spoil(self, fault: str, stream: ByteStream, true: bytes, whole: bytes) -> bool:
        """Apply a fault to a request; False closes the connection."""
        head, _, body = true.partition(b"\r\n\r\n")
        told = {
            "slow_down": http(503, b"<Error><Code>SlowDown</Code></Error>"),
            "too_many": http(429, Retry_After="1"),
            "internal_error": http(500, b"<Error><Code>InternalError</Code></Error>"),
            "request_timeout": http(400, b"<Error><Code>RequestTimeout</Code></Error>"),
            "reset_in_body": true[: -len(body) // 2],
            "short_body": re.sub(rb"Content-Length: \d+", b"Content-Length: 1", head)
            + b"\r\n\r\n"
            + body[:1],
            "whole_object": http(200, whole + b"x" * 100),
            "other_range": true.replace(b"Content-Range: bytes ", b"Content-Range: bytes 1"),
            "gzip": true.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n", 1),
        }
        if fault in told:
            await stream.send(told[fault])
            return fault != "reset_in_body"
        if fault == "drip":
            await stream.send(head + b"\r\n\r\n")
            for number in range(len(body) - 1):
                await anyio.sleep(0.02)
                await stream.send(body[number : number + 1])
            await anyio.sleep_forever()
        if fault == "hang":
            await anyio.sleep_forever()
        return False  # reset_before


@asynccontextmanager
async def serving(bucket: FaultyBucket, tls: ssl.SSLContext | None = None) -> AsyncIterator[FaultyBucket]:
    """Run the server, over TLS if a context is given."""
    listener: Listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    bucket.port = listener.extra(SocketAttribute.local_port)
    if tls is not None:
        listener = TLSListener(listener, tls, standard_compatible=False)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, bucket.serve)
        yield bucket
        tasks.cancel_scope.cancel()
