"""File operations below a folder that follow no symbolic link, by directory descriptors."""

import ctypes
import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# RENAME_EXCHANGE of linux/fs.h, RENAME_SWAP of macOS's sys/stdio.h: the same number.
_EXCHANGE: Final = 2
_CANNOT_EXCHANGE: Final = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.ENOENT)


@contextmanager
def open_folder(root: Path, path: str, *, create: bool = False) -> Iterator[int]:
    """Open a folder below a root; no step of the way may be a link.

    Args:
        root: An absolute path; links in it are the user's own and are followed.
        path: Relative to it, with `/`.
        create: Make what is missing.

    Raises:
        OSError: A folder is missing (then a FileNotFoundError), or a link or a file is in its place.
    """
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in path.split("/") if path else ():
            if name in ("", ".", ".."):
                raise OSError(errno.EINVAL, "not a path within the dataset", path)
            inner = _open_step(descriptor, name, create=create)
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def open_parent(root: Path, path: str, *, create: bool = False) -> Iterator[tuple[int, str]]:
    """Open the folder of a file as `open_folder` does; yields its descriptor and the file's name.

    Raises:
        OSError: As for `open_folder`; or the file itself is a link.
    """
    folder, _, name = path.rpartition("/")
    with open_folder(root, folder, create=create) as descriptor:
        if name in ("", ".", ".."):
            raise OSError(errno.EINVAL, "not a path within the dataset", path)
        if is_link(descriptor, name):
            raise OSError(errno.ELOOP, "is a symbolic link, which is not followed", path)
        yield descriptor, name


def is_link(descriptor: int, name: str) -> bool:
    """Whether an entry of an open folder is a symbolic link."""
    try:
        os.readlink(name, dir_fd=descriptor)
    except OSError:
        return False
    return True


def list_names(descriptor: int) -> list[str]:
    """The names in an open folder."""
    with os.scandir(descriptor) as entries:
        return [entry.name for entry in entries]


def exchange_folders(root: Path, one: str, other: str) -> None:
    """Let two folders below a root change places: atomically where the system can, else by two renames.

    A process that is killed between the two renames leaves `one` under the name `one.aside`; the same call
    completes the exchange.

    Raises:
        OSError: `one` is missing, or the file system refuses; `other` may be missing.
    """
    with (
        open_parent(root, one) as (from_folder, from_name),
        open_parent(root, other, create=True) as (to_folder, to_name),
    ):
        aside = f"{from_name}.aside"
        interrupted = aside in list_names(from_folder)
        if not interrupted and _exchange(from_folder, from_name, to_folder, to_name):
            return
        if not interrupted:
            os.rename(from_name, aside, src_dir_fd=from_folder, dst_dir_fd=from_folder)
        if to_name in list_names(to_folder):
            os.rename(to_name, from_name, src_dir_fd=to_folder, dst_dir_fd=from_folder)
        os.rename(aside, to_name, src_dir_fd=from_folder, dst_dir_fd=to_folder)


def _open_step(descriptor: int, name: str, *, create: bool) -> int:
    try:
        return os.open(name, _FOLDER, dir_fd=descriptor)
    except FileNotFoundError:
        if not create:
            raise
        with suppress(FileExistsError):  # another process made it
            os.mkdir(name, dir_fd=descriptor)
        return os.open(name, _FOLDER, dir_fd=descriptor)


def _exchange(from_folder: int, from_name: str, to_folder: int, to_name: str) -> bool:
    """Exchange atomically; False where the system or the file system cannot."""
    call = exchange_call()
    names = os.fsencode(from_name), os.fsencode(to_name)
    if call is None:
        return False
    if call(from_folder, names[0], to_folder, names[1], _EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _CANNOT_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number), to_name)


@cache
def exchange_call() -> Any:
    """The system call that exchanges two names, which takes both platforms' arguments alike; None: none."""
    name = {"linux": "renameat2", "darwin": "renameatx_np"}.get(sys.platform, "")
    return getattr(ctypes.CDLL(None, use_errno=True), name, None) if name else None
