"""Shows the progress of a crawl: a bar on a terminal, else a line every few seconds."""

import logging
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from importlib.util import find_spec
from typing import Final

import anyio
from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from harvester.engine.shard import CrawlProgress
from harvester.errors import ungrouped
from harvester.messages import count, size, span

_logger = logging.getLogger("harvester")

_REDRAW_SECONDS: Final = 0.2
_LINE_SECONDS: Final = 5.0
_BAR_COLUMNS: Final = 16  # short, so that the line still fits a terminal that was made narrower


@asynccontextmanager
async def crawl_progress(progress: CrawlProgress, *, as_log: bool = False) -> AsyncIterator[None]:
    """Show the progress on stderr, or log it, while the block runs."""
    draw = _log if as_log else _draw_bar if _can_draw() else _write_lines
    with ungrouped():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(draw, progress)
            try:
                yield
            finally:
                tasks.cancel_scope.cancel()


def _can_draw() -> bool:
    """Whether a bar can be shown: on a terminal, or in a notebook that has widgets."""
    console = Console(stderr=True)
    return console.is_terminal or (console.is_jupyter and find_spec("ipywidgets") is not None)


async def _draw_bar(progress: CrawlProgress) -> None:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.fields[counted]}"),
        BarColumn(bar_width=_BAR_COLUMNS),
        TextColumn("{task.fields[rates]}"),
        TimeRemainingColumn(),
    )
    started = time.monotonic()
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("crawl", total=None, rates="", counted="")
        while True:
            done = progress.instances + progress.failures + progress.skipped
            failures = f", {count(progress.failures, 'failure')}" if progress.failures else ""
            rates = f"{progress.instances / max(time.monotonic() - started, 0.001):,.0f}/s{failures}"
            total = progress.expected_instances
            if progress.rows_to_compact:
                done, total, rates = progress.rows_compacted, progress.rows_to_compact, ""
            bar.update(
                task, completed=done, total=total, rates=rates, counted=_counted(progress, done, total)
            )
            await anyio.sleep(_REDRAW_SECONDS)


async def _write_lines(progress: CrawlProgress) -> None:
    started = time.monotonic()
    while True:
        await anyio.sleep(_LINE_SECONDS)
        sys.stderr.write(f"{progress_line(progress, time.monotonic() - started)}\n")
        sys.stderr.flush()


async def _log(progress: CrawlProgress) -> None:
    while True:
        await anyio.sleep(_LINE_SECONDS)
        _logger.info("progress", extra={"facts": asdict(progress)})


def progress_line(progress: CrawlProgress, seconds: float) -> str:
    """The progress as one line: done and total, rates, failures, and the time left; or rows compacted.

    Args:
        progress: The counts.
        seconds: How long the crawl has run.
    """
    if progress.rows_to_compact:
        return _counted(progress, progress.rows_compacted, progress.rows_to_compact)
    done = progress.instances + progress.failures + progress.skipped
    counted = _counted(progress, done, progress.expected_instances)
    return f"{counted}, {_rates(progress, seconds)}{_time_left(progress, seconds)}"


def _counted(progress: CrawlProgress, done: int, total: int | None) -> str:
    what = f"{done:,}{'' if total is None else f' of {total:,}'}"
    return f"compacting: {what} rows" if progress.rows_to_compact else f"{what} instances"


def _time_left(progress: CrawlProgress, seconds: float) -> str:
    """The time left at the rate so far; empty if the total or the rate is unknown."""
    done, total = progress.instances + progress.failures, progress.expected_instances
    if total is None or not done:
        return ""
    return f", {span(max(0, total - done - progress.skipped) / done * seconds)} left"


def _rates(progress: CrawlProgress, seconds: float) -> str:
    seconds = max(seconds, 0.001)
    return (
        f"{progress.instances / seconds:,.0f}/s, {size(progress.bytes_fetched / seconds)}/s, "
        f"{count(progress.failures, 'failure')}"
    )
