"""The differences between Linux, macOS and Windows, in one place."""

import os
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

# msvcrt locks bytes, not files: this one, far behind the text of a lock file, which stays readable.
_LOCKED_BYTE = 1 << 30
_POSITIONED = threading.Lock()


def is_windows() -> bool:
    """Whether this is Windows."""
    return sys.platform == "win32"


def open_flags(*names: str) -> int:
    """These flags of `os.open`, as far as the platform has them; files are never opened as text."""
    flags = 0
    for name in (*names, "O_CLOEXEC", "O_BINARY"):
        flags |= getattr(os, name, 0)
    return flags


def read_at(descriptor: int, length: int, offset: int) -> bytes:
    """Read from an offset of an open file; on Windows its position changes."""
    if hasattr(os, "pread"):
        return os.pread(descriptor, length, offset)
    with _POSITIONED:
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.read(descriptor, length)


def lock_file(descriptor: int) -> None:
    """Lock an open file for this process and those that inherit it, until the last of them has closed it.

    Raises:
        BlockingIOError: Another process holds the lock.
        OSError: The file system has no locks.
    """
    if not is_windows():
        fcntl: Any = import_module("fcntl")
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    msvcrt: Any = import_module("msvcrt")
    os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
    try:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    except PermissionError as error:
        raise BlockingIOError(error.errno, "the file is locked") from None


def has_ended(process: int) -> bool:
    """Whether a process of this machine has ended; False if that cannot be found out."""
    if is_windows():
        return False  # there, signal 0 is Ctrl-C
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False  # another user's
    try:
        status = Path(f"/proc/{process}/stat").read_bytes()
    except OSError:
        return False  # not Linux
    return status.rpartition(b")")[2].split()[:1] == [b"Z"]


def after_fork_in_child(function: Callable[[], None]) -> None:
    """Call a function in each forked child; Windows has no fork."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=function)


def is_link(path: str) -> bool:
    """Whether a path is a symbolic link, or a junction of Windows."""
    attributes = getattr(os.lstat(path), "st_file_attributes", 0)
    return Path(path).is_symlink() or bool(attributes & 0x400)  # FILE_ATTRIBUTE_REPARSE_POINT


def cpu_seconds() -> float:
    """CPU time of this process and of its children that have ended."""
    return sum(os.times()[:4])


def descriptor_limits() -> tuple[float, float] | None:
    """The soft and the hard limit of open files, infinite where there is none; None: not on this platform."""
    if is_windows():
        return None
    resource: Any = import_module("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return tuple(float("inf") if one == resource.RLIM_INFINITY else one for one in (soft, hard))  # type: ignore[return-value]


def raise_descriptor_limit(soft: int) -> bool:
    """Set the soft limit of open files; False if that is not allowed."""
    resource: Any = import_module("resource")
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    except (OSError, ValueError):
        return False
    return True
