"""The few file operations that a dataset needs: what any place for one can do, and a local directory."""

import os
import secrets
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pyarrow.parquet as pq
from pyarrow import fs

from harvester.dataset.lock import Lock, hold_lock
from harvester.dataset.paths import TEMPORARY
from harvester.errors import DatasetError


class Storage(ABC):
    """A place that holds a dataset's files; all paths are relative to it, with `/`.

    Whatever writes whole files or none, reads, lists and deletes can hold a dataset.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def location(self) -> str:
        """The dataset's address, by which it can be opened again."""

    @property
    @abstractmethod
    def folder(self) -> str:
        """What stands before `/` and a path where a file is named: to a person, or to DuckDB."""

    @abstractmethod
    def location_of(self, path: str) -> str:
        """A file's own address, as `location` is the dataset's."""

    @property
    @abstractmethod
    def filesystem(self) -> fs.FileSystem | None:
        """What pyarrow reads `file(path)` from; None: from this machine's own."""

    @property
    @abstractmethod
    def spill(self) -> Path:
        """A folder on this machine for what does not fit into memory."""

    @abstractmethod
    def file(self, path: str) -> str:
        """What `filesystem` calls a file."""

    @abstractmethod
    def lock(self) -> AbstractContextManager[Lock]:
        """Hold the dataset for one writer while the block runs.

        Raises:
            DatasetBusyError: Another one holds it; the message says who.
            DatasetError: It cannot be locked.
        """

    @abstractmethod
    def confirm(self) -> None:
        """See that the lock which the writer's work is under still holds, before what it wrote counts.

        Raises:
            DatasetError: Somebody else has the dataset by now.
        """

    @abstractmethod
    def write(self, path: str) -> AbstractContextManager[BinaryIO]:
        """Open a file that appears whole when the block ends, or, after an error, not at all.

        Raises:
            DatasetError: The file cannot be written.
        """

    @abstractmethod
    def read(self, path: str) -> bytes:
        """Read a whole file.

        Raises:
            DatasetError: It is missing or cannot be read.
        """

    @abstractmethod
    def exists(self, path: str) -> bool:
        """Tell whether there is such a file."""

    @abstractmethod
    def list_files(self, folder: str) -> Iterator[str]:
        """List the paths of all files in a folder and below it; one that is not there has none.

        Raises:
            DatasetError: A folder cannot be listed: never a shorter list.
        """

    @abstractmethod
    def stamps(self, folder: str) -> dict[str, tuple[int, int]]:
        """Tell size and time of each file of a folder, by its path: other ones, once it is replaced.

        Raises:
            DatasetError: The folder cannot be listed.
        """

    @abstractmethod
    def rename(self, path: str, target: str) -> None:
        """Give a file another name, over what has that name, at one stroke.

        Raises:
            DatasetError: It cannot be renamed.
        """

    @abstractmethod
    def delete(self, path: str) -> None:
        """Delete a file; one that is gone already is no error.

        Raises:
            DatasetError: It cannot be deleted.
        """

    @abstractmethod
    def delete_folder(self, path: str) -> None:
        """Delete a folder and all that is in it; none that is gone is no error.

        Raises:
            DatasetError: Something in it cannot be deleted.
        """

    def parquet(self, path: str) -> pq.ParquetFile:
        """Open a Parquet file of the dataset.

        Raises:
            OSError: It is missing (then a FileNotFoundError) or cannot be read.
            pyarrow.ArrowException: It is corrupt.
        """
        return pq.ParquetFile(self.file(path), filesystem=self.filesystem)


@dataclass(frozen=True, slots=True)
class LocalStorage(Storage):
    """A dataset's files in a local directory (resolved)."""

    root: Path

    @property
    def location(self) -> str:
        """The absolute path of the dataset, as readers of Parquet take it."""
        return str(self.root)

    @property
    def folder(self) -> str:
        """The same."""
        return str(self.root)

    def location_of(self, path: str) -> str:
        """The absolute path."""
        return f"{self.root}/{path}"

    @property
    def filesystem(self) -> None:
        """This machine's own."""
        return

    @property
    def spill(self) -> Path:
        """On the dataset's own disk, where there is room for its parts."""
        return self.root / TEMPORARY

    def file(self, path: str) -> str:
        """The absolute path."""
        return f"{self.root}/{path}"

    def lock(self) -> AbstractContextManager[Lock]:
        """Hold the dataset by a lock that the kernel frees when the last of its holders is gone."""
        return hold_lock(self.root)

    def confirm(self) -> None:
        """Nothing to see: the kernel does not take a lock away."""

    @contextmanager
    def write(self, path: str) -> Iterator[BinaryIO]:
        """Open a file that appears whole when the block ends, or, after an error, not at all.

        The bytes and the name are on the disk when the block has ended.

        Raises:
            DatasetError: The file cannot be written.
        """
        temporary = self.root / TEMPORARY / f"{secrets.token_hex(16)}.tmp"
        target = self.root / path
        try:
            temporary.parent.mkdir(parents=True, exist_ok=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("xb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(target)
            sync_folder(target.parent)
        except OSError as error:
            raise DatasetError(
                f"{target}: cannot be written ({error.strerror or error}); what was committed stays"
            ) from error
        finally:
            temporary.unlink(missing_ok=True)

    def read(self, path: str) -> bytes:
        """Read a whole file.

        Raises:
            DatasetError: It is missing or cannot be read.
        """
        try:
            return (self.root / path).read_bytes()
        except OSError as error:
            raise DatasetError(f"{self.root / path}: cannot be read ({error.strerror or error})") from error

    def exists(self, path: str) -> bool:
        """Tell whether there is such a file."""
        return (self.root / path).is_file()

    def list_files(self, folder: str) -> Iterator[str]:
        """List the paths of all files in a folder and below it; symbolic links are not followed.

        A folder that is not there, or that a link leads to, has no files.

        Raises:
            DatasetError: A folder cannot be listed: never a shorter list.
        """
        pending = [folder] if (self.root / folder).resolve() == self.root / folder else []
        while pending:
            current = pending.pop()
            try:
                with os.scandir(self.root / current) as entries:
                    for entry in entries:
                        path = f"{current}/{entry.name}"
                        if entry.is_dir(follow_symlinks=False):
                            pending.append(path)
                        elif entry.is_file(follow_symlinks=False):
                            yield path
            except FileNotFoundError:
                continue
            except OSError as error:
                message = f"{self.root / current}: cannot be listed ({error.strerror or error})"
                raise DatasetError(message) from error

    def stamps(self, folder: str) -> dict[str, tuple[int, int]]:
        """Tell size and time of each file of a folder, by its path: other ones, once it is replaced.

        Raises:
            DatasetError: The folder cannot be listed.
        """
        found = {}
        for path in self.list_files(folder):
            try:
                status = (self.root / path).stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # replaced or deleted meanwhile, as list_files may have seen it
            found[path] = (status.st_size, status.st_mtime_ns)
        return found

    def rename(self, path: str, target: str) -> None:
        """Give a file another name, over what has that name, at one stroke; it is on the disk then.

        Raises:
            DatasetError: It cannot be renamed.
        """
        try:
            (self.root / path).replace(self.root / target)
            sync_folder((self.root / target).parent)
        except OSError as error:
            raise DatasetError(
                f"{self.root / path}: cannot be renamed ({error.strerror or error})"
            ) from error

    def make_folder(self, path: str) -> None:
        """Make a folder, and those it lies in, unless it is there.

        Raises:
            DatasetError: It cannot be made.
        """
        try:
            (self.root / path).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DatasetError(f"{self.root / path}: cannot be made ({error.strerror or error})") from error

    def delete(self, path: str) -> None:
        """Delete a file; one that is gone already is no error.

        Raises:
            DatasetError: It cannot be deleted.
        """
        try:
            (self.root / path).unlink(missing_ok=True)
        except OSError as error:
            raise DatasetError(
                f"{self.root / path}: cannot be deleted ({error.strerror or error})"
            ) from error

    def delete_folder(self, path: str) -> None:
        """Delete a folder and all that is in it; links are not followed, and none that is gone is no error.

        Raises:
            DatasetError: Something in it cannot be deleted.
        """
        folder = self.root / path
        try:
            if folder.is_symlink():
                folder.unlink()
            elif folder.exists():
                shutil.rmtree(folder)
        except OSError as error:
            raise DatasetError(f"{folder}: cannot be deleted ({error.strerror or error})") from error


def sync_folder(folder: Path) -> None:
    """Wait until what was made, renamed or deleted in a folder is on the disk.

    Raises:
        OSError: The folder cannot be opened.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
