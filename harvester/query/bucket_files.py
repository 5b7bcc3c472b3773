"""The parts of a dataset in a bucket as files that DuckDB reads: these, and nothing else of the bucket.

DuckDB's own extension for buckets is a download, and would reach any address; what is registered here
needs none, has no way to write, and knows no file but the parts that counted when the dataset was opened.
"""

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final

import fsspec

from harvester.dataset import Snapshot
from harvester.dataset.bucket import BucketStorage
from harvester.dataset.paths import REPLACED

_THEN: Final = datetime(2000, 1, 1, tzinfo=UTC)  # parts are immutable: all of them have not changed since


class PartFiles(fsspec.AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """The parts of one snapshot, by the addresses that `Snapshot.files` gives.

    Args:
        storage: A dataset in a bucket.
        snapshot: Its parts.
    """

    protocol = ("s3", "gs")
    cachable = False

    def __init__(self, storage: BucketStorage, snapshot: Snapshot) -> None:
        super().__init__()
        self._storage = storage
        self._generation = snapshot.record.generation
        self._parts = {f"{storage.folder}/{part.path}": part for part in snapshot.parts}

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return path

    def info(self, path: str, **_options: Any) -> dict[str, Any]:
        """Name and size of a part, as its commit says it; asks nothing of the bucket."""
        if path not in self._parts:
            raise FileNotFoundError(path)
        return {"name": path, "size": self._parts[path].bytes, "type": "file"}

    def exists(self, path: str, **_options: Any) -> bool:
        """Whether it is one of the parts."""
        return path in self._parts

    def glob(self, path: str, **_options: Any) -> list[str]:
        """The path itself, whether it is one of the parts or not: nothing is a pattern, and opening tells."""
        return [path]

    def modified(self, path: str) -> datetime:
        """The same for all: a part never changes."""
        self.info(path)
        return _THEN

    def open(self, path: str, mode: str = "rb", **_options: Any) -> io.BufferedIOBase:
        """Open a part to read it.

        Raises:
            PermissionError: It is to be written.
            FileNotFoundError: It is none of the parts, or was removed since.
        """
        if mode != "rb":
            raise PermissionError(f"{path}: a dataset is only read")
        if path not in self._parts:
            raise FileNotFoundError(path)
        for place in self._places(self._parts[path].path):
            try:
                stream: io.BufferedIOBase = self._storage.filesystem.open_input_file(
                    self._storage.file(place)
                )
            except FileNotFoundError:
                continue
            return stream
        raise FileNotFoundError(f"{path}: was replaced since, and is no longer kept; open the dataset again")

    def _places(self, path: str) -> Iterator[str]:
        """Where a part can be: at its place, or where compactions since have kept it."""
        yield path
        yield from (f"{REPLACED}/{generation}/{path}" for generation in self._later_generations)

    @cached_property
    def _later_generations(self) -> list[int]:
        kept = {path.split("/")[2] for path in self._storage.list_files(REPLACED)}
        return sorted(int(name) for name in kept if name.isdecimal() and int(name) >= self._generation)
