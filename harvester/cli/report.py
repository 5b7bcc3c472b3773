"""`harvester report`."""

from pathlib import Path
from typing import Annotated

import typer

from harvester.cli.format import size
from harvester.cli.sql import DatasetOption
from harvester.errors import ConfigError


def add_to(app: typer.Typer) -> None:
    """Add this command."""
    app.command("report", epilog="Example: `harvester report -d data/idc-sm -o slides.html`")(_report)


def _report(
    dataset: DatasetOption,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE.html", help="The page.", show_default=False)
    ],
    attribute: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEYWORD",
            help="Tell the values of this attribute; may be given several times. [some that are common]",
            show_default=False,
        ),
    ] = None,
    title: Annotated[str, typer.Option(help="What the page is called; else the dataset's name.")] = "",
) -> None:
    """Show a dataset and its last audit as one HTML page, which asks for nothing when it is opened.

    Cohort by collection and modality, what broke the rules, which slides have offset tables, header
    sizes, crawl rates, values of attributes; with links to IDC's viewer. Phones and paper show it, too.
    """
    try:
        from harvester.audits.report import gather, render  # noqa: PLC0415  its packages are an extra
    except ImportError as error:
        raise ConfigError(f"a report needs {error.name}; pip install 'harvester[report]'") from None
    page = render(gather(dataset, attribute or ()), title)
    try:
        output.write_text(page, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--output: {output}: {error.strerror or error}") from error
    typer.echo(f"{output} ({size(len(page.encode()))})")
