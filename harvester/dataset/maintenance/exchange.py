"""Two folders change places at one stroke, so that whoever looks finds the one or the other."""

import ctypes
import errno
import os
import sys
from functools import cache
from pathlib import Path
from typing import Any, Final

from harvester.errors import DatasetError

# linux/fs.h and fcntl.h
_RENAME_EXCHANGE: Final = 2
_AT_FDCWD: Final = -100


def exchange(one: Path, other: Path) -> None:
    """Let two files or folders of one file system change places.

    Raises:
        DatasetError: The file system or the operating system cannot, or one of them is not there.
    """
    renameat2 = _renameat2()
    if renameat2 is None:
        raise DatasetError(
            f"{one}: {sys.platform} has no way to exchange two folders at one stroke; compact on Linux"
        )
    if renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) != 0:
        number = ctypes.get_errno()
        if number in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            raise DatasetError(
                f"{one}: this file system cannot exchange two folders at one stroke; "
                "copy the dataset to a local disk and compact it there"
            )
        raise DatasetError(f"{one}: cannot change places with {other} ({os.strerror(number)})")


@cache
def _renameat2() -> Any:
    return getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if sys.platform == "linux" else None
