"""The arguments and options that several commands have, and the error of a file that can't be written."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from harvester.errors import ConfigError, HarvesterError
from harvester.messages import UNLIMITED, printable

ConfigArgument = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="The TOML file of a crawl.", show_default=False)
]
DatasetOption = Annotated[
    str,
    typer.Option(
        "--dataset",
        "-d",
        metavar="DATASET",
        help="The dataset: a directory, or s3:// or gs://BUCKET/PREFIX.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
ObjectArgument = Annotated[
    str,
    typer.Argument(metavar="URL|PATH", help="s3://, gs://, https://, or a local file.", show_default=False),
]
EndpointOption = Annotated[
    str | None,
    typer.Option(help="Replaces the cloud's endpoint: http://HOST:PORT.", show_default=False),
]
CredentialsOption = Annotated[
    Literal["none", "environment"],
    typer.Option(help="environment: requests are signed with what botocore and google-auth find."),
]
KeepHoursOption = Annotated[
    float,
    typer.Option(min=0, help="Hours before replaced files are deleted, for readers that have them open."),
]


def show(text: str, *, err: bool = False) -> None:
    """Print lines on which a terminal cannot act: names in them come from files, catalogs and servers.

    Args:
        text: The lines.
        err: Whether they go to stderr.
    """
    typer.echo(printable(text, keep="\n"), err=err)


def table_width() -> int | None:
    """The width of a table on stdout: a terminal's (None); in a file or a pipe no line is cut."""
    return None if sys.stdout.isatty() or "COLUMNS" in os.environ else UNLIMITED


@contextmanager
def file_errors(path: Path, option: str = "--output") -> Iterator[None]:
    """Turn the errors of writing a file into one that names the option.

    Args:
        path: The file.
        option: The option that names it.

    Raises:
        ConfigError: The file can't be written.
    """
    try:
        yield
    except HarvesterError:  # some of these are an OSError, too
        raise
    except OSError as error:
        raise ConfigError(f"{option}: {path}: {error.strerror or error}") from error
