"""A dataset's files as objects in a bucket."""

import mmap
import os
import tempfile
from collections.abc import Container, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final, Self

import pyarrow as pa
from pyarrow import fs

from harvester.dataset.bucket.address import BucketAddress
from harvester.dataset.bucket.client import BucketAccess, open_bucket
from harvester.dataset.bucket.conditional_put import conditional_object
from harvester.dataset.bucket.errors import no_bucket, no_credentials, refusal
from harvester.dataset.bucket.lease import confirm_lease, hold_lease
from harvester.dataset.lock import Lock
from harvester.dataset.paths import is_owned
from harvester.dataset.storage import Storage
from harvester.errors import DatasetError

_CONCURRENT_COPIES: Final = 16


@dataclass(frozen=True, slots=True)
class BucketStorage(Storage):
    """A dataset's files in a bucket; make one by `open`.

    A PUT is atomic, as a rename is in a directory: no reader sees half an object.

    Attributes:
        access: The clients of the bucket.
        token: The lock under which it is written; None: without one.
    """

    access: BucketAccess
    token: str | None = None

    @classmethod
    def open(cls, location: str, token: str | None = None) -> Self:
        """Open a place in a bucket, whether it holds a dataset or not.

        Raises:
            DatasetError: The address is invalid, or the packages for buckets are not installed.
        """
        return cls(open_bucket(BucketAddress.parse(location)), token)

    @property
    def address(self) -> BucketAddress:
        """The dataset's address."""
        return self.access.address

    @property
    def location(self) -> str:
        """`s3://BUCKET/PREFIX` or `gs://BUCKET/PREFIX`, with the endpoint if one is set."""
        return self.address.location

    @property
    def folder(self) -> str:
        """`s3://BUCKET/PREFIX` or `gs://BUCKET/PREFIX`."""
        return self.address.url

    def location_of(self, path: str) -> str:
        """`s3://BUCKET/PREFIX/path`, with the endpoint if one is set."""
        return replace(self.address, prefix=f"{self.address.prefix}/{path}").location

    @property
    def filesystem(self) -> fs.FileSystem:
        """Pyarrow's file system for S3 or GCS."""
        return self.access.filesystem

    @property
    def spill(self) -> Path:
        """This machine's folder for temporary files."""
        return Path(tempfile.gettempdir())

    @property
    def room(self) -> None:
        """A bucket has no limit."""
        return

    def file(self, path: str) -> str:
        """`BUCKET/PREFIX/path`."""
        return f"{self.address.bucket}/{self.address.prefix}/{path}".removesuffix("/")

    def prepare(self) -> set[str]:
        """Check that the bucket exists and that there are credentials; return the names below the prefix."""
        self._require_bucket()
        if self.access.anonymous:
            raise no_credentials(self.address)
        return {path.partition("/")[0] for path in self.list_files("")}

    def missing(self) -> str:
        """Whether there are objects below the prefix."""
        self._require_bucket()
        if next(self.list_files(""), None) is None:
            return f"{self.folder}: no such dataset; make it by `harvester crawl`, or check the address"
        return ""

    @contextmanager
    def lock(self) -> Iterator[Lock]:
        """Hold the dataset by an object that a thread renews."""
        with hold_lease(self.access) as lease, Path(os.devnull).open("rb") as nothing:
            yield Lock(self.location, nothing.fileno(), lease.owner.token)

    def under(self, token: str | None) -> Self:
        """The same place, written under a lock."""
        return replace(self, token=token)

    def confirm(self) -> None:
        """Check in the bucket that the lock is still held."""
        if self.token is not None:
            confirm_lease(self.access, self.token)

    @contextmanager
    def write(self, path: str) -> Iterator[BinaryIO]:
        """Write to a local temporary file, then put it as one object."""
        self.require_owned(path)
        try:
            with tempfile.TemporaryFile() as stream:
                yield stream
                stream.flush()
                # In a thread, which Ctrl-C does not interrupt: a stream closed early is half an object.
                with ThreadPoolExecutor(1) as thread:
                    thread.submit(self._put, path, stream.fileno()).result()
        except OSError as error:
            raise self._refused(path, "cannot be written", error) from error

    def read(self, path: str) -> bytes:
        """Read a whole object."""
        try:
            with self.filesystem.open_input_file(self.file(path)) as stream:
                return bytes(stream.read())
        except OSError as error:
            raise self._refused(path, "cannot be read", error) from error

    def find(self, path: str) -> bytes | None:
        """Read a small object, by the client that soon gives up on a server that cannot be reached."""
        seen = conditional_object(self.access, path).read()
        return None if seen is None else seen.data

    def exists(self, path: str) -> bool:
        """Whether there is such an object."""
        try:
            return bool(self.filesystem.get_file_info(self.file(path)).type == fs.FileType.File)
        except OSError as error:
            raise self._refused(path, "cannot be read", error) from error

    def stamps(self, folder: str) -> dict[str, tuple[int, int]]:
        """Size and time of each object below a folder; S3's times are whole seconds, see `write_commit`."""
        begin = f"{self.file('')}/"
        selector = fs.FileSelector(self.file(folder), recursive=True, allow_not_found=True)
        try:
            found = self.filesystem.get_file_info(selector)
        except OSError as error:
            raise self._refused(folder, "cannot be listed", error) from error
        return {
            info.path[len(begin) :]: (info.size, info.mtime_ns)
            for info in found
            # A key that ends in a slash stands for a folder.
            if info.type == fs.FileType.File and info.path.startswith(begin) and not info.path.endswith("/")
        }

    def copy(self, path: str, target: str) -> None:
        """Copy an object within the bucket, on the server."""
        self.require_owned(path, target)
        try:
            self.filesystem.copy_file(self.file(path), self.file(target))
        except OSError as error:
            raise self._refused(path, f"cannot be copied to {target}", error) from error

    def rename(self, path: str, target: str) -> None:
        """Copy the object to the target, which is atomic, then delete it."""
        self.copy(path, target)
        self.delete(path)

    def replace_folder(
        self, staged: str, folder: str, parts: Sequence[str], replaced: Container[str]
    ) -> None:
        """Copy the staged parts to their folder; the old ones stay until they are deleted."""
        del replaced
        present = set(self.list_files(staged))
        pairs = ((f"{staged}/{part}", f"{folder}/{part}") for part in parts)
        with ThreadPoolExecutor(_CONCURRENT_COPIES) as threads:
            list(threads.map(lambda pair: self.copy(*pair), (pair for pair in pairs if pair[0] in present)))

    def delete(self, path: str) -> None:
        """Delete an object."""
        self.require_owned(path)
        try:
            self.filesystem.delete_file(self.file(path))
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._refused(path, "cannot be deleted", error) from error

    def delete_folder(self, path: str) -> None:
        """Delete harvester's objects below a folder."""
        for found in filter(is_owned, list(self.list_files(path))):
            self.delete(found)

    def _put(self, path: str, descriptor: int) -> None:
        size = os.fstat(descriptor).st_size
        data = pa.py_buffer(mmap.mmap(descriptor, size, access=mmap.ACCESS_READ)) if size else b""
        with self.filesystem.open_output_stream(self.file(path)) as out:
            out.write(data)

    def _require_bucket(self) -> None:
        try:
            info = self.filesystem.get_file_info(self.address.bucket)
        except OSError:
            return  # access to objects does not include access to the bucket: later requests will show
        if info.type == fs.FileType.NotFound:
            raise no_bucket(self.address)

    def _refused(self, path: str, what: str, error: OSError) -> DatasetError:
        return refusal(self.address, f"{path}: {what}", error)
