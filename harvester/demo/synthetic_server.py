"""Serves a synthetic bucket as S3 does, with a minimal protocol that costs less CPU than its client."""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict
from typing import Final
from urllib.parse import parse_qs, unquote

import anyio
from anyio.to_thread import run_sync

from harvester.demo.layout import BUCKET
from harvester.demo.server import DemoAddress
from harvester.demo.synthetic_bucket import SyntheticBucket
from harvester.demo.synthetic_header import OBJECT_BYTES, synthetic_header
from harvester.errors import ConfigError

_LONGEST_REQUEST: Final = 64 * 1024
_RANGE: Final = re.compile(rb"\r\nrange: *bytes=(\d{1,15})-(\d{1,15}) *\r\n", re.IGNORECASE)
_PAGE_KEYS: Final = 1000


@asynccontextmanager
async def synthetic_server(
    instances: int, *, on_request: Callable[[], None] | None = None
) -> AsyncIterator[DemoAddress]:
    """Serve synthetic CT slices on 127.0.0.1, in this event loop, while the block runs.

    Args:
        instances: How many.
        on_request: Called for each request of an object.

    Raises:
        ConfigError: No port is free.
    """
    bucket = SyntheticBucket(instances)
    loop = asyncio.get_running_loop()
    connections: set[asyncio.Transport] = set()
    try:
        server = await loop.create_server(
            lambda: _Connection(bucket, connections, on_request), "127.0.0.1", 0
        )
    except OSError as error:
        raise ConfigError(f"127.0.0.1: can't listen here ({error.strerror or error})") from error
    try:
        host, port = server.sockets[0].getsockname()[:2]
        yield DemoAddress(f"http://{host}:{port}", BUCKET, bucket.series, bucket.instances)
    finally:
        server.close()
        for transport in list(connections):
            transport.close()


@contextmanager
def synthetic_server_process(instances: int) -> Iterator[DemoAddress]:
    """Serve synthetic CT slices from another process while the block runs."""
    entry = "from harvester.demo.synthetic_server import main; main()"
    child = subprocess.Popen(  # noqa: S603  this very program
        [sys.executable, "-c", entry, str(instances)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        if child.stdout is None:
            raise RuntimeError("the server process has no stdout")
        yield DemoAddress(**json.loads(child.stdout.readline()))
    finally:
        child.kill()
        child.communicate()


def main() -> None:
    """Serve as many instances as the argument gives until stdin ends; print the address as JSON."""

    async def serve() -> None:
        async with synthetic_server(int(sys.argv[1])) as address:
            sys.stdout.write(json.dumps(asdict(address)) + "\n")
            sys.stdout.flush()
            await run_sync(sys.stdin.buffer.read, abandon_on_cancel=True)

    anyio.run(serve)


class _Connection(asyncio.Protocol):
    """One client's requests, responded to in order."""

    _transport: asyncio.Transport

    def __init__(
        self,
        bucket: SyntheticBucket,
        connections: set[asyncio.Transport],
        on_request: Callable[[], None] | None,
    ) -> None:
        self._bucket = bucket
        self._connections = connections
        self._on_request = on_request
        self._unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self._transport = transport
            self._connections.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._connections.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._unread += data
        while (end := self._unread.find(b"\r\n\r\n")) >= 0:
            request, self._unread = self._unread[: end + 2], self._unread[end + 4 :]
            self._transport.write(self._response(request))
        if len(self._unread) > _LONGEST_REQUEST:
            self._transport.abort()

    def _response(self, request: bytes) -> bytes:
        words = request.partition(b"\r\n")[0].split(b" ")
        if len(words) != 3 or words[0] != b"GET":
            return _error(405, "MethodNotAllowed")
        path, _, query = words[1].decode("latin-1").partition("?")
        bucket, _, key = unquote(path.removeprefix("/")).partition("/")
        if bucket != BUCKET:
            return _error(404, "NoSuchBucket")
        if not key:
            return self._listing(query)
        instance = self._bucket.find(key)
        if instance is None:
            return _error(404, "NoSuchKey")
        if self._on_request is not None:
            self._on_request()
        return self._object(instance, _RANGE.search(request))

    def _object(self, instance: int, window: re.Match[bytes] | None) -> bytes:
        header = synthetic_header(*self._bucket.numbers_of(instance))
        start, stop = (0, OBJECT_BYTES) if window is None else (int(window[1]), int(window[2]) + 1)
        stop = min(stop, OBJECT_BYTES)
        if start >= stop:
            return _error(416, "InvalidRange")
        body = header[start:stop].ljust(stop - start, b"\0")
        etag = b'ETag: "%032x"\r\n' % instance
        if window is None:
            return _http(b"200 OK", etag, body)
        content_range = b"Content-Range: bytes %d-%d/%d\r\n" % (start, stop - 1, OBJECT_BYTES)
        return _http(b"206 Partial Content", etag + content_range, body)

    def _listing(self, query: str) -> bytes:
        fields = {name: values[0] for name, values in parse_qs(query).items()}
        if fields.get("list-type") != "2":
            return _error(501, "NotImplemented")
        after = fields.get("continuation-token", fields.get("start-after", ""))
        keys = self._bucket.keys(fields.get("prefix", ""), after, _PAGE_KEYS + 1)
        more, keys = len(keys) > _PAGE_KEYS, keys[:_PAGE_KEYS]
        entries = "".join(
            f"<Contents><Key>{key}</Key><ETag>&quot;{int(key[-16:-4], 16):032x}&quot;</ETag>"
            f"<Size>{OBJECT_BYTES}</Size></Contents>"
            for key in keys
        )
        token = f"<NextContinuationToken>{keys[-1]}</NextContinuationToken>" if more else ""
        return _xml(
            b"200 OK",
            f"<ListBucketResult><Name>{BUCKET}</Name><KeyCount>{len(keys)}</KeyCount>"
            f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>{token}{entries}</ListBucketResult>",
        )


def _error(status: int, code: str) -> bytes:
    return _xml(f"{status} {code}".encode(), f"<Error><Code>{code}</Code></Error>")


def _xml(status: bytes, document: str) -> bytes:
    body = f'<?xml version="1.0" encoding="UTF-8"?>{document}'.encode()
    return _http(status, b"Content-Type: application/xml\r\n", body)


def _http(status: bytes, fields: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n%b" % (status, fields, len(body), body)
