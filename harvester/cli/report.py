"""`harvester report`: writes an HTML page about a dataset."""

from pathlib import Path
from typing import Annotated, Final

import typer

from harvester.audits.api import report
from harvester.cli.options import DatasetOption, show
from harvester.dataset.output_file import replaced_file, require_writable
from harvester.messages import size

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
    require_writable(output, option="--output")
    page = report(dataset, attributes=attribute or (), title=title)
    with replaced_file(output, option="--output") as stream:
        stream.write(page.html)
    show(f"{output} ({size(len(page.html.encode()))})")
