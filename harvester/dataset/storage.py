"""The file operations that a dataset needs, in a directory or in a bucket."""

from abc import ABC, abstractmethod
from collections.abc import Container, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO, Self

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from harvester.dataset.lock import Lock
from harvester.dataset.paths import is_owned
from harvester.errors import DatasetError


class Storage(ABC):
    """The place of a dataset; all paths are relative to it, with `/`.

    Files appear whole or not at all. Every method raises DatasetError where the place refuses.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def location(self) -> str:
        """The dataset's address, by which it can be opened again."""

    @property
    @abstractmethod
    def folder(self) -> str:
        """The dataset's address in messages and for DuckDB: `folder/path` names a file."""

    @abstractmethod
    def location_of(self, path: str) -> str:
        """A file's own address, in the form of `location`."""

    @property
    @abstractmethod
    def filesystem(self) -> fs.FileSystem | None:
        """The file system from which pyarrow reads `file(path)`; None: the local one."""

    @property
    @abstractmethod
    def spill(self) -> Path:
        """A local folder for what does not fit into memory."""

    @property
    @abstractmethod
    def room(self) -> int | None:
        """Free bytes of the disk that holds the dataset; None: unknown, or without limit."""

    @abstractmethod
    def file(self, path: str) -> str:
        """The name of a file in `filesystem`."""

    @abstractmethod
    def prepare(self) -> set[str]:
        """Make the place ready for a new dataset; return the names of what it holds."""

    @abstractmethod
    def missing(self) -> str:
        """Say what is wrong with a place that holds no dataset; empty: it holds other things."""

    @abstractmethod
    def lock(self) -> AbstractContextManager[Lock]:
        """Hold the dataset for one writer while the block runs.

        Raises:
            DatasetBusyError: Another writer holds it; the message names it.
            DatasetError: It cannot be locked.
        """

    @abstractmethod
    def under(self, token: str | None) -> Self:
        """The same storage, written under the lock with this token."""

    @abstractmethod
    def confirm(self) -> None:
        """Check that the lock still holds, before written files are made to count.

        Raises:
            DatasetError: The lock is lost.
        """

    @abstractmethod
    def write(self, path: str) -> AbstractContextManager[BinaryIO]:
        """Open a file that appears whole when the block ends, or, after an error, not at all."""

    @abstractmethod
    def read(self, path: str) -> bytes:
        """Read a whole file; one that is missing is an error."""

    @abstractmethod
    def find(self, path: str) -> bytes | None:
        """Read a small file; None where there is none."""

    @abstractmethod
    def exists(self, path: str) -> bool:
        """Whether there is such a file."""

    def list_files(self, folder: str) -> Iterator[str]:
        """List the paths of all files below a folder; a missing folder has none. Never an incomplete list."""
        yield from self.stamps(folder)

    @abstractmethod
    def stamps(self, folder: str) -> dict[str, tuple[int, int]]:
        """Size and modification time (ns) of each file below a folder, by its path."""

    @abstractmethod
    def copy(self, path: str, target: str) -> None:
        """Give a file a second name, which stays when the first one goes."""

    @abstractmethod
    def rename(self, path: str, target: str) -> None:
        """Rename a file atomically, replacing the target."""

    @abstractmethod
    def replace_folder(
        self, staged: str, folder: str, parts: Sequence[str], replaced: Container[str]
    ) -> None:
        """Move staged parts to their folder; may be interrupted, and run again.

        The old parts can stay until they are deleted: the snapshot says which parts count.

        Args:
            staged: The folder that holds the new parts, and nothing else.
            folder: The folder that they belong to.
            parts: Their names.
            replaced: The paths of parts that count no longer; what else is in the folder stays.
        """

    @abstractmethod
    def delete(self, path: str) -> None:
        """Delete a file; a missing one is no error."""

    @abstractmethod
    def delete_folder(self, path: str) -> None:
        """Delete the files below a folder; a missing one is no error."""

    def parquet(self, path: str) -> pq.ParquetFile:
        """Open a Parquet file of the dataset.

        Raises:
            OSError: It is missing (then a FileNotFoundError) or cannot be read.
            pyarrow.ArrowException: It is corrupt.
        """
        return pq.ParquetFile(self.file(path), filesystem=self.filesystem)

    @contextmanager
    def part_reader(self, path: str) -> Iterator[pq.ParquetFile]:
        """Open a part to read it.

        Raises:
            DatasetError: It is missing, corrupt, or lacks a column; also for errors in the block.
        """
        try:
            with self.parquet(path) as file:
                yield file
        except (OSError, pa.ArrowException, KeyError, ValueError) as error:
            raise self.error(path, "this part cannot be read", error) from error

    def require_owned(self, *paths: str) -> None:
        """Check that files may be written, moved or deleted.

        Raises:
            DatasetError: A path is absolute, leaves the dataset, or has no form of harvester's files.
        """
        for path in paths:
            if not is_owned(path):
                raise self.error(path, "is not one of harvester's files; it stays untouched")

    def error(self, path: str, what: str, reason: object = "") -> DatasetError:
        """An error that names a file: `DATASET/path: what (reason)`."""
        text = " ".join(str(reason).split())
        return DatasetError(f"{self.folder}/{path}: {what}" + (f" ({text})" if text else ""))
