"""`harvester prune`: removes superseded rows."""

import dataclasses
import json
from datetime import timedelta
from typing import Annotated, Final
from urllib.parse import unquote

import typer

from harvester.cli.compact import KEEP_HOURS, row_progress
from harvester.cli.options import DatasetOption, JsonOption, KeepHoursOption, show
from harvester.dataset import CompactionOptions, Dataset, Pruned
from harvester.messages import count, size

EPILOG: Final = "Example: `harvester prune -d data/lung-ct --dry-run`"


def command(
    dataset: DatasetOption,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be removed, and remove nothing.")
    ] = False,
    superseded_before: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="RELEASE",
            help="Only series that a release before this one no longer had.",
            show_default=False,
        ),
    ] = None,
    keep_hours: KeepHoursOption = KEEP_HOURS,
    as_json: JsonOption = False,
) -> None:
    """Remove the rows of superseded series and objects; no other command deletes rows.

    Readers see all of these rows or none. After an interruption, the same command completes the removal.
    """
    opened = Dataset.open(dataset)
    if dry_run:
        done = opened.prunable(superseded_before)
    else:
        with opened.lock() as lock, row_progress("prune") as report:
            options = CompactionOptions(keep=timedelta(hours=keep_hours), report=report)
            done = opened.prune(lock, options, before=superseded_before)
    show(_summary(done, dry_run=dry_run), err=True)
    if as_json:
        facts = {**dataclasses.asdict(done), "by_collection": _by_collection(done)}
        typer.echo(json.dumps({**facts, "dry_run": dry_run, "dataset": opened.location}))


def _summary(done: Pruned, *, dry_run: bool) -> str:
    if not done.instances:
        return "nothing to prune: no row is superseded"
    verb = "would be removed" if dry_run else "removed"
    first = (
        f"{count(done.instances, 'instance')} of {count(done.series, 'series')} {verb} "
        f"(objects of {size(done.objects_bytes)}), and {count(done.frames, 'frame index row')}"
    )
    collections = [f"  {name}: {count(rows, 'instance')}" for name, rows in _by_collection(done).items()]
    return "\n".join([first, *collections])


def _by_collection(done: Pruned) -> dict[str, int]:
    return {unquote(folder.partition("=")[2]): rows for folder, rows in done.by_collection.items()}
