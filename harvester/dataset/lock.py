"""One crawl at a time: a lock that the kernel frees when its holder dies."""

import fcntl
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from harvester.dataset.paths import LOCK
from harvester.errors import DatasetBusyError, DatasetError

_MAXIMUM_NOTE = 1000
_HOLDER = re.compile(r"process (\d+) on (\S+) since")

# The processes of a crawl that was killed hold its lock for the moment that they take to end.
_ORPHANS_SECONDS: Final = 10.0
_LOOK_AGAIN_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True)
class Lock:
    """Proof that this process holds the dataset, for what may only run then.

    Whoever holds the open file `descriptor`, too, keeps a local dataset locked until it is gone. Of one
    in a bucket `token` is what its lock says while it is this holder's.
    """

    location: str
    descriptor: int
    token: str | None = None


@contextmanager
def hold_lock(root: Path) -> Iterator[Lock]:
    """Hold a dataset for one crawl while the block runs.

    The lock is on the open file, so `kill -9` frees it. A process that has the same open file shares
    it: the dataset stays locked until the last of them is gone, and so no orphan writes into the
    next crawl, which waits for the end of such orphans for a few seconds.

    Raises:
        DatasetBusyError: Another process holds it; the message says which.
        DatasetError: It cannot be made.
    """
    path = root / LOCK
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise DatasetError(f"{path}: cannot be opened ({error.strerror})") from error
    try:
        try:
            _take(descriptor)
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
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, note.encode(), 0)
        yield Lock(str(root), descriptor)
    finally:
        os.close(descriptor)


def _take(descriptor: int) -> None:
    deadline = time.monotonic() + _ORPHANS_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline or not _holder_is_gone(_note(descriptor)):
                raise
            time.sleep(_LOOK_AGAIN_SECONDS)
        else:
            return


def _note(descriptor: int) -> str:
    return os.pread(descriptor, _MAXIMUM_NOTE, 0).decode("utf-8", "replace").strip()


def _holder_is_gone(note: str) -> bool:
    """Whether the process that wrote the note has ended, as far as this machine can tell."""
    holder = _HOLDER.match(note)
    if holder is None or holder[2] != socket.gethostname():
        return False
    return is_gone(int(holder[1]))


def is_gone(process: int) -> bool:
    """Whether a process of this machine has ended."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False  # another user's
    return _is_zombie(process)


def _is_zombie(process: int) -> bool:
    try:
        status = Path(f"/proc/{process}/stat").read_bytes()
    except OSError:
        return False  # not Linux
    return status.rpartition(b")")[2].split()[:1] == [b"Z"]
