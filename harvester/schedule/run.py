"""Runs what is due, each in a process of its own, as a person would type it."""

import json
import logging
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

import anyio

from harvester.schedule.job import Job
from harvester.schedule.notice import tell
from harvester.schedule.state import LastRun, State

_logger = logging.getLogger("harvester")

_BUSY: Final = 75  # EX_TEMPFAIL of sysexits.h
_ENTRY: Final = f"from harvester.cli import main; main(busy={_BUSY})"
# A clock can be set, and a machine can sleep: nobody waits longer than this without looking again.
_LONGEST_WAIT_SECONDS: Final = 60.0
_LONGEST_SUMMARY: Final = 2000
_KEPT_OUTPUT: Final = 1 << 20
# How long a run may take to commit what is whole when the schedule is stopped.
_STOPPING_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Ran:
    """A run that is over."""

    job: Job
    run: LastRun


def due(job: Job, state: State, now: datetime) -> datetime | None:
    """The time for which a job is to be run now, None where it is not yet due.

    However many times were missed, it is the last of them. A job that was never seen before has missed none.
    """
    last = state.runs.get(str(job.path))
    if last is None:
        return None
    moment = job.due_before(now)
    return moment if moment > last.due else None


async def run_due(jobs: Sequence[Job], state: State) -> list[Ran]:
    """Run once what is due, or was missed; jobs that are new wait for their next time.

    Raises:
        ConfigError: The state cannot be written.
    """
    ran = []
    now = datetime.now(UTC)
    for job in jobs:
        moment = due(job, state, now)
        if moment is not None:
            ran.append(Ran(job, await _run(job, moment, state)))
        elif str(job.path) not in state.runs:
            state.note(job.path, LastRun(now))
    return ran


async def run_for_ever(jobs: Sequence[Job], state: State) -> None:
    """Run each job whenever it is due, until cancelled; jobs of one dataset one after the other.

    Raises:
        ConfigError: The state cannot be written.
    """
    locks: defaultdict[str, anyio.Lock] = defaultdict(anyio.Lock)

    async def keep(job: Job) -> None:
        while True:
            now = datetime.now(UTC)
            moment = due(job, state, now)
            if moment is not None:
                async with locks[job.dataset]:
                    run = await _run(job, moment, state)
                if not run.busy:
                    continue
            wait = (job.due_after(now) - now).total_seconds()
            await anyio.sleep(min(max(wait, 0.05), _LONGEST_WAIT_SECONDS))

    for job in jobs:
        if str(job.path) not in state.runs:
            state.note(job.path, LastRun(datetime.now(UTC)))
    async with anyio.create_task_group() as tasks:
        for job in jobs:
            tasks.start_soon(keep, job)


async def _run(job: Job, moment: datetime, state: State) -> LastRun:
    before = state.runs[str(job.path)]
    started = datetime.now(UTC)
    state.note(job.path, LastRun(moment, started))
    _logger.info("%s %s begins, due at %s", job.command, job.path, moment.isoformat())
    status, output, errors = await _end_of(job)
    said = errors.strip().splitlines()
    summary = (said[-1] if said else "")[:_LONGEST_SUMMARY]
    busy = status == _BUSY
    run = LastRun(before.due if busy else moment, started, datetime.now(UTC), status, summary, busy)
    state.note(job.path, run)
    if busy and before.busy:
        return run  # that it waits was told when it began to
    failed = status != 0 and not busy
    level = logging.WARNING if failed else logging.INFO
    _logger.log(level, "%s %s ended with %d: %s", job.command, job.path, status, run.summary)
    facts: dict[str, Any] = {
        **asdict(run),
        **{name: at.isoformat() for name, at in (("due", moment), ("started", started))},
        "ended": datetime.now(UTC).isoformat(),
        "configuration": str(job.path),
        "command": job.command,
        "dataset": job.dataset,
        "failed": failed,
        "result": _object(output),
    }
    await tell(job.schedule, facts)
    return run


async def _end_of(job: Job) -> tuple[int, bytes, str]:
    command = [sys.executable, "-c", _ENTRY, job.command, str(job.path), "--json"]
    kept: dict[str, bytearray] = {"out": bytearray(), "err": bytearray()}
    async with await anyio.open_process(command, stdin=subprocess.DEVNULL, start_new_session=True) as process:

        async def keep(name: str, stream: Any) -> None:
            async for chunk in stream:
                kept[name].extend(chunk)
                del kept[name][:-_KEPT_OUTPUT]

        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(keep, "out", process.stdout)
                tasks.start_soon(keep, "err", process.stderr)
            status = await process.wait()
        except BaseException:
            with suppress(ProcessLookupError), anyio.CancelScope(shield=True):
                process.terminate()
                with anyio.move_on_after(_STOPPING_SECONDS):
                    await process.wait()
            raise
    return status, bytes(kept["out"]), kept["err"].decode("utf-8", "replace")


def _object(output: bytes) -> dict[str, Any] | None:
    """What `--json` printed, if it did."""
    try:
        found = json.loads(output)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
