"""`harvester schedule`."""

import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import anyio
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from harvester.errors import ungrouped
from harvester.schedule import FinishedRun, Job, State, load_job, run_due, run_forever


def add_to(app: typer.Typer) -> None:
    """Add this command."""
    app.command(
        "schedule",
        epilog="Examples: `harvester schedule configs/*.toml`, `harvester schedule --status configs/*.toml`",
    )(_schedule)


def _schedule(
    configs: Annotated[
        list[Path],
        typer.Argument(metavar="CONFIG...", help="TOML files with a [schedule].", show_default=False),
    ],
    *,
    status: Annotated[
        bool, typer.Option("--status", help="Say how each went last, and when it is due.")
    ] = False,
    once: Annotated[bool, typer.Option("--once", help="Run what is due or was missed, and end.")] = False,
    state: Annotated[
        Path | None,
        typer.Option(
            help="The file that remembers the last runs; else ~/.local/state/harvester/schedule.json.",
            show_default=False,
        ),
    ] = None,
) -> int:
    """Run crawls and audits when their [schedule] says, until Ctrl-C.

    Times that were missed while this did not run are caught up once. A run that is due while another
    process writes the same dataset finds it busy: that is no failure, and it runs when the dataset is free.
    """
    jobs = [load_job(config) for config in configs]
    remembered = State.open(state)
    if status:
        _show(jobs, remembered)
        return 0
    if once:
        ran = anyio.run(run_due, jobs, remembered)
        return max((_status(one) for one in ran), default=0)
    anyio.run(_until_stopped, jobs, remembered)
    return 130


def _status(ran: FinishedRun) -> int:
    if ran.run.busy:
        return 0
    return 1 if ran.run.status is None or ran.run.status < 0 else ran.run.status


async def _until_stopped(jobs: list[Job], state: State) -> None:
    with ungrouped():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run_forever, jobs, state)
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                async for _ in signals:
                    tasks.cancel_scope.cancel()
                    return


def _show(jobs: list[Job], state: State) -> None:
    table = Table(box=SIMPLE_HEAD)
    for heading in ("configuration", "runs", "at", "last", "status", "said", "next"):
        table.add_column(heading, overflow="fold")
    now = datetime.now(UTC)
    for job in jobs:
        last = state.runs.get(str(job.path))
        began = None if last is None else last.started
        if last is None or began is None:
            ended = "never ran"
        elif last.ended is None:
            ended = "runs, or was killed"
        elif last.busy:
            ended = "busy, runs when it is free"
        else:
            ended = str(last.status)
        table.add_row(
            str(job.path),
            job.command,
            f"{job.schedule.cron} {job.schedule.time_zone}",
            "" if began is None else f"{began:%Y-%m-%d %H:%M} UTC",
            ended,
            "" if last is None else last.summary,
            f"{job.due_after(now):%Y-%m-%d %H:%M} UTC",
        )
    Console(highlight=False, markup=False).print(table)
