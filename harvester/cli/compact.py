"""`harvester compact`: merges small parts into large ones."""

import dataclasses
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from harvester.cli.options import DatasetOption, JsonOption, KeepHoursOption, show
from harvester.dataset import Compaction, CompactionOptions, Dataset
from harvester.messages import count, size, span

EPILOG: Final = "Example: `harvester compact -d data/lung-ct`"
KEEP_HOURS: Final = CompactionOptions().keep // timedelta(hours=1)
"""Hours that replaced parts are kept by default."""


def command(
    dataset: DatasetOption, *, as_json: JsonOption = False, keep_hours: KeepHoursOption = KEEP_HOURS
) -> None:
    """Merge the small parts of a dataset into large ones, sorted by series, which queries read faster.

    Readers see either the old parts or the new ones. A compaction that is killed has changed nothing, or is
    completed by the next crawl or compaction. Parts that are large enough stay as they are.
    """
    opened = Dataset.open(dataset)
    with opened.lock() as lock, row_progress("compact") as report:
        done = opened.compact(lock, CompactionOptions(keep=timedelta(hours=keep_hours), report=report))
    show(_summary(done), err=True)
    if as_json:
        typer.echo(json.dumps({**dataclasses.asdict(done), "dataset": opened.location}))


@contextmanager
def row_progress(description: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal; yields a function that takes the rows written and their total."""
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
        task = bar.add_task(description, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _summary(done: Compaction) -> str:
    if not done.partitions:
        return "nothing to merge: every partition is compact"
    return (
        f"{count(done.rows, 'row')} of {count(done.partitions, 'partition')} in {span(done.seconds)}: "
        f"{count(done.parts_before, 'part')} of {size(done.bytes_before)} became "
        f"{done.parts_after:,} of {size(done.bytes_after)}"
    )
