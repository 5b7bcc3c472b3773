"""`harvester repair`: rebuilds lost or corrupt records of a dataset."""

import dataclasses
import json
from typing import Annotated, Final

import typer

from harvester.cli.options import DatasetOption, JsonOption, show
from harvester.dataset import Dataset, Repair

EPILOG: Final = "Example: `harvester repair -d data/lung-ct --dry-run`"


def command(
    dataset: DatasetOption,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only report; write nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Rebuild lost or corrupt records of a dataset from its parts, commits and plans, where that is certain.

    No row and no part is deleted. What cannot be decided is listed, and nothing is changed then (exit status
    2): restore the file that is named from a copy.
    """
    done = Dataset.repair(dataset, dry_run=dry_run)
    show(_summary(done, dry_run=dry_run), err=True)
    if as_json:
        typer.echo(json.dumps({**dataclasses.asdict(done), "dry_run": dry_run, "dataset": dataset}))
    if done.undecided:
        raise typer.Exit(2)


def _summary(done: Repair, *, dry_run: bool) -> str:
    lines = [f"{'can be rebuilt' if dry_run else 'rebuilt'}: {what}" for what in done.rebuilt]
    lines += [f"cannot be decided: {what}" for what in done.undecided]
    return "\n".join(lines or ["nothing to repair: all records are there and belong to the parts"])
