"""The catalog of a folder on this machine; links to folders are not followed."""

import os
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from harvester.catalog.base import Catalog
from harvester.catalog.grouping import OBJECTS_PER_SERIES, series_of
from harvester.config import CrawlConfig
from harvester.errors import SelectionError
from harvester.model import ListedObject, ObjectRef, Series, Summary, file_etag


class FolderCatalog(Catalog):
    """All files below a root, one series a folder; names that begin with a dot are skipped.

    The files are named with their sizes, so that no listing follows.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._summary: Summary | None = None

    @classmethod
    def open(cls, config: CrawlConfig) -> "FolderCatalog":
        """Check that `select.root` is a folder with files.

        Raises:
            SelectionError: It is no folder, or has no files.
        """
        root = os.path.realpath(config.select.root or "")
        if not Path(root).is_dir():
            raise SelectionError(f"{config.name}: select.root: {root} is not a folder")
        catalog = cls(root)
        if next(catalog.series(1), None) is None:
            raise SelectionError(f"{config.name}: select.root: there is no file under {root}")
        return catalog

    @property
    def name(self) -> str:
        """The root."""
        return self._root

    @property
    def places(self) -> tuple[str, ...]:
        """The root, below which all files are named."""
        return (ObjectRef("", self._root.rstrip("/") + "/", "file").url,)

    def summary(self) -> Summary:
        """Counts of files and bytes, from one walk through the tree."""
        if self._summary is None:
            self._summary = Summary.of(self.series())
        return self._summary

    def series(self, limit: int | None = None) -> Iterator[Series]:
        """The folders sorted by name, each before its subfolders.

        Raises:
            SelectionError: A folder cannot be read: an error is not an empty folder.
        """
        return islice(_walk(self._root), limit)


def _walk(root: str) -> Iterator[Series]:
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        files: list[ListedObject] = []
        subfolders: list[str] = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        subfolders.append(entry.path)
                    elif (listed := _listed(entry)) is not None:
                        files.append(listed)
        except OSError as error:
            raise SelectionError(f"{error.filename or folder}: cannot be read: {error.strerror}") from None
        files.sort(key=lambda listed: listed.ref.key)
        address = ObjectRef("", folder.rstrip("/") + "/", "file").url
        for start in range(0, len(files), OBJECTS_PER_SERIES):
            yield series_of(address, files[start : start + OBJECTS_PER_SERIES])
        waiting.extend(sorted(subfolders, reverse=True))


def _listed(entry: "os.DirEntry[str]") -> ListedObject | None:
    """A regular file, or a dangling link, whose reading fails with a reason; None for pipes and devices."""
    ref = ObjectRef("", entry.path, "file")
    try:
        status = entry.stat()
    except OSError as error:
        if entry.is_symlink():
            return ListedObject(ref, size=0)
        if isinstance(error, FileNotFoundError):  # gone since the folder was read
            return None
        raise
    return ListedObject(ref, status.st_size, file_etag(status)) if stat.S_ISREG(status.st_mode) else None
