"""`harvester compact`."""

import dataclasses
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from harvester.cli.format import count, size, span
from harvester.cli.sql import DatasetOption
from harvester.dataset import Compaction, CompactionOptions, Dataset

_AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


def add_to(app: typer.Typer) -> None:
    """Add this command."""
    app.command("compact", epilog="Example: `harvester compact -d data/lung-ct`")(_compact)


def _compact(
    dataset: DatasetOption,
    *,
    as_json: _AsJson = False,
    keep_hours: Annotated[
        float,
        typer.Option(min=0, help="How long what is replaced stays for those who opened the dataset before."),
    ] = 24,
) -> None:
    """Merge the small parts of a dataset into large ones, sorted by series, which queries read faster.

    Whoever reads meanwhile sees the old parts or the new. Killed at any moment, it has changed nothing,
    or the next crawl or compaction brings it to its end. What is compact already stays as it is.
    """
    opened = Dataset.open(dataset)
    with opened.lock() as lock, shown_rows("compact") as report:
        done = opened.compact(lock, CompactionOptions(keep=timedelta(hours=keep_hours), report=report))
    sys.stderr.write(f"{_said(done)}\n")
    if as_json:
        typer.echo(json.dumps({**dataclasses.asdict(done), "dataset": opened.location}))


@contextmanager
def shown_rows(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show on a terminal how many rows are written, and of how many.

    Args:
        what: What is done.
    """
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    columns = (
        TextColumn("{task.completed:,.0f} rows"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _said(done: Compaction) -> str:
    if not done.partitions:
        return "nothing to merge: every partition is compact"
    return (
        f"{count(done.rows, 'row')} of {count(done.partitions, 'partition')} in {span(done.seconds)}: "
        f"{count(done.parts_before, 'part')} of {size(done.bytes_before)} became "
        f"{done.parts_after:,} of {size(done.bytes_after)}"
    )
