"""`harvester demo`: serves a public bucket on this machine."""

from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import anyio
import typer

from harvester.dataset.output_file import require_writable
from harvester.demo import DemoAddress, serve_demo
from harvester.engine.stop_signals import received_stop_signals
from harvester.errors import ungrouped
from harvester.messages import count

EPILOG: Final = "Example: `harvester demo --root ~/dicom --port 9000`"


def command(
    root: Annotated[
        Path | None,
        typer.Option(
            help="The folder to serve, with the files that it holds at the start; "
            "without it, pydicom's example files.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 9000,
    catalog: Annotated[
        Path | None, typer.Option(help="Save the catalog Parquet to this file, too.", show_default=False)
    ] = None,
) -> None:
    """Serve DICOM files on this machine as a public bucket, until Ctrl-C.

    Anonymous, read-only, on 127.0.0.1 only: S3's object and listing requests, and GCS's listing.
    """
    if catalog is not None:
        require_writable(catalog, option="--catalog")
    anyio.run(
        _serve_until_signal, partial(serve_demo, root, port=port, on_ready=_print_address, catalog=catalog)
    )
    raise typer.Abort  # a signal has stopped it


async def _serve_until_signal(serve: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP; the folder of the catalog is then deleted."""
    with ungrouped(), received_stop_signals() as signals:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve)
            await anext(signals)
            tasks.cancel_scope.cancel()


def _print_address(address: DemoAddress) -> None:
    typer.echo(
        f"{count(address.instances, 'object')} of {count(address.series, 'series')}\n"
        f"endpoint  {address.endpoint}\n"
        f"bucket    {address.bucket}\n"
        f"catalog   {address.catalog_url}\n"
        "Stop it with Ctrl-C."
    )
