"""Starts a demo bucket on this machine, and says where it is."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from aiohttp import web
from anyio import CancelScope, lowlevel, sleep_forever, to_thread

from harvester.demo.bucket import Bucket
from harvester.demo.catalog import write_catalog
from harvester.demo.layout import BUCKET, DemoInstance, DemoLayout, lay_out
from harvester.demo.server import DemoServer
from harvester.errors import ConfigError

CATALOG_BUCKET: Final = "idc-index-data"  # another bucket, so that a listing of the first holds DICOM only
CATALOG_KEY: Final = "idc_index.parquet"


@dataclass(frozen=True, slots=True)
class DemoAddress:
    """Where a demo bucket answers, and what it holds.

    `endpoint` is `http://HOST:PORT`, for path-style requests; `catalog_url` an `http://` address of the
    catalog Parquet; `series` and `instances` are counts.
    """

    endpoint: str
    bucket: str
    catalog_url: str
    series: int
    instances: int


async def serve_demo(
    root: Path | None,
    *,
    on_ready: Callable[[DemoAddress], None],
    host: str = "127.0.0.1",
    port: int = 0,
    catalog: Path | None = None,
) -> None:
    """Serve a demo bucket until cancelled.

    Args:
        root: The folder to serve; None for the DICOM files of the installed pydicom package.
        on_ready: Called once, when requests are answered.
        host: The address to listen on. Whoever reaches it can read every file below the root.
        port: The port; 0 for any that is free.
        catalog: If given, the catalog Parquet is saved here too.

    Raises:
        ConfigError: Nothing to serve, the port is taken, or the catalog can't be written.
    """
    async with demo_bucket(root, port, host=host, catalog=catalog) as address:
        on_ready(address)
        await sleep_forever()


@asynccontextmanager
async def demo_bucket(
    root: Path | None = None, port: int = 0, *, host: str = "127.0.0.1", catalog: Path | None = None
) -> AsyncIterator[DemoAddress]:
    """Serve a demo bucket inside this process for as long as the context lasts.

    Args:
        root: The folder to serve; None for the DICOM files of the installed pydicom package.
        port: The port; 0 for any that is free.
        host: The address to listen on.
        catalog: If given, the catalog Parquet is saved here too.

    Raises:
        ConfigError: Nothing to serve, the port is taken, or the catalog can't be written.
    """
    layout = await to_thread.run_sync(lay_out, root)
    if catalog is not None:
        await to_thread.run_sync(write_catalog, layout, catalog)
    with TemporaryDirectory(prefix="harvester-demo-") as folder:
        stored_catalog = await to_thread.run_sync(_store_catalog, layout, folder)
        server = DemoServer(_buckets(layout, stored_catalog))
        async with _listening(server, host, port) as endpoint:
            yield DemoAddress(
                endpoint=endpoint,
                bucket=BUCKET,
                catalog_url=f"{endpoint}/{CATALOG_BUCKET}/{CATALOG_KEY}",
                series=len(layout.series),
                instances=sum(len(series.instances) for series in layout.series),
            )


def _store_catalog(layout: DemoLayout, folder: str) -> DemoInstance:
    path = Path(folder).resolve() / CATALOG_KEY
    write_catalog(layout, path)
    status = path.stat()
    return DemoInstance(CATALOG_KEY, str(path), status.st_size, status.st_mtime_ns)


def _buckets(layout: DemoLayout, catalog: DemoInstance) -> dict[str, Bucket]:
    instances = {instance.key: instance for instance in layout.instances}
    buckets = (Bucket.of(BUCKET, instances), Bucket.of(CATALOG_BUCKET, {CATALOG_KEY: catalog}))
    return {bucket.name: bucket for bucket in buckets}


@asynccontextmanager
async def _listening(server: DemoServer, host: str, port: int) -> AsyncIterator[str]:
    """Listen, and give the endpoint; connections still open at the end are cut after a second."""
    web_server = web.Server(server.answer, access_log=None)
    runner = web.ServerRunner(web_server, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, backlog=1024)
        try:
            await site.start()
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(
                f"{host}:{port}: can't listen here ({reason}); choose another port, or 0"
            ) from error
        address = runner.addresses[0]
        shown = f"[{address[0]}]" if ":" in address[0] else address[0]
        yield f"http://{shown}:{address[1]}"
    finally:
        with CancelScope(shield=True):
            transports = [connection.transport for connection in web_server.connections]
            await runner.cleanup()
            # What a reader that stalls has not taken would keep its connection open for ever.
            for transport in transports:
                if transport is not None:
                    transport.abort()
            await lowlevel.checkpoint()
