"""A store over objects in memory that counts requests."""

import hashlib
from collections.abc import AsyncIterator, Mapping

from harvester.errors import NotFoundError, ObjectChangedError
from harvester.model import ByteRange, ListedObject, ObjectRef, RangeResponse


class MemoryStore:
    """A store over a dictionary.

    Args:
        objects: The first objects, by ref or by address (`s3://bucket/key`).

    Attributes:
        ranges: Every range that was asked for, in order.
        bytes_fetched: The bytes of all answers.
    """

    def __init__(self, objects: Mapping[ObjectRef | str, bytes] | None = None) -> None:
        self._objects: dict[ObjectRef, tuple[bytes, str]] = {}
        self.ranges: list[tuple[ObjectRef, ByteRange]] = []
        self.bytes_fetched = 0
        for where, data in (objects or {}).items():
            self.put(where, data)

    @property
    def requests(self) -> int:
        """The number of requested ranges."""
        return len(self.ranges)

    def put(self, where: ObjectRef | str, data: bytes) -> ObjectRef:
        """Add or replace an object; replacing it by other bytes changes its ETag."""
        ref = ObjectRef.parse(where) if isinstance(where, str) else where
        self._objects[ref] = (bytes(data), hashlib.md5(data, usedforsecurity=False).hexdigest())
        return ref

    async def get_range(self, ref: ObjectRef, wanted: ByteRange, *, etag: str | None = None) -> RangeResponse:
        """Read one range.

        Raises:
            NotFoundError: There is no such object.
            ObjectChangedError: Its ETag is another.
        """
        self.ranges.append((ref, wanted))
        if ref not in self._objects:
            raise NotFoundError("no such object in memory", url=ref.url)
        data, found = self._objects[ref]
        if etag is not None and etag != found:
            raise ObjectChangedError("the object was replaced", url=ref.url, offset=wanted.start)
        part = data[wanted.start : wanted.stop]
        self.bytes_fetched += len(part)
        return RangeResponse(data=part, size=len(data), etag=found)

    async def list_objects(self, prefix: ObjectRef) -> AsyncIterator[ListedObject]:
        """All objects under a prefix, in the order of their keys' UTF-8 bytes, as S3 lists."""
        for ref in sorted(self._objects, key=lambda ref: ref.key.encode("utf-8", "surrogatepass")):
            if (ref.scheme, ref.bucket) == (prefix.scheme, prefix.bucket) and ref.key.startswith(prefix.key):
                data, etag = self._objects[ref]
                yield ListedObject(ref=ref, size=len(data), etag=etag)
