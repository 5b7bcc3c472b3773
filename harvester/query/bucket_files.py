"""The parts of a dataset in a bucket as files that DuckDB reads: these, and nothing else of the bucket.

DuckDB's own extension for buckets is a download, and would reach any address; what is registered here
needs none, has no way to write, and knows no file but the parts that counted when the dataset was opened.
"""

import io
from datetime import UTC, datetime
from itertools import chain
from typing import Any, Final

import fsspec

from harvester.dataset import Snapshot

_THEN: Final = datetime(2000, 1, 1, tzinfo=UTC)  # parts are immutable: all of them have not changed since


class PartFiles(fsspec.AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """The parts of one snapshot, by the addresses that `Snapshot.files` gives.

    Args:
        snapshot: Of a dataset in a bucket.
    """

    protocol = ("s3", "gs")
    cachable = False

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__()
        self._storage = storage = snapshot.storage
        self._filesystem: Any = storage.filesystem
        self._snapshot = snapshot
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
        """The path itself, whether or not it is a part: no path is a pattern, and opening checks it."""
        return [path]

    def modified(self, path: str) -> datetime:
        """The same time for every part, since parts never change."""
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
        part = self._parts[path].path
        for place in chain([part], self._snapshot.locate([part])):
            try:
                stream: io.BufferedIOBase = self._filesystem.open_input_file(self._storage.file(place))
            except FileNotFoundError:
                continue
            return stream
        raise FileNotFoundError(f"{path}: was replaced since, and is no longer kept; open the dataset again")
