"""`harvester diff`: lists the changes between two IDC releases."""

from typing import Annotated, Final

import typer

from harvester.cli.options import DatasetOption
from harvester.cli.sql import FormatOption, OutputOption, save_or_print
from harvester.dataset.output_file import require_writable
from harvester.errors import ConfigError
from harvester.query import changes, crawled_releases, open_dataset

EPILOG: Final = "Example: `harvester diff -d data/lung-ct --from 24 --to 25`"


def command(
    dataset: DatasetOption,
    before: Annotated[
        int,
        typer.Option("--from", min=1, metavar="RELEASE", help="The earlier IDC release.", show_default=False),
    ],
    after: Annotated[
        int, typer.Option("--to", min=1, metavar="RELEASE", help="The later one.", show_default=False)
    ],
    form: FormatOption = None,
    output: OutputOption = None,
) -> None:
    """List what changed between two IDC releases, by collection: series, instances and bytes.

    Compares the rows that this dataset's crawls harvested under each release: new, revised (the same UID
    under another CRDC UUID) and gone from the catalog.
    """
    if form == "parquet" and output is None:
        raise ConfigError("--format parquet needs a file: --output FILE.parquet")
    if output is not None:
        require_writable(output, option="--output")
    known = crawled_releases(dataset)
    for option, release in (("--from", before), ("--to", after)):
        if release not in known:
            has = ", ".join(map(str, known)) or "none"
            raise ConfigError(
                f"{option} {release}: the dataset has no crawl of this IDC release; it has {has}"
            )
    with open_dataset(dataset) as connection:
        save_or_print(changes(connection, before, after), form, output)
