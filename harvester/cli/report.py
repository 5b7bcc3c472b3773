"""`harvester report`: writes an HTML page about a dataset."""

from pathlib import Path
from typing import Annotated, Final

import typer

from harvester.cli.format import size
from harvester.cli.options import DatasetOption, file_errors
from harvester.errors import ConfigError
from harvester.messages import pip_install

EPILOG: Final = "Example: `harvester report -d data/idc-sm -o slides.html`"


def command(
    dataset: DatasetOption,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE.html", help="The page.", show_default=False)
    ],
    attribute: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEYWORD",
            help="Show the values of this attribute; can be repeated. [common attributes]",
            show_default=False,
        ),
    ] = None,
    title: Annotated[str, typer.Option(help="The title of the page; else the dataset's name.")] = "",
) -> None:
    """Write one HTML page about a dataset and its last audit; the page loads nothing from a network.

    It shows the cohort by collection and modality, violated rules, offset tables of slides, header sizes,
    crawl rates and values of attributes, with links to IDC's viewer, on screens of any size and on paper.
    """
    try:
        from harvester.audits.report import gather, render  # noqa: PLC0415  its packages are an extra
    except ImportError as error:
        raise ConfigError(f"a report needs {error.name}; {pip_install('report')}") from None
    page = render(gather(dataset, attribute or ()), title)
    with file_errors(output):
        output.write_text(page, encoding="utf-8")
    typer.echo(f"{output} ({size(len(page.encode()))})")
