"""A read-only fsspec file system over `open_object`: `harvester://s3/BUCKET/KEY`.

fsspec loads it by the entry point of this package.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import anyio
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

from harvester.errors import ConfigError, ListingError, NotFoundError, RequestRejectedError, StoreError
from harvester.model import ListedObject, ObjectRef
from harvester.reader.access import AccessOptions
from harvester.reader.dataset_hints import DatasetLike
from harvester.reader.event_loop import LOOP
from harvester.reader.file import ObjectFile
from harvester.reader.open import open_object
from harvester.reader.table_choice import OffsetTable, check_offset_table
from harvester.store.base import Store

MOST_LISTED: Final = 100_000  # objects below one folder: a series of IDC has fewer, a bucket millions
_BLOCK: Final = 1 << 20  # bytes, of fsspec's block caches

Entry = dict[str, Any]


class ObjectFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """Objects in buckets and folders, each as `open_object` shows it.

    A path is an address with a slash in place of `://`: `s3/BUCKET/KEY`, `gs/BUCKET/KEY`, `https/HOST/KEY`,
    `file/PATH`. By default objects are shown unchanged, so sizes and offsets are those of the bucket. With
    another `offset_table`, `info` gives the size of the file as it is shown, and listings give no sizes.

    Args:
        dataset: A dataset that may hold the lengths of headers and the frame indexes.
        endpoint: Replaces the cloud's address: `http://HOST:PORT`.
        offset_table: Which offset table is put into a file that has none: `none`, `auto` or `extended`.
        cache: The folder of a `DiskCache`.
        storage_options: Options of fsspec itself.

    Raises:
        ConfigError: There is no such offset table.
    """

    protocol: ClassVar[str] = "harvester"

    def __init__(
        self,
        dataset: DatasetLike = None,
        endpoint: str | None = None,
        offset_table: OffsetTable = "none",
        cache: str | None = None,
        **storage_options: Any,
    ) -> None:
        super().__init__(**storage_options)
        check_offset_table(offset_table)
        self.dataset = dataset
        self.offset_table: OffsetTable = offset_table
        self.endpoint = endpoint
        self.options: AccessOptions = {"endpoint": endpoint, "cache": cache}

    def ls(self, path: str, detail: bool = True, *, refresh: bool = False, **_: Any) -> list[Any]:  # noqa: FBT001, FBT002
        """The entries of a folder; of a file, the file itself. `refresh` lists a known folder again.

        Raises:
            NotFoundError: There is neither; it is a FileNotFoundError.
            ListingError: The bucket cannot be listed, or there are too many objects below the folder.
        """
        path = self._strip_protocol(path)
        if refresh:
            self.dircache.pop(path, None)
        entries = self._listed(path) or [self.info(path)]
        return entries if detail else [entry["name"] for entry in entries]

    def invalidate_cache(self, path: str | None = None) -> None:
        """Forget the listings of a folder and those below it, or all."""
        path = None if path is None else self._strip_protocol(path)
        for known in list(self.dircache):
            if path is None or known == path or known.startswith(f"{path}/"):
                self.dircache.pop(known, None)

    def info(self, path: str, **_: Any) -> Entry:
        """The name and type of an entry; of a file also its size in bytes and its ETag.

        Raises:
            NotFoundError: There is no such entry; it is a FileNotFoundError.
            StoreError: The object cannot be read.
        """
        path = self._strip_protocol(path)
        try:
            with self._opened(path) as file:
                return {"name": path, "size": file.size, "type": "file", "ETag": file.etag}
        # The address of a bucket alone, or of a local folder, is not an object's.
        except (NotFoundError, ConfigError, RequestRejectedError) as error:
            if self._listed(path):
                return {"name": path, "size": 0, "type": "directory"}
            if isinstance(error, NotFoundError):
                raise
            raise NotFoundError("no such object or folder", url=self._url(path)) from error

    def exists(self, path: str, **_: Any) -> bool:
        """Whether there is a file or a folder.

        Raises:
            StoreError: The server does not respond, or refuses.
        """
        return self._type(path) is not None

    def isfile(self, path: str) -> bool:
        """Whether there is a file; no request is made if its folder was listed.

        Raises:
            StoreError: The server does not respond, or refuses.
        """
        return self._type(path) == "file"

    def isdir(self, path: str) -> bool:
        """Whether there is a folder.

        Raises:
            StoreError: The server does not respond, or refuses.
        """
        return self._type(path) == "directory"

    def cat_ranges(
        self, paths: Sequence[str], starts: Any, ends: Any, *_: Any, on_error: str = "return", **__: Any
    ) -> list[bytes | Exception]:
        """Ranges of files, all at once; each file is opened once.

        Args:
            paths: A file for each range.
            starts: The first byte of each range, or of all; negative: from the end; None: 0.
            ends: The byte after each range, or after all; negative: from the end; None: the end.
            on_error: `return` an error in place of a range's bytes, or `raise` it.

        Raises:
            StoreError: A range cannot be read, with `on_error="raise"`.
        """
        starts, ends = ([one] * len(paths) if _is_one(one) else list(one) for one in (starts, ends))
        found: list[bytes | Exception] = [b""] * len(paths)
        files: dict[str, ObjectFile | Exception] = {}
        for path in dict.fromkeys(paths):
            try:
                files[path] = self._opened(self._strip_protocol(path))
            except (StoreError, ConfigError) as error:
                files[path] = error

        async def read(place: int) -> None:
            file = files[paths[place]]
            if isinstance(file, Exception):
                found[place] = file
                return
            start, stop, _step = slice(starts[place], ends[place]).indices(file.size)
            try:
                found[place] = await file.view.read(start, stop)
            except StoreError as error:
                found[place] = error

        async def read_all() -> None:
            async with anyio.create_task_group() as tasks:
                for place in range(len(paths)):
                    tasks.start_soon(read, place)

        LOOP.call(read_all)
        errors = [one for one in found if isinstance(one, Exception)]
        if errors and on_error == "raise":
            raise errors[0]
        return found

    def _open(
        self, path: str, mode: str = "rb", block_size: int | None = None, *_: Any, **options: Any
    ) -> Any:
        if mode != "rb":
            raise ConfigError(f"{self._url(path)}: read-only, cannot be opened with mode {mode!r}")
        file = self._opened(path)
        return _CachedFile(self, path, file, block_size) if options.get("cache_type") == "none" else file

    def _opened(self, path: str) -> ObjectFile:
        return open_object(self._url(path), self.dataset, offset_table=self.offset_table, **self.options)

    def _url(self, path: str) -> str:
        scheme, _separator, rest = path.partition("/")
        return f"{scheme}://{'/' * (scheme == 'file')}{rest}"

    def _type(self, path: str) -> str | None:
        path = self._strip_protocol(path)
        listed = self.dircache.get(self._parent(path)) or ()
        types: list[str] = [entry["type"] for entry in listed if entry["name"] == path]
        try:
            return types[0] if types else str(self.info(path)["type"])
        except NotFoundError:
            return None

    def _listed(self, path: str) -> list[Entry]:
        """The entries of a folder; empty if there is no such folder."""
        if path in self.dircache:
            return list(self.dircache[path])
        scheme, _, rest = path.partition("/")
        bucket, _, key = ("", "", f"/{rest}") if scheme == "file" else rest.partition("/")
        below = f"{key}/" if key else ""
        if scheme == "file" and not Path(key).is_dir():
            return []
        try:
            found = LOOP.call(_objects, LOOP.store(self.endpoint), ObjectRef(bucket, below, scheme))
        except ListingError as error:
            if error.status == 404:  # no such bucket
                return []
            raise
        entries: dict[str, Entry] = {}
        for listed in found:
            name, deeper, _ = listed.ref.key.removeprefix(below).partition("/")
            if not name:
                continue  # a placeholder object for the folder
            entry: Entry = {"name": f"{path}/{name}", "size": 0, "type": "directory"}
            if not deeper:
                size = listed.size if self.offset_table == "none" else None
                entry |= {"size": size, "type": "file", "ETag": listed.etag}
            entries.setdefault(name, entry)
        if entries:
            self.dircache[path] = list(entries.values())
        return list(entries.values())


class _CachedFile(AbstractBufferedFile):  # type: ignore[misc]  # fsspec has no types
    """An object for fsspec's own caches (`blockcache::harvester://`), which replace its `cache`."""

    def __init__(self, fs: ObjectFileSystem, path: str, file: ObjectFile, block_size: int | None) -> None:
        super().__init__(fs, path, "rb", block_size or _BLOCK, cache_type="none", size=file.size)
        self._file = file

    def _fetch_range(self, start: int, end: int) -> bytes:
        return self._file.read_at(start, end - start)

    def close(self) -> None:
        """Free the memory of the object."""
        self._file.close()
        super().close()


def _is_one(bounds: Any) -> bool:
    return bounds is None or not hasattr(bounds, "__len__")


async def _objects(store: Store, prefix: ObjectRef) -> list[ListedObject]:
    found: list[ListedObject] = []
    async for listed in store.list_objects(prefix):
        found.append(listed)
        if len(found) > MOST_LISTED:
            raise ListingError(
                f"more than {MOST_LISTED:,} objects; name a folder further down", url=prefix.url
            )
    return found
