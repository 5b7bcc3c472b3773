"""`harvester diff`: what changed between two IDC releases."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from harvester.cli.sql import DatasetOption
from harvester.errors import ConfigError
from harvester.query import Format, changes, open_dataset, write_result


def add_to(app: typer.Typer) -> None:
    """Add this command."""
    app.command("diff", epilog="Example: `harvester diff -d data/lung-ct --from 24 --to 25`")(_diff)


def _diff(
    dataset: DatasetOption,
    before: Annotated[
        int,
        typer.Option("--from", min=1, metavar="RELEASE", help="The earlier IDC release.", show_default=False),
    ],
    after: Annotated[
        int, typer.Option("--to", min=1, metavar="RELEASE", help="The later one.", show_default=False)
    ],
    form: Annotated[Format, typer.Option("--format", help="How the answer is written.")] = "table",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to this file instead of stdout.")
    ] = None,
) -> None:
    """Say what changed between two IDC releases, by collection: series, instances and bytes.

    It compares what this dataset's crawls harvested under the one and the other: what is new, what is
    revised (the same UID under another CRDC UUID) and what has left the catalog.
    """
    if form == "parquet" and output is None:
        raise ConfigError("--format parquet needs a file: --output FILE.parquet")
    with open_dataset(dataset) as connection:
        result = changes(connection, before, after)
        if output is None:
            write_result(result, form, sys.stdout)
            return
        try:
            with output.open("wb" if form == "parquet" else "w") as stream:
                write_result(result, form, stream)
        except OSError as error:
            raise ConfigError(f"--output: {output}: {error.strerror or error}") from error
