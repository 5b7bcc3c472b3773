"""`harvester schedule`: runs crawls and audits at the times of their configuration."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import anyio
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from harvester.engine.stop_signals import received_stop_signals
from harvester.errors import ungrouped
from harvester.messages import printable
from harvester.schedule import FinishedRun, Job, State, load_job, run_due, run_forever

EPILOG: Final = "Examples: `harvester schedule *.toml`, `harvester schedule --status *.toml`"


def command(
    configs: Annotated[
        list[Path],
        typer.Argument(metavar="CONFIG...", help="TOML files with a [schedule].", show_default=False),
    ],
    *,
    status: Annotated[bool, typer.Option("--status", help="Show the last run of each and the next.")] = False,
    once: Annotated[bool, typer.Option("--once", help="Run what is due or was missed, then exit.")] = False,
    state: Annotated[
        Path | None,
        typer.Option(
            help="The file that records the last runs; else ~/.local/state/harvester/schedule.json.",
            show_default=False,
        ),
    ] = None,
) -> int:
    """Run crawls and audits at the times of their [schedule], until Ctrl-C.

    Runs that were missed are caught up once. A run whose dataset is locked by another process is not a
    failure: it starts when the dataset is free.
    """
    jobs = [load_job(config) for config in configs]
    recorded = State.open(state)
    if status:
        _print_status(jobs, recorded)
        return 0
    if once:
        ran = anyio.run(run_due, jobs, recorded)
        return max((_status(one) for one in ran), default=0)
    anyio.run(_run_until_signal, jobs, recorded)
    raise typer.Abort


def _status(ran: FinishedRun) -> int:
    if ran.run.busy:
        return 0
    return 1 if ran.run.status is None or ran.run.status < 0 else ran.run.status


async def _run_until_signal(jobs: list[Job], state: State) -> None:
    with ungrouped():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run_forever, jobs, state)
            with received_stop_signals() as signals:
                async for _ in signals:
                    tasks.cancel_scope.cancel()
                    return


def _print_status(jobs: list[Job], state: State) -> None:
    table = Table(box=SIMPLE_HEAD)
    for heading in ("configuration", "runs", "at", "last", "status", "summary", "next"):
        table.add_column(heading, overflow="fold")
    now = datetime.now(UTC)
    for job in jobs:
        last = state.runs.get(str(job.path))
        began = None if last is None else last.started
        if last is None or began is None:
            ended = "never ran"
        elif last.ended is None:
            ended = "running, or was killed"
        elif last.busy:
            ended = "waiting for the dataset"
        else:
            ended = str(last.status)
        table.add_row(
            str(job.path),
            job.command,
            f"{job.schedule.cron} {job.schedule.time_zone}",
            "" if began is None else f"{began:%Y-%m-%d %H:%M} UTC",
            ended,
            "" if last is None else printable(last.summary),
            f"{job.due_after(now):%Y-%m-%d %H:%M} UTC",
        )
    Console(highlight=False, markup=False).print(table)
