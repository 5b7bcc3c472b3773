"""`harvester sql`: runs SQL over a dataset."""

import sys
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from typing import IO, Annotated, Any, Final, cast

import typer

from harvester.cli.options import table_width
from harvester.cli.query_progress import BarHidingStream, run_watched
from harvester.dataset.output_file import replaced_file, require_writable
from harvester.errors import ConfigError
from harvester.messages import UNLIMITED
from harvester.query import (
    FORMATS,
    Dialect,
    Format,
    Result,
    open_dataset,
    open_release,
    run_query,
    write_result,
)
from harvester.query.manifest_writer import MANIFESTS, manifest, manifest_urls

EPILOG: Final = 'Example: `harvester sql -d data/quickstart "SELECT count(*) FROM instances"`'

_PARAMETER_TYPES: Final[dict[str, Callable[[str], Any]]] = {
    "STRING": str,
    "INT64": int,
    "FLOAT64": float,
    "BOOL": lambda text: {"true": True, "false": False}[text.lower()],
    "DATE": date.fromisoformat,
}

FormatOption = Annotated[
    Format | None,
    typer.Option(
        "--format", help="The format of the result; without it that of FILE.csv, .json or .parquet."
    ),
]
OutputOption = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="Write to this file instead of stdout; *.s5cmd and *.txt: a manifest.",
    ),
]


def command(  # noqa: PLR0913, PLR0917  one for each option
    query: Annotated[
        str | None,
        typer.Argument(metavar="SQL", help="One SELECT. Without it: a prompt, or stdin.", show_default=False),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", metavar="FILE.sql", help="Read the query from this file.")
    ] = None,
    form: FormatOption = None,
    dialect: Annotated[
        Dialect, typer.Option("--dialect", help="The SQL dialect; IDC publishes queries in BigQuery's.")
    ] = "duckdb",
    parameters: Annotated[
        list[str] | None,
        typer.Option(
            "--param",
            metavar="NAME[:TYPE]=VALUE",
            help="The value of $NAME, in BigQuery's dialect @NAME: text, or INT64, FLOAT64, BOOL or DATE.",
        ),
    ] = None,
    output: OutputOption = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset",
            "-d",
            metavar="DATASET",
            help="The dataset: a directory, or s3:// or gs://BUCKET/PREFIX. Without it: idc-index's tables.",
            show_default=False,
        ),
    ] = None,
    *,
    csv_safe: Annotated[
        bool,
        typer.Option(
            "--csv-safe", help="In CSV, put an apostrophe before texts that a spreadsheet runs as a formula."
        ),
    ] = False,
) -> None:
    """Run SQL over a dataset, whose tables are `instances`, `series`, `dicom_all`, `idc_index` and more.

    The query reads the dataset and the installed idc-index release only: no other file, no network. Without
    a dataset, it reads the release's tables. `-o cohort.s5cmd` writes a manifest.
    Without a query, a terminal shows a prompt with history and completion; `.help` lists its commands.
    """
    text = _query_text(query, file)
    if text is None and (output is not None or form == "parquet"):
        raise ConfigError("the prompt prints to the terminal: give a query to write a file")
    values = dict(map(_parameter, parameters or ()))
    if output is not None:
        require_writable(output, option="--output")
    connection = open_release() if dataset is None else open_dataset(dataset)

    def run_and_print(sql: str, form: Format | None, hide_bar: Callable[[], None]) -> None:
        write = partial(write_result, csv_safe=csv_safe)
        save_or_print(run_query(connection, sql, dialect, values), form, output, hide_bar, write)

    def run(sql: str, form: Format | None) -> None:
        run_watched(connection, partial(run_and_print, sql, form))

    try:
        if text is None:
            from harvester.cli.prompt import run_prompt  # noqa: PLC0415  most queries need no prompt

            run_prompt(connection, run, form or "table")
        else:
            run(text, form)
    finally:
        connection.close()


def _parameter(text: str) -> tuple[str, Any]:
    """Read `name=value` or `name:TYPE=value`."""
    declared, equals, value = text.partition("=")
    name, _, kind = declared.partition(":")
    read = _PARAMETER_TYPES.get(kind.upper() or "STRING")
    if not name or not equals or read is None:
        raise ConfigError(
            f"--param {text}: write NAME=VALUE or NAME:TYPE=VALUE, of type {', '.join(_PARAMETER_TYPES)}"
        )
    try:
        return name, read(value)
    except (KeyError, ValueError):
        raise ConfigError(f"--param {text}: {value!r} is no {kind.upper()}") from None


def save_or_print(
    result: Result,
    form: Format | None,
    output: Path | None,
    hide_bar: Callable[[], None] = lambda: None,
    write: Callable[..., None] = write_result,
) -> None:
    """Write a query's result to a file, or to stdout.

    Args:
        result: From `run_query`.
        form: The format; None: that of the file's suffix, else a table.
        output: The file; None for stdout.
        hide_bar: Hides a progress bar before the first output to a terminal.
        write: Writes the result to a stream: `write_result`, or with more options.

    Raises:
        ConfigError: The file can't be written.
        QueryError: The query fails.
    """
    chosen = form or _format_of(output)
    if output is not None and output.suffix in MANIFESTS:
        urls = manifest_urls(result)
        with replaced_file(output, option="--output") as stream:
            stream.write(manifest(urls, output))
    elif output is not None:
        with replaced_file(output, binary=chosen == "parquet", option="--output") as stream:
            write(result, chosen, stream, width=UNLIMITED)
    elif sys.stdout.isatty():
        write(result, chosen, cast("IO[str]", BarHidingStream(sys.stdout, hide_bar)))
    else:
        write(result, chosen, sys.stdout, width=table_width())


def _format_of(output: Path | None) -> Format:
    suffix = "" if output is None else output.suffix.removeprefix(".")
    return next((one for one in FORMATS if one == suffix), "table")


def _query_text(query: str | None, file: Path | None) -> str | None:
    """The query of the argument, the file or stdin; None on a terminal, which gets a prompt."""
    if query is not None and file is not None:
        raise ConfigError("give a query or --file, not both")
    if query is not None:
        if not query.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in query):
            raise ConfigError("the query is not UTF-8; set the terminal's encoding to UTF-8, or use --file")
        return query
    if file is not None:
        try:
            return file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"--file: {file}: can't be read ({error})") from error
    if sys.stdin.isatty():
        return None
    try:
        return sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"stdin: the query is not UTF-8 ({error})") from error
