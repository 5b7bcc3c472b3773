"""`harvester schedule`: runs crawls and audits at the times of their configuration."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import anyio
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from harvester.cli.options import JsonOption, table_width
from harvester.engine.stop_signals import received_stop_signals
from harvester.errors import ConfigError, ungrouped
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
    as_object: JsonOption = False,
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
    if as_object and not status:
        raise ConfigError("--json goes with --status")
    if status:
        facts = [_facts(job, recorded) for job in jobs]
        if as_object:
            typer.echo(json.dumps({"jobs": facts}))
        else:
            _print_status(facts)
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


def _facts(job: Job, state: State) -> dict[str, Any]:
    """The last and the next run of a job, as plain values."""
    last = state.runs.get(str(job.path))
    if last is None or last.started is None:
        outcome = "never ran"
    elif last.ended is None:
        outcome = "running, or was killed"
    elif last.busy:
        outcome = "waiting for the dataset"
    else:
        outcome = "failed" if last.status else "done"
    times = {name: getattr(last, name, None) for name in ("started", "ended")}
    return {
        "configuration": str(job.path),
        "runs": job.command,
        "cron": job.schedule.cron,
        "time_zone": job.schedule.time_zone,
        **{name: None if time is None else time.isoformat() for name, time in times.items()},
        "status": None if last is None or last.busy else last.status,
        "outcome": outcome,
        "summary": "" if last is None else last.summary,
        "next": job.due_after(datetime.now(UTC)).isoformat(),
    }


def _print_status(facts: list[dict[str, Any]]) -> None:
    table = Table(box=SIMPLE_HEAD)
    for heading in ("configuration", "runs", "at", "last", "outcome", "status", "summary", "next"):
        table.add_column(heading, overflow="fold")
    for one in facts:
        table.add_row(
            one["configuration"],
            one["runs"],
            f"{one['cron']} {one['time_zone']}",
            _minute(one["started"]),
            one["outcome"],
            "" if one["status"] is None else str(one["status"]),
            printable(one["summary"]),
            _minute(one["next"]),
        )
    Console(highlight=False, markup=False, width=table_width()).print(table)


def _minute(time: str | None) -> str:
    return "" if time is None else f"{datetime.fromisoformat(time).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
