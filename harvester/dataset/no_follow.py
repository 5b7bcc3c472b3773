"""File operations below a folder that follow no symbolic link."""

import ctypes
import errno
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Final, Self

from harvester.config.operating_system import is_link as is_link_at
from harvester.config.operating_system import is_windows, open_flags

# RENAME_EXCHANGE of linux/fs.h, RENAME_SWAP of macOS's sys/stdio.h: the same number.
_EXCHANGE: Final = 2
_CANNOT_EXCHANGE: Final = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.ENOENT)


class Folder:
    """An open folder: its entries are reached by its descriptor, on Windows, which has none, by its path.

    Args:
        descriptor: The descriptor; None on Windows.
        path: The absolute path.
    """

    def __init__(self, descriptor: int | None, path: str) -> None:
        self.descriptor = descriptor
        self.path = path

    @classmethod
    def root(cls, path: str) -> Self:
        """Open a folder; links in its path are followed."""
        if is_windows():
            next(Path(path).iterdir(), None)  # raises the errors of opening it
            return cls(None, path)
        return cls(os.open(path, open_flags("O_RDONLY", "O_DIRECTORY")), path)

    def close(self) -> None:
        """Close the descriptor."""
        if self.descriptor is not None:
            os.close(self.descriptor)

    def open_folder(self, name: str) -> "Folder":
        """Open a folder in this one.

        Raises:
            OSError: It is missing, or a link or a file is in its place.
        """
        path = str(Path(self.path, name))
        if self.descriptor is None:
            if is_link_at(path):
                raise OSError(errno.ELOOP, "is a link, which is not followed", path)
            return Folder.root(path)
        flags = open_flags("O_RDONLY", "O_DIRECTORY", "O_NOFOLLOW")
        return Folder(os.open(name, flags, dir_fd=self.descriptor), path)

    def open(self, name: str, *flags: str, mode: int = 0o666) -> int:
        """Open a file that is not a link; returns its descriptor."""
        return os.open(self.at(name), open_flags(*flags, "O_NOFOLLOW"), mode, dir_fd=self.descriptor)

    def make_folder(self, name: str) -> None:
        """Make a folder."""
        os.mkdir(self.at(name), dir_fd=self.descriptor)

    def rename(self, name: str, target: "Folder", new: str) -> None:
        """Rename an entry, and replace the target."""
        rename = os.replace if self.descriptor is None else os.rename
        rename(self.at(name), target.at(new), src_dir_fd=self.descriptor, dst_dir_fd=target.descriptor)

    def link(self, name: str, target: "Folder", new: str) -> None:
        """Give a file a second name."""
        if self.descriptor is None:
            os.link(self.at(name), target.at(new))
        else:
            os.link(
                name, new, src_dir_fd=self.descriptor, dst_dir_fd=target.descriptor, follow_symlinks=False
            )

    def remove(self, name: str) -> None:
        """Remove a file."""
        os.unlink(self.at(name), dir_fd=self.descriptor)

    def remove_folder(self, name: str) -> None:
        """Remove an empty folder."""
        os.rmdir(self.at(name), dir_fd=self.descriptor)

    def status(self, name: str) -> os.stat_result:
        """The status of an entry; a link is not followed."""
        return os.stat(self.at(name), dir_fd=self.descriptor, follow_symlinks=False)

    def is_link(self, name: str) -> bool:
        """Whether an entry is a symbolic link."""
        try:
            os.readlink(self.at(name), dir_fd=self.descriptor)
        except OSError:
            return False
        return True

    def scan(self) -> "AbstractContextManager[Iterator[os.DirEntry[str]]]":
        """The entries."""
        return os.scandir(self.path if self.descriptor is None else self.descriptor)

    def names(self) -> list[str]:
        """The names of the entries."""
        with self.scan() as entries:
            return [entry.name for entry in entries]

    def sync(self) -> None:
        """Sync the names to the disk, where that is possible."""
        if self.descriptor is not None:
            os.fsync(self.descriptor)

    def at(self, name: str) -> str:
        """An entry's path, relative to the descriptor if there is one."""
        return str(Path(self.path, name)) if self.descriptor is None else name


@contextmanager
def open_folder(root: Path, path: str, *, create: bool = False) -> Iterator[Folder]:
    """Open a folder below a root; no step of the way may be a link.

    Args:
        root: An absolute path; links in it are the user's own and are followed.
        path: Relative to it, with `/`.
        create: Make what is missing.

    Raises:
        OSError: A folder is missing (then a FileNotFoundError), or a link or a file is in its place.
    """
    folder: Folder = Folder.root(str(root))
    try:
        for name in path.split("/") if path else ():
            if name in ("", ".", ".."):
                raise OSError(errno.EINVAL, "not a path within the dataset", path)
            inner = _open_step(folder, name, create=create)
            folder.close()
            folder = inner
        yield folder
    finally:
        folder.close()


@contextmanager
def open_parent(root: Path, path: str, *, create: bool = False) -> Iterator[tuple[Folder, str]]:
    """Open the folder of a file as `open_folder` does; yields it and the file's name.

    Raises:
        OSError: As for `open_folder`; or the file itself is a link.
    """
    above, _, name = path.rpartition("/")
    with open_folder(root, above, create=create) as folder:
        if name in ("", ".", ".."):
            raise OSError(errno.EINVAL, "not a path within the dataset", path)
        if folder.is_link(name):
            raise OSError(errno.ELOOP, "is a symbolic link, which is not followed", path)
        yield folder, name


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
        interrupted = aside in from_folder.names()
        if not interrupted and _exchange(from_folder, from_name, to_folder, to_name):
            return
        if not interrupted:
            from_folder.rename(from_name, from_folder, aside)
        if to_name in to_folder.names():
            to_folder.rename(to_name, from_folder, from_name)
        from_folder.rename(aside, to_folder, to_name)


def _open_step(folder: Folder, name: str, *, create: bool) -> Folder:
    try:
        return folder.open_folder(name)
    except FileNotFoundError:
        if not create:
            raise
        with suppress(FileExistsError):  # another process made it
            folder.make_folder(name)
        return folder.open_folder(name)


def _exchange(from_folder: Folder, from_name: str, to_folder: Folder, to_name: str) -> bool:
    """Exchange atomically; False where the system or the file system cannot."""
    call = exchange_call()
    names = os.fsencode(from_name), os.fsencode(to_name)
    if call is None:
        return False
    if call(from_folder.descriptor, names[0], to_folder.descriptor, names[1], _EXCHANGE) == 0:
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
