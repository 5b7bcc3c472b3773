"""Finds and ends processes that a test has left running, also orphans and those in sessions of their own."""

import gc
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

_SESSION = "HARVESTER_TEST_SESSION"


def mark_session() -> None:
    """Mark this process's environment, which its descendants inherit."""
    os.environ[_SESSION] = uuid4().hex


def end_processes_of(test: str) -> list[int]:
    """Kill the processes that a test's call has started; those of its fixtures end with the fixtures.

    Needs Linux's /proc; elsewhere none is found.
    """
    found = list(_processes_of(test))
    for process in found:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    if found:
        _forget(found)
    return found


def _forget(found: list[int]) -> None:
    """Close the Popen objects of ended processes, whose destructors would warn in a later test."""
    for one in gc.get_objects():
        if isinstance(one, subprocess.Popen) and one.pid in found:
            one.wait()
            for stream in (one.stdin, one.stdout, one.stderr):
                if stream is not None:
                    with suppress(OSError):
                        stream.close()


def _processes_of(test: str) -> Iterator[int]:
    marks = {f"{_SESSION}={os.environ.get(_SESSION)}".encode(), f"PYTEST_CURRENT_TEST={test} (call)".encode()}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if marks <= set((folder / "environ").read_bytes().split(b"\0")):
                yield int(folder.name)
