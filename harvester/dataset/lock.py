"""The lock of a dataset in a directory: one writer at a time, released by the kernel when its holder ends."""

import os
import re
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from harvester.config.operating_system import has_ended, lock_file, read_at
from harvester.dataset.no_follow import open_parent
from harvester.dataset.paths import LOCK
from harvester.errors import DatasetBusyError, DatasetError

_MAXIMUM_NOTE: Final = 1000
_HOLDER: Final = re.compile(r"process (\d+) on (\S+) since")

# The worker processes of a killed crawl hold its lock until they have ended.
ORPHANS_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True)
class Lock:
    """Proof that this process holds the dataset.

    Attributes:
        location: The dataset's.
        descriptor: The open lock file: a process that inherits it keeps a local dataset locked until it ends.
        token: What identifies the lock while it is this holder's, for `Storage.confirm`.
    """

    location: str
    descriptor: int
    token: str | None = None


@contextmanager
def hold_lock(root: Path) -> Iterator[Lock]:
    """Hold a dataset for one crawl while the block runs.

    The lock belongs to the open file, so `kill -9` releases it. Processes that inherit the open file share
    it: the dataset stays locked until the last of them has ended. The next crawl waits a few seconds for
    the worker processes of a killed one.

    Raises:
        DatasetBusyError: Another process holds it; the message names it.
        DatasetError: The lock file cannot be made, or is a link.
    """
    path = root / LOCK
    descriptor = _open(root)
    try:
        try:
            _acquire(descriptor)
        except BlockingIOError as error:
            holder = _note(descriptor)
            raise DatasetBusyError(
                f"{root}: another crawl is writing this dataset ({holder or 'just started'}); "
                "wait for its end, or stop it, or crawl into another dataset"
            ) from error
        except OSError as error:
            raise DatasetError(f"{path}: this file system has no locks ({error.strerror})") from error
        note = (
            f"process {os.getpid()} on {socket.gethostname()} since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
        )
        token = _identity(os.fstat(descriptor))
        confirm_lock(root, token)  # before anything is written into the file
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, note.encode())
        yield Lock(str(root), descriptor, token)
    finally:
        os.close(descriptor)


def confirm_lock(root: Path, token: str) -> None:
    """Check that a dataset's lock file is the one that was locked.

    Raises:
        DatasetError: It was removed or replaced: another crawl can hold the dataset.
    """
    try:
        with open_parent(root, LOCK) as (parent, name):
            found = _identity(parent.status(name))
    except OSError as error:
        found = error.strerror or str(error)
    if found != token:
        raise DatasetError(
            f"{root / LOCK}: this process has lost the dataset's lock: the file was removed or replaced "
            "while it was held; what was committed stays: start the command again"
        )


def _open(root: Path) -> int:
    try:
        with open_parent(root, LOCK, create=True) as (parent, name):
            descriptor = parent.open(name, "O_RDWR", "O_CREAT", "O_NONBLOCK", mode=0o644)
    except OSError as error:
        raise DatasetError(f"{root / LOCK}: cannot be opened ({error.strerror})") from error
    note = _note(descriptor) if stat.S_ISREG(os.fstat(descriptor).st_mode) else "not a file"
    if not note or _HOLDER.match(note):
        return descriptor
    os.close(descriptor)
    raise DatasetError(f"{root / LOCK}: is not a lock file of harvester; move it away")


def _identity(status: os.stat_result) -> str:
    """The inode: while the file is open no other one has its number, on any machine that sees it."""
    return str(status.st_ino)


def _acquire(descriptor: int) -> None:
    deadline = time.monotonic() + ORPHANS_SECONDS
    while True:
        try:
            lock_file(descriptor)
        except BlockingIOError:
            if time.monotonic() > deadline or not _holder_is_gone(_note(descriptor)):
                raise
            time.sleep(_POLL_SECONDS)
        else:
            return


def _note(descriptor: int) -> str:
    return read_at(descriptor, _MAXIMUM_NOTE, 0).decode("utf-8", "replace").strip()


def _holder_is_gone(note: str) -> bool:
    """Whether the process that wrote the note has ended, as far as this machine can see."""
    holder = _HOLDER.match(note)
    if holder is None or holder[2] != socket.gethostname():
        return False
    return has_ended(int(holder[1]))
