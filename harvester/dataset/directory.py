"""A dataset's files in a local directory; no symbolic link below it is followed."""

import os
import secrets
import shutil
from collections.abc import Container, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Self

from harvester.dataset.lock import Lock, confirm_lock, hold_lock
from harvester.dataset.no_follow import Folder, exchange_folders, open_folder, open_parent
from harvester.dataset.paths import GENERATIONS, TEMPORARY, is_owned
from harvester.dataset.storage import Storage
from harvester.errors import DatasetError


@dataclass(frozen=True, slots=True)
class LocalStorage(Storage):
    """A dataset's files in a local directory.

    Attributes:
        root: The directory, resolved.
        token: The lock under which it is written; None: without one.
    """

    root: Path
    token: str | None = None

    @property
    def location(self) -> str:
        """The directory's absolute path."""
        return str(self.root)

    @property
    def folder(self) -> str:
        """The directory's absolute path."""
        return str(self.root)

    def location_of(self, path: str) -> str:
        """The file's absolute path."""
        return f"{self.root}/{path}"

    @property
    def filesystem(self) -> None:
        """The local file system."""
        return

    @property
    def spill(self) -> Path:
        """A folder on the dataset's own disk."""
        return self.root / TEMPORARY

    @property
    def room(self) -> int:
        """Free bytes of the directory's disk."""
        return shutil.disk_usage(self.root).free

    def file(self, path: str) -> str:
        """The file's absolute path."""
        return f"{self.root}/{path}"

    def prepare(self) -> set[str]:
        """Make the directory; return what is in it."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            return {entry.name for entry in self.root.iterdir()}
        except FileExistsError:
            raise DatasetError(self.missing()) from None
        except OSError as error:
            raise DatasetError(f"{self.root}: cannot be made a dataset ({error.strerror})") from error

    def missing(self) -> str:
        """Whether the path is free, a file, or a directory of other things."""
        if self.root.is_file():
            return f"{self.root}: a dataset is a directory, this is a file"
        if not self.root.exists():
            return f"{self.root}: no such dataset; make it by `harvester crawl`, or check the path"
        return ""

    def lock(self) -> AbstractContextManager[Lock]:
        """Hold the dataset by a lock that the kernel releases when its last holder ends."""
        return hold_lock(self.root)

    def under(self, token: str | None) -> Self:
        """The same directory, written under a lock."""
        return replace(self, token=token)

    def confirm(self) -> None:
        """Check that the lock file is still the one that was locked."""
        if self.token is not None:
            confirm_lock(self.root, self.token)

    @contextmanager
    def write(self, path: str) -> Iterator[BinaryIO]:
        """Write beside, sync to the disk, rename."""
        self.require_owned(path)
        temporary = f"{secrets.token_hex(16)}.tmp"
        try:
            with open_folder(self.root, TEMPORARY, create=True) as unfinished:
                try:
                    with self._create(unfinished, temporary) as stream:
                        yield stream
                        stream.flush()
                        os.fsync(stream.fileno())
                    with open_parent(self.root, path, create=True) as (parent, name):
                        unfinished.rename(temporary, parent, name)
                        parent.sync()
                finally:
                    with suppress(FileNotFoundError):
                        unfinished.remove(temporary)
        except OSError as error:
            raise self._refused(path, "cannot be written", error, "; what was committed stays") from error

    def read(self, path: str) -> bytes:
        """Read a whole file."""
        try:
            with open_parent(self.root, path) as (parent, name), self._open(parent, name) as stream:
                return stream.read()
        except OSError as error:
            raise self._refused(path, "cannot be read", error) from error

    def find(self, path: str) -> bytes | None:
        """Read a file; None where there is none."""
        return self.read(path) if self.exists(path) else None

    def exists(self, path: str) -> bool:
        """Whether there is such a file, or a link to one."""
        return (self.root / path).is_file()

    def stamps(self, folder: str) -> dict[str, tuple[int, int]]:
        """Size and modification time of each file; links are not followed."""
        found: dict[str, tuple[int, int]] = {}
        pending = [folder]
        while pending:
            current = pending.pop()
            try:
                with open_folder(self.root, current) as opened, opened.scan() as entries:
                    for entry in entries:
                        path = f"{current}/{entry.name}".removeprefix("/")
                        if entry.is_dir(follow_symlinks=False):
                            pending.append(path)
                        elif entry.is_file(follow_symlinks=False):
                            with suppress(FileNotFoundError):  # deleted meanwhile
                                status = entry.stat(follow_symlinks=False)
                                found[path] = (status.st_size, status.st_mtime_ns)
            except (FileNotFoundError, NotADirectoryError):
                continue  # no such folder, or a link
            except OSError as error:
                raise self._refused(current, "cannot be listed", error) from error
        return found

    def copy(self, path: str, target: str) -> None:
        """Make a hard link; a copy where the file system has none."""
        self.require_owned(path, target)
        try:
            with (
                open_parent(self.root, path) as (parent, name),
                open_parent(self.root, target, create=True) as (folder, new),
            ):
                with suppress(FileNotFoundError):
                    folder.remove(new)
                try:
                    parent.link(name, folder, new)
                except FileNotFoundError:
                    raise
                except OSError:
                    with self._open(parent, name) as source, self._create(folder, new) as stream:
                        shutil.copyfileobj(source, stream)
                        stream.flush()
                        os.fsync(stream.fileno())
        except OSError as error:
            raise self._refused(path, f"cannot be copied to {target}", error) from error

    def rename(self, path: str, target: str) -> None:
        """Rename a file, and sync the folder to the disk."""
        self.require_owned(path, target)
        try:
            with (
                open_parent(self.root, path) as (parent, name),
                open_parent(self.root, target) as (folder, new),
            ):
                parent.rename(name, folder, new)
                folder.sync()
        except OSError as error:
            raise self._refused(path, "cannot be renamed", error) from error

    def replace_folder(
        self, staged: str, folder: str, parts: Sequence[str], replaced: Container[str]
    ) -> None:
        """Exchange the two folders, so that a reader finds the old parts or the new ones.

        A folder that holds other things as well stays: the parts are renamed into it one by one.
        """
        self.require_owned(*(f"{place}/{part}" for place in (staged, folder) for part in parts))
        try:
            names = self._names(folder)
            if all(name in parts or f"{folder}/{name}" in replaced for name in names):
                if parts[0] not in names:
                    exchange_folders(self.root, staged, folder)
            else:
                for part in parts:
                    if self.exists(f"{staged}/{part}"):
                        self.rename(f"{staged}/{part}", f"{folder}/{part}")
            for place in (folder, folder.rpartition("/")[0]):
                with open_folder(self.root, place) as opened:
                    opened.sync()
        except OSError as error:
            raise self._refused(folder, "cannot be replaced", error) from error

    def delete(self, path: str) -> None:
        """Delete a file."""
        self.require_owned(path)
        try:
            with open_parent(self.root, path) as (parent, name):
                parent.remove(name)
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._refused(path, "cannot be deleted", error) from error

    def delete_folder(self, path: str) -> None:
        """Delete harvester's files below a folder, and folders that become empty."""
        try:
            with open_folder(self.root, path) as folder:
                with folder.scan() as found:
                    entries = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in found)
                for name, is_folder in entries:
                    inner = f"{path}/{name}"
                    if is_folder:
                        self.delete_folder(inner)
                    # Of links only those go that earlier versions made.
                    elif is_owned(inner) and (inner.startswith(GENERATIONS) or not folder.is_link(name)):
                        folder.remove(name)
                empty = not folder.names()
            if empty:
                with open_parent(self.root, path) as (parent, name):
                    parent.remove_folder(name)
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._refused(path, "cannot be deleted", error) from error

    def _names(self, folder: str) -> list[str]:
        try:
            with open_folder(self.root, folder) as opened:
                return opened.names()
        except FileNotFoundError:
            return []

    @staticmethod
    def _open(parent: Folder, name: str) -> BinaryIO:
        return os.fdopen(parent.open(name, "O_RDONLY"), "rb")

    @staticmethod
    def _create(parent: Folder, name: str) -> BinaryIO:
        return os.fdopen(parent.open(name, "O_RDWR", "O_CREAT", "O_EXCL"), "w+b")

    def _refused(self, path: str, what: str, error: OSError, after: str = "") -> DatasetError:
        return DatasetError(f"{self.root}/{path}: {what} ({error.strerror or error}){after}")
