"""The arguments and options that several commands have, and the error of a file that can't be written."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated, Any

import typer

from harvester.errors import ConfigError, HarvesterError

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
KeepHoursOption = Annotated[
    float,
    typer.Option(min=0, help="Hours before replaced files are deleted, for readers that have them open."),
]


@contextmanager
def replaced_file(path: Path, *, binary: bool) -> Iterator[IO[Any]]:
    """Open a file to write that replaces the one of that name when the block ends, and not after an error.

    What is not a regular file, such as a pipe, is written directly.
    """
    path = path.resolve() if path.is_symlink() else path
    target = path
    if path.is_file() or not path.exists():
        target = path.with_name(f".{path.name[:80]}.{secrets.token_hex(4)}.tmp")
    try:
        with target.open("wb") if binary else target.open("w", encoding="utf-8") as stream:
            yield stream
        if target != path:
            if path.exists():
                target.chmod(path.stat().st_mode)
            target.replace(path)
    finally:
        if target != path:
            target.unlink(missing_ok=True)


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
