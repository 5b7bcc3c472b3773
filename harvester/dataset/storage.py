"""The few file operations that a dataset needs, on a local directory."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from harvester.dataset.names import TEMPORARY
from harvester.errors import DatasetError


@dataclass(frozen=True, slots=True)
class LocalStorage:
    """A dataset's files in a local directory (resolved); all paths are relative to it, with `/`.

    This class is the seam for other places: whatever writes whole files or none, reads, lists and
    deletes can hold a dataset.
    """

    root: Path

    @property
    def location(self) -> str:
        """The absolute path of the dataset, as readers of Parquet take it."""
        return str(self.root)

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
