"""Runs the program in a process of its own; its exit status and output."""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

COMMAND = [sys.executable, "-c", "from harvester.cli import main; main()"]
_SECONDS: Final = 300

# What most commands import: a process forked from one that has it starts twenty times faster.
_FORKED: Final = multiprocessing.get_context("forkserver")
_FORKED.set_forkserver_preload(
    ["harvester.cli.audit", "harvester.cli.crawl", "harvester.cli.main", "harvester.cli.sql"]
)


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
        stdout, stderr = process.communicate(timeout=_SECONDS)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    return Ended(process.returncode, stdout, stderr)


def run(*arguments: str | Path, cwd: Path | None = None, **environment: str) -> Ended:
    """Run the program to its end, in a process forked from one that has imported it.

    What Python and the loader read from the environment at their start is that of the first process: `start`
    starts the program anew.
    """
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "COLUMNS": "200", **environment}
        process = _FORKED.Process(
            target=_run_forked, args=(folder, [*map(str, arguments)], environment, str(cwd or Path.cwd()))
        )
        process.start()
        try:
            process.join(_SECONDS)
            if process.exitcode is None:
                raise subprocess.TimeoutExpired([*map(str, arguments)], _SECONDS)
        finally:
            process.kill()
            process.join()
        stdout, stderr = ((Path(folder) / name).read_text(encoding="utf-8") for name in ("stdout", "stderr"))
        return Ended(process.exitcode, stdout, stderr)


def _run_forked(folder: str, arguments: list[str], environment: dict[str, str], cwd: str) -> None:
    for number, name in enumerate(("stdout", "stderr"), 1):
        opened = (Path(folder) / name).open("w", encoding="utf-8")
        os.dup2(opened.fileno(), number)
        setattr(sys, name, opened)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv = ["harvester", *arguments]
    from harvester.cli import main  # noqa: PLC0415  here it is imported already

    main()
