"""`harvester demo`."""

from functools import partial
from pathlib import Path
from typing import Annotated

import anyio
import typer

from harvester.cli.format import count
from harvester.demo import DemoAddress, serve_demo


def add_to(app: typer.Typer) -> None:
    """Add this command."""
    app.command("demo", epilog="Example: `harvester demo --root ~/dicom --port 9000`")(_demo)


def _demo(
    root: Annotated[
        Path | None,
        typer.Option(help="The folder to serve; without it, pydicom's example files.", show_default=False),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 9000,
    catalog: Annotated[
        Path | None, typer.Option(help="Save the catalog Parquet to this file, too.", show_default=False)
    ] = None,
) -> None:
    """Serve DICOM files on this machine as a public bucket serves them, until Ctrl-C.

    Anonymous and read-only, S3 and GCS requests alike, on 127.0.0.1 only.
    """
    anyio.run(partial(serve_demo, root, port=port, on_ready=_announce, catalog=catalog))


def _announce(address: DemoAddress) -> None:
    typer.echo(
        f"{count(address.instances, 'object')} of {count(address.series, 'series')}\n"
        f"endpoint  {address.endpoint}\n"
        f"bucket    {address.bucket}\n"
        f"catalog   {address.catalog_url}\n"
        "Ctrl-C ends it."
    )
