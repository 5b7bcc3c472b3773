"""A read-only fsspec file system over `open_object`: `harvester://s3/BUCKET/KEY`.

fsspec loads it by the entry point of this package.
"""

from pathlib import Path
from typing import Any, ClassVar, Final

from fsspec.spec import AbstractFileSystem

from harvester.errors import ConfigError, ListingError, NotFoundError, RequestRejectedError
from harvester.model import ListedObject, ObjectRef
from harvester.reader.dataset_hints import DatasetLike
from harvester.reader.event_loop import LOOP
from harvester.reader.file import ObjectFile
from harvester.reader.open import open_object
from harvester.reader.table_choice import OffsetTable
from harvester.store.base import Store

_MOST_LISTED: Final = 100_000  # objects below one folder: a series of IDC has fewer, a bucket millions

Entry = dict[str, Any]


class NoSuchFileError(NotFoundError, FileNotFoundError):
    """There is no such object; the error that programs expect of a file system."""


class ObjectFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """Objects in buckets and folders, each as `open_object` shows it.

    A path is an address with a slash in place of `://`: `s3/BUCKET/KEY`, `gs/BUCKET/KEY`, `https/HOST/KEY`,
    `file/PATH`. `info` describes the file with the offset table that may be put in; `ls` describes the
    object as the bucket lists it.

    Args:
        dataset: A dataset that may hold the lengths of headers and the frame indexes.
        endpoint: Replaces the cloud's address: `http://HOST:PORT`.
        offset_table: Which offset table is put into a file that has none, as in `open_object`.
        storage_options: Options of fsspec itself.
    """

    protocol: ClassVar[str] = "harvester"

    def __init__(
        self,
        dataset: DatasetLike = None,
        endpoint: str | None = None,
        offset_table: OffsetTable = "auto",
        **storage_options: Any,
    ) -> None:
        super().__init__(**storage_options)
        self.dataset = dataset
        self.endpoint = endpoint
        self.offset_table: OffsetTable = offset_table

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:  # noqa: FBT001, FBT002
        """The entries of a folder; of a file, the file itself.

        Raises:
            NoSuchFileError: There is neither.
            ListingError: The bucket cannot be listed, or there are too many objects below the folder.
        """
        path = self._strip_protocol(path)
        entries = self._listed(path) or [self.info(path)]
        return entries if detail else [entry["name"] for entry in entries]

    def info(self, path: str, **_: Any) -> Entry:
        """The name and type of an entry; of a file also its size in bytes and its ETag.

        Raises:
            NoSuchFileError: There is no such entry.
            StoreError: The object cannot be read.
        """
        path = self._strip_protocol(path)
        try:
            with self._open(path) as file:
                return {"name": path, "size": file.size, "type": "file", "ETag": file.etag}
        # The address of a bucket alone, or of a local folder, is not an object's.
        except (NotFoundError, ConfigError, RequestRejectedError):
            if self._listed(path):
                return {"name": path, "size": 0, "type": "directory"}
            raise

    def isfile(self, path: str) -> bool:
        """Whether there is a file; no request is made if its folder was listed."""
        path = self._strip_protocol(path)
        known = self.dircache.get(self._parent(path)) or ()
        kinds = [entry["type"] for entry in known if entry["name"] == path]
        return kinds == ["file"] if kinds else bool(super().isfile(path))

    def _open(self, path: str, mode: str = "rb", *_: Any, **__: Any) -> ObjectFile:
        scheme, _separator, rest = path.partition("/")
        url = f"{scheme}://{'/' * (scheme == 'file')}{rest}"
        if mode != "rb":
            raise ConfigError(f"{url}: read-only, cannot be opened with mode {mode!r}")
        try:
            return open_object(url, self.dataset, endpoint=self.endpoint, offset_table=self.offset_table)
        except NotFoundError as error:
            raise NoSuchFileError(error.message, url=url, status=error.status) from error

    def _listed(self, path: str) -> list[Entry]:
        """The entries of a folder; empty if there is no such folder."""
        if path in self.dircache:
            return list(self.dircache[path])
        scheme, _, rest = path.partition("/")
        bucket, _, key = ("", "", f"/{rest}") if scheme == "file" else rest.partition("/")
        below = f"{key}/" if key else ""
        if scheme == "file" and not Path(key).is_dir():
            return []
        found = LOOP.call(_objects, LOOP.store(self.endpoint), ObjectRef(bucket, below, scheme))
        entries: dict[str, Entry] = {}
        for listed in found:
            name, deeper, _ = listed.ref.key.removeprefix(below).partition("/")
            if not name:
                continue  # a placeholder object for the folder
            entry: Entry = {"name": f"{path}/{name}", "size": 0, "type": "directory"}
            if not deeper:
                entry |= {"size": listed.size, "type": "file", "ETag": listed.etag}
            entries.setdefault(name, entry)
        if entries:
            self.dircache[path] = list(entries.values())
        return list(entries.values())


async def _objects(store: Store, prefix: ObjectRef) -> list[ListedObject]:
    found: list[ListedObject] = []
    async for listed in store.list_objects(prefix):
        found.append(listed)
        if len(found) > _MOST_LISTED:
            raise ListingError(
                f"more than {_MOST_LISTED:,} objects; name a folder further down", url=prefix.url
            )
    return found
