"""Runs commands of the program as on Windows, as far as Linux can play it.

POSIX modules, functions and flags are hidden, file operations refuse directory descriptors, event loops
know no signals, and `sys.platform` is `win32`. Paths with drives and backslashes, the locks of msvcrt and
what Windows itself does are not simulated. The argument is a JSON list of command lines; after each a line
has its exit status.
"""

import asyncio
import fcntl
import json
import os
import shutil
import signal
import ssl
import sys
from importlib import import_module
from types import ModuleType
from typing import Any

POSIX = (
    *("O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "fork", "getuid", "pread", "preadv", "pwrite"),
    *("register_at_fork", "sched_getaffinity"),
)
WITH_DESCRIPTORS = ("open", "unlink", "replace", "rename", "mkdir", "rmdir", "stat", "link", "readlink")
COMMANDS = ("crawl", "demo", "doctor", "frames", "header", "plan", "report", "sql")


def import_what_is_not_harvesters() -> None:
    """Load the libraries while the platform is still Linux; the program itself is loaded later."""
    for name in COMMANDS:
        import_module(f"harvester.cli.{name}")
    for name in ("harvester.audits.report.page", "harvester.reader", "pandas", "harvester.engine.crawl"):
        import_module(name)
    for name in [name for name in sys.modules if name.partition(".")[0] == "harvester"]:
        del sys.modules[name]


def hide_posix() -> None:
    """Take away what Windows lacks."""
    locks = ModuleType("msvcrt")
    locks.LK_NBLCK = 2  # type: ignore[attr-defined]

    def locking(descriptor: int, _mode: int, _length: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PermissionError(error.errno, "Permission denied") from None

    locks.locking = locking  # type: ignore[attr-defined]
    sys.modules.update({"fcntl": None, "resource": None, "msvcrt": locks})  # type: ignore[dict-item]
    for name in WITH_DESCRIPTORS:
        setattr(os, name, without_descriptors(getattr(os, name)))
    os.scandir = without_descriptors(os.scandir)  # type: ignore[misc]
    for name in POSIX:
        delattr(os, name)
    for name in ("SIGHUP", "SIGKILL"):
        delattr(signal, name)
    shutil._use_fd_functions = False  # type: ignore[attr-defined]
    asyncio.BaseEventLoop.add_signal_handler = no_signals  # type: ignore[assignment]
    asyncio.SelectorEventLoop.add_signal_handler = no_signals  # type: ignore[method-assign,assignment]
    ssl.enum_certificates = lambda _: ()  # type: ignore[attr-defined]
    sys.platform = "win32"


def without_descriptors(function: Any) -> Any:
    def called(*arguments: Any, **named: Any) -> Any:
        if any(value is not None for name, value in named.items() if name.endswith("dir_fd")):
            raise NotImplementedError("dir_fd unavailable on this platform")
        if function.__name__ == "scandir" and arguments and isinstance(arguments[0], int):
            raise TypeError("scandir: path should be string, bytes, os.PathLike or None, not int")
        if function.__name__ == "open" and os.path.isdir(arguments[0]):  # noqa: PTH112
            raise PermissionError(13, "Permission denied", arguments[0])
        return function(*arguments, **named)

    called.__name__ = function.__name__
    return called


def no_signals(*_: Any) -> None:
    raise NotImplementedError


def main() -> None:
    """Run the commands."""
    commands = json.loads(sys.argv[1])
    import_what_is_not_harvesters()
    hide_posix()
    run = import_module("harvester.cli.main").main
    for command in commands:
        sys.argv = ["harvester", *command]
        try:
            run()
        except SystemExit as end:
            sys.stdout.flush()
            sys.stderr.flush()
            sys.stdout.write(f"\n== {command[0]}: {end.code}\n")


if __name__ == "__main__":
    main()
