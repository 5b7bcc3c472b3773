"""Runs a program on chosen cores and measures its CPU time, as the operating system counts it."""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
HARVESTER = (sys.executable, "-c", "from harvester.cli import main; main()")


@dataclass(frozen=True)
class Spent:
    """CPU and wall clock seconds of a program and of all its children, and what it printed."""

    cpu: float
    wall: float
    output: str


def run(
    command: Sequence[str], *, cores: Sequence[int] | None = None, watch: Callable[[int], None] | None = None
) -> Spent:
    """Run a program to its end.

    Args:
        command: The program and its arguments.
        cores: The cores that it may run on; None means any.
        watch: Called every half second with the program's process ID.

    Raises:
        RuntimeError: It failed.
    """
    there = set(cores) & os.sched_getaffinity(0) if cores is not None else set()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(
            list(command),
            stdout=output,
            stderr=errors,
            preexec_fn=(lambda: os.sched_setaffinity(0, there)) if there else None,  # noqa: PLW1509
        )
        while watch is not None and child.poll() is None:
            watch(child.pid)
            time.sleep(0.5)
        status = child.wait()
        wall = time.perf_counter() - started
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        output.seek(0)
        text = output.read().decode()
        if status != 0:
            errors.seek(0)
            complaint = errors.read().decode(errors="replace")[-1500:]
            raise RuntimeError(f"{' '.join(command)[:200]} ended with status {status}: {complaint}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Spent(cpu, wall, text)
