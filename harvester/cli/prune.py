"""`harvester prune`: removes superseded rows."""

import dataclasses
import json
import sys
from datetime import timedelta
from typing import Annotated
from urllib.parse import unquote

import typer

from harvester.cli.compact import shown_rows
from harvester.cli.format import count, size
from harvester.cli.sql import DatasetOption
from harvester.dataset import CompactionOptions, Dataset, Pruned


def add_to(app: typer.Typer) -> None:
    """Add this command."""
    app.command("prune", epilog="Example: `harvester prune -d data/lung-ct --dry-run`")(_prune)


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
