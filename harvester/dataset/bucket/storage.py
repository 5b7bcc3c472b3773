"""A dataset's files as objects in a bucket."""

import mmap
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
from pyarrow import fs

from harvester.dataset.bucket.address import BucketAddress
from harvester.dataset.bucket.client import BucketAccess, open_bucket
from harvester.dataset.bucket.conditional_put import conditional_object
from harvester.dataset.bucket.errors import no_bucket, no_credentials, refusal
from harvester.dataset.bucket.lease import confirm_lease, hold_lease
from harvester.dataset.lock import Lock
from harvester.dataset.storage import Storage


@dataclass(frozen=True, slots=True)
class BucketStorage(Storage):
    """A dataset's files in a bucket; make one by `open`.

    An object appears whole or not at all, and nobody sees half of one: what a rename does in a
    directory, a PUT does here. What must be one of several is written under the dataset's lock.

    Attributes:
        access: What reaches the bucket.
        token: The lock under which is written; None: nobody asks for it.
    """

    access: BucketAccess
    token: str | None = None

    @classmethod
    def open(cls, location: str, token: str | None = None) -> "BucketStorage":
        """Reach a place in a bucket, whether there is a dataset or not.

        Raises:
            DatasetError: The address is none, or the packages for buckets are not installed.
        """
        return cls(open_bucket(BucketAddress.parse(location)), token)

    @property
    def address(self) -> BucketAddress:
        """Where it is."""
        return self.access.address

    @property
    def location(self) -> str:
        """`s3://BUCKET/PREFIX` or `gs://BUCKET/PREFIX`, with the endpoint where there is one."""
        return self.address.location

    @property
    def folder(self) -> str:
        """`s3://BUCKET/PREFIX` or `gs://BUCKET/PREFIX`."""
        return self.address.url

    def location_of(self, path: str) -> str:
        """`s3://BUCKET/PREFIX/path`, with the endpoint where there is one."""
        return replace(self.address, prefix=f"{self.address.prefix}/{path}").location

    @property
    def filesystem(self) -> fs.FileSystem:
        """pyarrow's, for S3 or GCS."""
        return self.access.filesystem

    @property
    def spill(self) -> Path:
        """This machine's folder for temporary files."""
        return Path(tempfile.gettempdir())

    def file(self, path: str) -> str:
        """`BUCKET/PREFIX/path`."""
        return f"{self.address.bucket}/{self.address.prefix}/{path}".removesuffix("/")

    def under(self, token: str | None) -> "BucketStorage":
        """The same, written under a lock."""
        return replace(self, token=token)

    def require_bucket(self, *, to_write: bool) -> None:
        """See that there is a bucket, and credentials if it is to be written.

        Raises:
            DatasetError: There is none, or there are no credentials.
        """
        try:
            info = self.filesystem.get_file_info(self.address.bucket)
        except OSError:
            info = None  # who may use a bucket's objects need not see the bucket; these will tell
        if info is not None and info.type == fs.FileType.NotFound:
            raise no_bucket(self.address)
        if to_write and self.access.anonymous:
            raise no_credentials(self.address)

    @contextmanager
    def lock(self) -> Iterator[Lock]:
        """Hold the dataset by an object that must be renewed, which a thread does."""
        with hold_lease(self.access) as lease, Path(os.devnull).open("rb") as nothing:
            yield Lock(self.location, nothing.fileno(), lease.owner.token)

    def confirm(self) -> None:
        """Ask the bucket whose lock it is."""
        if self.token is not None:
            confirm_lease(self.access, self.token)

    def write(self, path: str) -> AbstractContextManager[BinaryIO]:
        """Write to this machine first; then the object is put at once."""
        return self._write(path)

    @contextmanager
    def _write(self, path: str) -> Iterator[BinaryIO]:
        try:
            with tempfile.TemporaryFile() as stream:
                yield stream
                stream.flush()
                # In a thread, which Ctrl-C does not reach: a stream that is closed early is half an object.
                with ThreadPoolExecutor(1) as thread:
                    thread.submit(self._put, path, stream.fileno()).result()
        except OSError as error:
            raise refusal(self.address, f"{path}: cannot be written", error) from error

    def _put(self, path: str, descriptor: int) -> None:
        size = os.fstat(descriptor).st_size
        data = pa.py_buffer(mmap.mmap(descriptor, size, access=mmap.ACCESS_READ)) if size else b""
        with self.filesystem.open_output_stream(self.file(path)) as out:
            out.write(data)

    def read(self, path: str) -> bytes:
        """Read a whole object."""
        try:
            with self.filesystem.open_input_file(self.file(path)) as stream:
                return bytes(stream.read())
        except OSError as error:
            raise refusal(self.address, f"{path}: cannot be read", error) from error

    def probe(self, path: str) -> bytes | None:
        """Read a small object, None where there is none: the first question, which is soon given up.

        Raises:
            DatasetError: The bucket is not there, refuses, or cannot be reached.
        """
        seen = conditional_object(self.access, path).read()
        return None if seen is None else seen.data

    def exists(self, path: str) -> bool:
        """Tell whether there is such an object."""
        try:
            return bool(self.filesystem.get_file_info(self.file(path)).type == fs.FileType.File)
        except OSError as error:
            raise refusal(self.address, f"{path}: cannot be read", error) from error

    def list_files(self, folder: str) -> Iterator[str]:
        """List the paths of all objects below a folder."""
        yield from (path for path, _ in self._listed(folder))

    def stamps(self, folder: str) -> dict[str, tuple[int, int]]:
        """Tell size and time of each object; S3's times are of a second, see `write_commit`."""
        return {path: (info.size, info.mtime_ns) for path, info in self._listed(folder)}

    def _listed(self, folder: str) -> Iterator[tuple[str, fs.FileInfo]]:
        begin = f"{self.file('')}/"
        try:
            found = self.filesystem.get_file_info(
                fs.FileSelector(self.file(folder), recursive=True, allow_not_found=True)
            )
        except OSError as error:
            raise refusal(self.address, f"{folder}: cannot be listed", error) from error
        for info in found:
            # A key can end in a slash, to look like a folder.
            if info.type == fs.FileType.File and info.path.startswith(begin) and not info.path.endswith("/"):
                yield info.path[len(begin) :], info

    def copy(self, path: str, target: str) -> None:
        """Copy an object within the bucket, without its bytes coming here.

        Raises:
            DatasetError: It cannot be copied.
        """
        try:
            self.filesystem.copy_file(self.file(path), self.file(target))
        except OSError as error:
            raise refusal(self.address, f"{path}: cannot be copied to {target}", error) from error

    def rename(self, path: str, target: str) -> None:
        """Put the object's content under the other name, which is the stroke, and then delete it here."""
        self.copy(path, target)
        self.delete(path)

    def delete(self, path: str) -> None:
        """Delete an object."""
        try:
            self.filesystem.delete_file(self.file(path))
        except FileNotFoundError:
            return
        except OSError as error:
            raise refusal(self.address, f"{path}: cannot be deleted", error) from error

    def delete_folder(self, path: str) -> None:
        """Delete all objects below a folder."""
        for one in list(self.list_files(path)):
            self.delete(one)
