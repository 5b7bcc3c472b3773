"""`harvester diff` and `harvester prune`."""

import dataclasses
import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote

import typer

from harvester.cli.compacting import shown_rows
from harvester.cli.querying import DatasetOption
from harvester.cli.text import count, size
from harvester.dataset import CompactionOptions, Dataset, Pruned
from harvester.errors import ConfigError
from harvester.query import Format, changes, open_dataset, write_result


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("diff", epilog="Example: `harvester diff -d data/lung-ct --from 24 --to 25`")(_diff)
    app.command("prune", epilog="Example: `harvester prune -d data/lung-ct --dry-run`")(_prune)


def _diff(
    dataset: DatasetOption,
    before: Annotated[
        int,
        typer.Option("--from", min=1, metavar="RELEASE", help="The earlier IDC release.", show_default=False),
    ],
    after: Annotated[
        int, typer.Option("--to", min=1, metavar="RELEASE", help="The later one.", show_default=False)
    ],
    form: Annotated[Format, typer.Option("--format", help="How the answer is written.")] = "table",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to this file instead of stdout.")
    ] = None,
) -> None:
    """Say what changed between two IDC releases, by collection: series, instances and bytes.

    It compares what this dataset's crawls harvested under the one and the other: what is new, what is
    revised (the same UID under another CRDC UUID) and what has left the catalog.
    """
    if form == "parquet" and output is None:
        raise ConfigError("--format parquet needs a file: --output FILE.parquet")
    with open_dataset(dataset) as connection:
        result = changes(connection, before, after)
        if output is None:
            write_result(result, form, sys.stdout)
            return
        try:
            with output.open("wb" if form == "parquet" else "w") as stream:
                write_result(result, form, stream)
        except OSError as error:
            raise ConfigError(f"--output: {output}: {error.strerror or error}") from error


def _prune(
    dataset: DatasetOption,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be removed, and remove nothing.")
    ] = False,
    superseded_before: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="RELEASE",
            help="Only series that a release earlier than this one had no more.",
            show_default=False,
        ),
    ] = None,
    keep_hours: Annotated[
        float,
        typer.Option(min=0, help="How long what is replaced stays for those who opened the dataset before."),
    ] = 24,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Remove the rows of series and objects that are superseded: nothing else ever deletes a row.

    Whoever reads meanwhile sees all of them or none. Killed at any moment, the same command ends it.
    """
    opened = Dataset.open(dataset)
    if dry_run:
        done = opened.prunable(superseded_before)
    else:
        with opened.lock() as lock, shown_rows("prune") as report:
            options = CompactionOptions(keep=timedelta(hours=keep_hours), report=report)
            done = opened.prune(lock, options, before=superseded_before)
    sys.stderr.write(f"{_said(done, dry_run=dry_run)}\n")
    if as_json:
        facts = {**dataclasses.asdict(done), "by_collection": _named(done)}
        typer.echo(json.dumps({**facts, "dry_run": dry_run, "dataset": opened.location}))


def _said(done: Pruned, *, dry_run: bool) -> str:
    if not done.instances:
        return "nothing to prune: no row is superseded"
    verb = "would go" if dry_run else "are gone"
    first = (
        f"{count(done.instances, 'instance')} of {count(done.series, 'series')} {verb} "
        f"(objects of {size(done.objects_bytes)}), and {count(done.frames, 'frame index row')}"
    )
    collections = [f"  {name}: {count(rows, 'instance')}" for name, rows in _named(done).items()]
    return "\n".join([first, *collections])


def _named(done: Pruned) -> dict[str, int]:
    return {unquote(folder.partition("=")[2]): rows for folder, rows in done.by_collection.items()}
