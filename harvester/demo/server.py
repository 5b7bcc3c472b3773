"""An anonymous, read-only HTTP server that presents a folder of DICOM files as a public bucket."""

import os
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from anyio import CancelScope, lowlevel, sleep_forever, to_thread

from harvester.demo.catalog import write_catalog
from harvester.demo.layout import BUCKET, DemoInstance, DemoLayout, entity_tag, lay_out
from harvester.demo.listings import Bucket, list_as_json, list_as_xml
from harvester.errors import ConfigError

CATALOG_BUCKET: Final = "idc-index-data"  # a bucket of its own, so that BUCKET lists DICOM objects only
CATALOG_KEY: Final = "idc_index.parquet"
_GCS_LISTING: Final = re.compile(r"/storage/v1/b/([^/]+)/o/?")


@dataclass(frozen=True, slots=True)
class DemoAddress:
    """The address and the size of a demo bucket.

    `endpoint` is `http://HOST:PORT`, for path-style requests; `catalog_url` the `http://` URL of the catalog
    Parquet, empty for a synthetic bucket; `series` and `instances` are counts.
    """

    endpoint: str
    bucket: str
    series: int
    instances: int
    catalog_url: str = ""


@dataclass(frozen=True, slots=True)
class DemoServer:
    """Responds from a fixed map of buckets and keys: no part of a URL becomes a file's path."""

    buckets: Mapping[str, Bucket]

    async def respond(self, request: web.BaseRequest) -> web.StreamResponse:
        """Respond to a GET or HEAD of an object, or to a listing of S3 or GCS."""
        path, query = request.rel_url.path, request.rel_url.query
        if request.method not in ("GET", "HEAD"):
            response = _error(405, "MethodNotAllowed")
            response.headers["Allow"] = "GET, HEAD"
            response.force_close()  # the body, which may have no end, is not read
            return response
        gcs_listing = _GCS_LISTING.fullmatch(path)
        name, _, key = (gcs_listing[1], "", "") if gcs_listing else path.removeprefix("/").partition("/")
        bucket = self.buckets.get(name)
        if bucket is None:
            return _error(404, "NoSuchBucket")
        if key:
            stored = bucket.objects.get(key)
            if stored is None or not await to_thread.run_sync(_is_in_place, stored.path):
                return _error(404, "NoSuchKey")
            return _ObjectResponse(stored)
        if gcs_listing or query.get("list-type") == "2":
            return _listing(bucket, query, as_json=gcs_listing is not None)
        return web.Response() if request.method == "HEAD" else _error(501, "NotImplemented")


class _ObjectResponse(web.FileResponse):
    """A file, with ranges and conditions; cuts the connection if the file changes meanwhile."""

    def __init__(self, stored: DemoInstance) -> None:
        content_type = "application/dicom" if stored.key.endswith(".dcm") else "application/octet-stream"
        super().__init__(stored.path, headers={"Content-Type": content_type})
        self._stored = stored

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        writer = await super().prepare(request)
        if self.status in (200, 206) and request.transport is not None:
            etag = await to_thread.run_sync(_current_etag, self._stored.path)
            if self.etag is None or self.etag.value != etag:
                # Content-Length is sent already: only a cut connection shows that the body is not whole.
                request.transport.abort()
        return writer


def _is_in_place(path: str) -> bool:
    """Whether a path is still a regular file below the root: a link put there later could lead anywhere."""
    return os.path.realpath(path) == path and os.path.isfile(path)  # noqa: PTH113  paths are strings here


def _current_etag(path: str) -> str | None:
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return entity_tag(status.st_size, status.st_mtime_ns)


def _listing(bucket: Bucket, query: Mapping[str, str], *, as_json: bool) -> web.Response:
    try:
        document = list_as_json(bucket, query) if as_json else list_as_xml(bucket, query)
    except ValueError:
        return _error(400, "InvalidArgument")
    return web.Response(body=document, content_type="application/json" if as_json else "application/xml")


def _error(status: int, code: str) -> web.Response:
    document = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code></Error>'
    return web.Response(status=status, text=document, content_type="application/xml")


async def serve_demo(
    root: Path | None,
    *,
    on_ready: Callable[[DemoAddress], None],
    port: int = 0,
    catalog: Path | None = None,
) -> None:
    """Serve a demo bucket on 127.0.0.1 until cancelled.

    Args:
        root: The folder to serve; None for the DICOM files of the installed pydicom package.
        on_ready: Called once, when the server accepts requests.
        port: The port; 0 for any that is free.
        catalog: If given, the catalog Parquet is saved here too.

    Raises:
        ConfigError: Nothing to serve, the port is taken, or the catalog can't be written.
    """
    async with demo_bucket(root, port, catalog=catalog) as address:
        on_ready(address)
        await sleep_forever()


@asynccontextmanager
async def demo_bucket(
    root: Path | None = None, port: int = 0, *, catalog: Path | None = None
) -> AsyncIterator[DemoAddress]:
    """Serve a demo bucket on 127.0.0.1, in this event loop, while the block runs.

    Args:
        root: The folder to serve; None for the DICOM files of the installed pydicom package.
        port: The port; 0 for any that is free.
        catalog: If given, the catalog Parquet is saved here too.

    Raises:
        ConfigError: Nothing to serve, the port is taken, or the catalog can't be written.
    """
    layout = await to_thread.run_sync(lay_out, root)
    if catalog is not None:
        await to_thread.run_sync(write_catalog, layout, catalog)
    with TemporaryDirectory(prefix="harvester-demo-") as folder:
        buckets = await to_thread.run_sync(_buckets, layout, folder)
        async with _listening(DemoServer(buckets), port) as endpoint:
            yield DemoAddress(
                endpoint=endpoint,
                bucket=BUCKET,
                series=len(layout.series),
                instances=sum(len(series.instances) for series in layout.series),
                catalog_url=f"{endpoint}/{CATALOG_BUCKET}/{CATALOG_KEY}",
            )


def _buckets(layout: DemoLayout, folder: str) -> dict[str, Bucket]:
    path = Path(folder).resolve() / CATALOG_KEY
    write_catalog(layout, path)
    status = path.stat()
    catalog = DemoInstance(CATALOG_KEY, str(path), status.st_size, status.st_mtime_ns)
    instances = {instance.key: instance for instance in layout.instances}
    return {
        BUCKET: Bucket.of(BUCKET, instances),
        CATALOG_BUCKET: Bucket.of(CATALOG_BUCKET, {CATALOG_KEY: catalog}),
    }


@asynccontextmanager
async def _listening(server: DemoServer, port: int) -> AsyncIterator[str]:
    """Listen, and yield the endpoint; connections still open at the end are cut after a second."""
    web_server = web.Server(server.respond, access_log=None)
    runner = web.ServerRunner(web_server, shutdown_timeout=1.0)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(
                f"port {port}: can't listen here ({reason}); choose another port, or 0"
            ) from error
        yield "http://{}:{}".format(*runner.addresses[0])
    finally:
        with CancelScope(shield=True):
            transports = [connection.transport for connection in web_server.connections]
            await runner.cleanup()
            # Data that a stalled client has not read would keep its connection open without end.
            for transport in transports:
                if transport is not None:
                    transport.abort()
            await lowlevel.checkpoint()
