"""Runs due jobs, each in a subprocess, with the command that a user would type."""

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

from harvester.messages import count
from harvester.schedule.job import Job
from harvester.schedule.notification import notify
from harvester.schedule.state import LastRun, State

_logger = logging.getLogger("harvester")

_BUSY: Final = 75  # EX_TEMPFAIL of sysexits.h
_ENTRY: Final = f"from harvester.cli import main; main(busy={_BUSY})"
# The clock can be set and the machine can sleep, so due times are checked again after this time.
_MAX_WAIT_SECONDS: Final = 60.0
_MAX_SUMMARY: Final = 2000
_MAX_OUTPUT: Final = 1 << 20
# Time for a run to commit finished shards when the schedule stops.
_STOPPING_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A job with its finished run."""

    job: Job
    run: LastRun


def due(job: Job, state: State, now: datetime) -> datetime | None:
    """The due time for which a job must run now; None if it is not due.

    Of several missed times it is the last one. A new job has missed none.
    """
    last = state.runs.get(str(job.path))
    if last is None:
        return None
    moment = job.due_before(now)
    return moment if moment > last.due else None


async def run_due(jobs: Sequence[Job], state: State) -> list[FinishedRun]:
    """Run each job that is due or was missed once; a new job waits for its next due time.

    Raises:
        ConfigError: The state file cannot be written.
    """
    finished = []
    now = datetime.now(UTC)
    for job in jobs:
        moment = due(job, state, now)
        if moment is not None:
            finished.append(FinishedRun(job, await _run(job, moment, state)))
        elif str(job.path) not in state.runs:
            state.record(job.path, LastRun(now))
    return finished


async def run_forever(jobs: Sequence[Job], state: State, max_wait_seconds: float = _MAX_WAIT_SECONDS) -> None:
    """Run each job when it is due, until cancelled; jobs of one dataset run one after the other.

    Args:
        jobs: All jobs.
        state: Their last runs.
        max_wait_seconds: Time after which due times are checked again.

    Raises:
        ConfigError: The state file cannot be written.
    """
    locks: defaultdict[str, anyio.Lock] = defaultdict(anyio.Lock)

    async def run_when_due(job: Job) -> None:
        while True:
            now = datetime.now(UTC)
            moment = due(job, state, now)
            if moment is not None:
                async with locks[job.dataset]:
                    run = await _run(job, moment, state)
                if not run.busy:
                    continue
            wait = (job.due_after(now) - now).total_seconds()
            await anyio.sleep(min(max(wait, 0.05), max_wait_seconds))

    for job in jobs:
        if str(job.path) not in state.runs:
            state.record(job.path, LastRun(datetime.now(UTC)))
    async with anyio.create_task_group() as tasks:
        for job in jobs:
            tasks.start_soon(run_when_due, job)


async def _run(job: Job, moment: datetime, state: State) -> LastRun:
    before = state.runs[str(job.path)]
    started = datetime.now(UTC)
    state.record(job.path, LastRun(moment, started))
    _logger.info("%s %s starts, due at %s", job.command, job.path, moment.isoformat())
    status, output, errors = await _execute(job)
    result = _json_object(output)
    summary = _summary(result, errors)[:_MAX_SUMMARY]
    busy = status == _BUSY
    run = LastRun(before.due if busy else moment, started, datetime.now(UTC), status, summary, busy)
    state.record(job.path, run)
    if busy and before.busy:
        return run  # the first busy run was reported
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
        "result": result,
    }
    await notify(job.schedule, facts)
    return run


async def _execute(job: Job) -> tuple[int, bytes, str]:
    command = [sys.executable, "-c", _ENTRY, job.command, str(job.path), "--json"]
    output: dict[str, bytearray] = {"out": bytearray(), "err": bytearray()}
    async with await anyio.open_process(command, stdin=subprocess.DEVNULL, start_new_session=True) as process:

        async def read(name: str, stream: Any) -> None:
            async for chunk in stream:
                output[name].extend(chunk)
                del output[name][:-_MAX_OUTPUT]

        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read, "out", process.stdout)
                tasks.start_soon(read, "err", process.stderr)
            status = await process.wait()
        except BaseException:
            with suppress(ProcessLookupError), anyio.CancelScope(shield=True):
                process.terminate()
                with anyio.move_on_after(_STOPPING_SECONDS):
                    await process.wait()
            raise
    return status, bytes(output["out"]), output["err"].decode("utf-8", "replace")


def _summary(result: dict[str, Any] | None, errors: str) -> str:
    """What a run did, by its `--json`; without one, its last line on stderr."""
    if result is not None and isinstance(result.get("rules"), list):
        violated = [f"{one['name']} ({one['violations']:,})" for one in result["rules"] if one.get("level")]
        return f"violated: {', '.join(violated)}" if violated else "no rule is violated"
    if result is not None and {"instances", "failures", "skipped"} <= result.keys():
        done = f"{count(result['instances'], 'instance')}, {count(result['failures'], 'failure')}"
        return f"{done}, {result['skipped']:,} already there"
    lines = errors.strip().splitlines()
    return lines[-1] if lines else ""


def _json_object(output: bytes) -> dict[str, Any] | None:
    """The output of `--json`, if there is any."""
    try:
        found = json.loads(output)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
