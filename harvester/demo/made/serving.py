"""Serves a made-up bucket as S3 does, by hand: a server that costs less than its client."""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from typing import Final
from urllib.parse import parse_qs, unquote

import anyio
from anyio.to_thread import run_sync

from harvester.demo.layout import BUCKET
from harvester.demo.made.bucket import INSTANCES_PER_SERIES, MadeBucket
from harvester.demo.made.header import OBJECT_BYTES, made_header
from harvester.errors import ConfigError

_LONGEST_REQUEST: Final = 64 * 1024
_RANGE: Final = re.compile(rb"\r\nrange: *bytes=(\d{1,15})-(\d{1,15}) *\r\n", re.IGNORECASE)
_PAGE_KEYS: Final = 1000


@dataclass(frozen=True, slots=True)
class MadeAddress:
    """Where a made-up bucket answers: `endpoint` is `http://HOST:PORT`, for path-style requests."""

    endpoint: str
    bucket: str
    series: int
    instances: int


@asynccontextmanager
async def made_bucket(
    instances: int, port: int = 0, *, on_request: Callable[[], None] | None = None
) -> AsyncIterator[MadeAddress]:
    """Serve so many made-up instances on 127.0.0.1, in this event loop, while the block runs.

    Args:
        instances: How many.
        port: 0: any that is free.
        on_request: Is called for each request of an object.

    Raises:
        ConfigError: The port is taken.
    """
    bucket = MadeBucket(instances)
    loop = asyncio.get_running_loop()
    connections: set[asyncio.BaseTransport] = set()
    try:
        server = await loop.create_server(
            lambda: _Connection(bucket, connections, on_request), "127.0.0.1", port
        )
    except OSError as error:
        raise ConfigError(f"port {port}: {error.strerror or error}; choose another one") from error
    try:
        host, found = server.sockets[0].getsockname()[:2]
        yield MadeAddress(f"http://{host}:{found}", BUCKET, bucket.series, bucket.instances)
    finally:
        server.close()
        for transport in list(connections):
            transport.close()


async def serve_made(instances: int, port: int, on_ready: Callable[[MadeAddress], None]) -> None:
    """Serve until cancelled."""
    async with made_bucket(instances, port) as address:
        on_ready(address)
        await anyio.sleep_forever()


@contextmanager
def made_server(instances: int) -> Iterator[MadeAddress]:
    """Serve so many made-up instances from a process of their own while the block runs."""
    entry = "from harvester.demo.made.serving import main; main()"
    child = subprocess.Popen(  # noqa: S603  this very program
        [sys.executable, "-c", entry, str(instances)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        if child.stdout is None or child.stdin is None:
            raise RuntimeError("no pipes")
        yield MadeAddress(**json.loads(child.stdout.readline()))
    finally:
        child.kill()
        child.communicate()


def main() -> None:
    """Serve as many as the argument says, until stdin ends; say on stdout where."""

    async def serve() -> None:
        async with made_bucket(int(sys.argv[1])) as address:
            sys.stdout.write(json.dumps(asdict(address)) + "\n")
            sys.stdout.flush()
            await run_sync(sys.stdin.buffer.read, abandon_on_cancel=True)

    anyio.run(serve)


class _Connection(asyncio.Protocol):
    """One client: requests in, answers out, in order."""

    def __init__(
        self,
        bucket: MadeBucket,
        connections: set[asyncio.BaseTransport],
        on_request: Callable[[], None] | None,
    ) -> None:
        self._bucket = bucket
        self._connections = connections
        self._on_request = on_request
        self._waiting = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._connections.add(transport)
        if isinstance(transport, asyncio.Transport):
            self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._connections.discard(self._transport or asyncio.BaseTransport())

    def data_received(self, data: bytes) -> None:
        if self._transport is None:
            return
        self._waiting += data
        while (end := self._waiting.find(b"\r\n\r\n")) >= 0:
            request, self._waiting = self._waiting[: end + 2], self._waiting[end + 4 :]
            self._transport.write(self._answer(request))
        if len(self._waiting) > _LONGEST_REQUEST:
            self._transport.abort()

    def _answer(self, request: bytes) -> bytes:
        line, _, _ = request.partition(b"\r\n")
        words = line.split(b" ")
        if len(words) != 3 or words[0] != b"GET":
            return _refused(405, "MethodNotAllowed")
        path, _, query = words[1].decode("latin-1").partition("?")
        bucket, _, key = unquote(path.removeprefix("/")).partition("/")
        if bucket != BUCKET:
            return _refused(404, "NoSuchBucket")
        if not key:
            return self._listing(query)
        instance = self._bucket.find(key)
        if instance is None:
            return _refused(404, "NoSuchKey")
        if self._on_request is not None:
            self._on_request()
        return self._object(instance, _RANGE.search(request))

    def _object(self, instance: int, asked: re.Match[bytes] | None) -> bytes:
        series = instance // INSTANCES_PER_SERIES
        header = made_header(instance, series, instance - self._bucket.instances_of(series).start)
        start, stop = (0, OBJECT_BYTES) if asked is None else (int(asked[1]), int(asked[2]) + 1)
        stop = min(stop, OBJECT_BYTES)
        if start >= stop:
            return _refused(416, "InvalidRange")
        body = header[start:stop]
        body += bytes(stop - start - len(body))
        said = (
            b"" if asked is None else b"Content-Range: bytes %d-%d/%d\r\n" % (start, stop - 1, OBJECT_BYTES)
        )
        status = b"200 OK" if asked is None else b"206 Partial Content"
        return b'HTTP/1.1 %b\r\nETag: "%032x"\r\n%bContent-Length: %d\r\n\r\n%b' % (
            status,
            instance,
            said,
            len(body),
            body,
        )

    def _listing(self, query: str) -> bytes:
        asked = {name: values[0] for name, values in parse_qs(query).items()}
        if asked.get("list-type") != "2":
            return _refused(501, "NotImplemented")
        after = asked.get("continuation-token", asked.get("start-after", ""))
        keys = self._bucket.keys(asked.get("prefix", ""), after, _PAGE_KEYS + 1)
        more, keys = len(keys) > _PAGE_KEYS, keys[:_PAGE_KEYS]
        entries = "".join(
            f"<Contents><Key>{key}</Key><ETag>&quot;{int(key[-16:-4], 16):032x}&quot;</ETag>"
            f"<Size>{OBJECT_BYTES}</Size></Contents>"
            for key in keys
        )
        token = f"<NextContinuationToken>{keys[-1]}</NextContinuationToken>" if more else ""
        document = (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>{BUCKET}</Name><EncodingType>url</EncodingType><KeyCount>{len(keys)}</KeyCount>"
            f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>{token}{entries}</ListBucketResult>"
        )
        return _answered(b"200 OK", document.encode())


def _refused(status: int, code: str) -> bytes:
    document = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code></Error>'
    return _answered(f"{status} {code}".encode(), document.encode())


def _answered(status: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n%b" % (
        status,
        len(body),
        body,
    )
