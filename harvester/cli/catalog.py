"""`harvester catalog`: lists the columns, values and series of the installed idc-index release."""

from pathlib import Path
from typing import Annotated, Final

import typer

from harvester.catalog.database import identifier, literal
from harvester.cli.sql import FormatOption, OutputOption, save_or_print
from harvester.config import load
from harvester.dataset.output_file import require_writable
from harvester.errors import ConfigError, QueryError, SelectionError
from harvester.messages import did_you_mean
from harvester.query import open_release, run_query

EPILOG: Final = (
    "Examples: `harvester catalog`, `harvester catalog --values Modality`, "
    "`harvester catalog lung-ct.toml -o cohort.s5cmd`"
)


def command(
    config: Annotated[
        Path | None,
        typer.Argument(metavar="CONFIG", help="Only what this TOML file selects.", show_default=False),
    ] = None,
    *,
    values: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="List the values of this column.", show_default=False),
    ] = None,
    where: Annotated[
        str | None, typer.Option(help="Only series of this SQL condition.", show_default=False)
    ] = None,
    form: FormatOption = None,
    output: OutputOption = None,
) -> None:
    """List the columns of IDC's catalog, or the values of one with their series, instances and size.

    With -o cohort.s5cmd: the selected series as a manifest.
    """
    if output is not None:
        require_writable(output, option="--output")
    with open_release() as connection:
        columns = [str(name) for name, *_ in connection.execute("DESCRIBE idc_index").fetchall()]
        if values is not None and values not in columns:
            raise ConfigError(f"--values {values}: no such column{did_you_mean(values, columns)}")
        if where is not None:
            try:
                run_query(connection, f"SELECT 1 FROM idc_index WHERE {where}")
            except QueryError as error:
                raise QueryError(f"--where: {error}") from error
        rows = f"(SELECT * FROM idc_index WHERE {' AND '.join(_conditions(config, where)) or 'true'})"
        if output is not None and values is None:
            query = f"SELECT * FROM {rows}"
            if not connection.execute(f"{query} LIMIT 1").fetchall():
                raise SelectionError(f"no series is selected; {output} is not written")
        elif values is None:
            query = (
                'SELECT column_name AS "column", column_type AS type, approx_unique AS distinct_values, '
                f"min, max FROM (SUMMARIZE SELECT * FROM {rows})"
            )
        else:
            query = (
                f'SELECT {identifier(values)}, count(*) AS series, sum("instanceCount") AS instances, '
                f'round(sum("series_size_MB") / 1000, 1) AS GB FROM {rows} GROUP BY 1 ORDER BY 2 DESC, 1'
            )
        save_or_print(run_query(connection, query), form, output)


def _conditions(config: Path | None, where: str | None) -> list[str]:
    found = [f"({where})"] if where else []
    if config is None:
        return found
    settings = load(config)
    if settings.source.catalog != "idc" or settings.select.manifest is not None:
        raise ConfigError(
            f'{config}: harvester catalog reads columns and where of source.catalog = "idc" only'
        )
    for column, chosen in settings.select.columns.items():
        texts = ", ".join(literal(str(value)) for value in chosen)
        found.append(f"CAST({identifier(column)} AS VARCHAR) IN ({texts})")
    if settings.select.where:
        found.append(f"({settings.select.where})")
    return found
