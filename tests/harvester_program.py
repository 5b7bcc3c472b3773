"""Runs the program in its own process; its exit status and output."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

COMMAND = [sys.executable, "-c", "from harvester.cli import main; main()"]


@dataclass(frozen=True)
class Ended:
    """The result of a run."""

    status: int
    stdout: str
    stderr: str


def start(*arguments: str | Path, cwd: Path | None = None, **environment: str) -> "subprocess.Popen[str]":
    """Start the program."""
    return start_command([*COMMAND, *map(str, arguments)], cwd=cwd, **environment)


def start_command(command: list[str], cwd: Path | None = None, **environment: str) -> "subprocess.Popen[str]":
    """Start a command that contains the program."""
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "200", **environment},
    )


def ended(process: "subprocess.Popen[str]") -> Ended:
    """Wait for the end."""
    try:
        stdout, stderr = process.communicate(timeout=300)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    return Ended(process.returncode, stdout, stderr)


def run(*arguments: str | Path, cwd: Path | None = None, **environment: str) -> Ended:
    """Run the program to its end."""
    return ended(start(*arguments, cwd=cwd, **environment))
