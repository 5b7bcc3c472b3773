"""`harvester sql`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from harvester.query import Dialect, Format, open_dataset, run_query, write_result

DatasetOption = Annotated[
    str,
    typer.Option("--dataset", "-d", metavar="DATASET", help="The dataset's directory.", show_default=False),
]


def add_to(app: typer.Typer) -> None:
    """Add this command."""
    app.command(
        "sql",
        epilog='Example: `harvester sql -d data/quickstart "SELECT count(*) FROM instances"`',
    )(_sql)


def _sql(
    query: Annotated[str, typer.Argument(metavar="SQL", help="One SELECT.", show_default=False)],
    dataset: DatasetOption,
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
    """
    connection = open_dataset(dataset)
    try:
        result = run_query(connection, query, dialect)
        if output is None:
            write_result(result, form, sys.stdout)
        else:
            with output.open("wb" if form == "parquet" else "w") as stream:
                write_result(result, form, stream)
    finally:
        connection.close()
