"""`harvester sql`."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, Annotated, cast

import typer

from harvester.cli.announced import AnnouncedStream
from harvester.cli.query_progress import run_watched
from harvester.errors import ConfigError
from harvester.query import Dialect, Format, Result, open_dataset, run_query, write_result

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


def add_to(app: typer.Typer) -> None:
    """Add this command."""
    app.command(
        "sql",
        epilog='Example: `harvester sql -d data/quickstart "SELECT count(*) FROM instances"`',
    )(_sql)


def _sql(
    dataset: DatasetOption,
    query: Annotated[
        str | None,
        typer.Argument(
            metavar="SQL", help="One SELECT. Without: a prompt, or what stdin holds.", show_default=False
        ),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", metavar="FILE.sql", help="Read the query from this file.")
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="How the answer is written.")] = "table",
    dialect: Annotated[
        Dialect, typer.Option("--dialect", help="Of the SQL: IDC publishes queries in BigQuery's.")
    ] = "duckdb",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to this file instead of stdout.")
    ] = None,
) -> None:
    """Ask a dataset in SQL: its tables are `instances`, `series`, `dicom_all` and those of docs/sql.md.

    The query reads the dataset and the installed idc-index release only: no other file, no network.
    On a terminal and without a query there is a prompt, with history and completion; `.help` there.
    """
    text = _text(query, file)
    if text is None and (output is not None or form == "parquet"):
        raise ConfigError("the prompt answers on the terminal: give a query to write a file")
    connection = open_dataset(dataset)

    def answer(sql: str, hide_bar: Callable[[], None]) -> None:
        result = run_query(connection, sql, dialect)
        if output is None:
            terminal = sys.stdout.isatty()
            write_result(
                result,
                form,
                cast("IO[str]", AnnouncedStream(sys.stdout, hide_bar)) if terminal else sys.stdout,
            )
        else:
            _write_file(result, form, output)

    def ask(sql: str) -> None:
        run_watched(connection, partial(answer, sql))

    try:
        if text is None:
            from harvester.cli.prompt import run_prompt  # noqa: PLC0415 - for most queries nobody is prompted

            run_prompt(connection, ask)
        else:
            ask(text)
    finally:
        connection.close()


def _text(query: str | None, file: Path | None) -> str | None:
    """The query that is given one way or another; None where a person is to be asked."""
    if query is not None and file is not None:
        raise ConfigError("give a query or --file, not both")
    if query is not None:
        return query
    if file is not None:
        try:
            return file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"--file: {file}: cannot be read ({error})") from error
    return None if sys.stdin.isatty() else sys.stdin.read()


def _write_file(result: Result, form: Format, file: Path) -> None:
    try:
        with file.open("wb" if form == "parquet" else "w") as stream:
            write_result(result, form, stream)
    except OSError as error:
        raise ConfigError(f"--output: {file}: {error.strerror or error}") from error
