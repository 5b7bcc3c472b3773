"""`harvester index`: builds IDC's index tables from a dataset."""

from pathlib import Path
from typing import Annotated, Final

import typer

from harvester.cli.options import DatasetOption, file_errors, show
from harvester.dataset.output_file import replaced_file, require_writable
from harvester.errors import ConfigError
from harvester.query import (
    INDEX_NAMES,
    build_index,
    index_query,
    open_dataset,
    warn_of_missing_series,
    write_result,
)

EPILOG: Final = "Example: `harvester index ct_index -d data/lung-ct -o ct_index.parquet`"


def command(
    dataset: DatasetOption,
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help=f"One of {', '.join(INDEX_NAMES)}.", show_default=False),
    ] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="The Parquet file [NAME.parquet]; with --all, a directory for them [.]."
        ),
    ] = None,
) -> None:
    """Build IDC's index tables from a dataset, by the definitions in the installed idc-index.

    Columns and types are those of the tables that IDC publishes.
    """
    if every == (name is not None):
        raise ConfigError("name one index table, or give --all")
    if name is not None:
        index_query(name)  # an unknown one is refused before the dataset is read
    folder = (output or Path()) if every else Path()
    files = (
        {one: folder / f"{one}.parquet" for one in INDEX_NAMES}
        if name is None
        else {name: output or Path(f"{name}.parquet")}
    )
    with open_dataset(dataset) as connection:
        for path in files.values():
            with file_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
            require_writable(path, option="--output")
        warn_of_missing_series(connection)
        for one, path in files.items():
            result = build_index(connection, one)
            with replaced_file(path, binary=True, option="--output") as stream:
                write_result(result, "parquet", stream)
            show(str(path))
