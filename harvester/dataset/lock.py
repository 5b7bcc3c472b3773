"""One crawl at a time: a lock that the kernel frees when its holder dies."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from harvester.dataset.names import LOCK
from harvester.errors import DatasetError

_MAXIMUM_NOTE = 1000


@dataclass(frozen=True, slots=True)
class Lock:
    """Proof that this process holds the dataset, for what may only run then."""

    root: Path


@contextmanager
def hold_lock(root: Path) -> Iterator[Lock]:
    """Hold a dataset for one crawl while the block runs.

    The lock is on the open file, so `kill -9` frees it. A process forked while it is held shares
    it: the dataset stays locked until the last of them is gone, and so no orphan writes into the
    next crawl.

    Raises:
        DatasetError: Another process holds it (the message says which), or it cannot be made.
    """
    path = root / LOCK
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise DatasetError(f"{path}: cannot be opened ({error.strerror})") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, _MAXIMUM_NOTE, 0).decode("utf-8", "replace").strip()
            raise DatasetError(
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
        yield Lock(root)
    finally:
        os.close(descriptor)
