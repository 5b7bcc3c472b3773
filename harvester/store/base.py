"""What every store can do: give a range of an object, and list objects."""

from collections.abc import AsyncIterator
from typing import Protocol

from harvester.model import ByteRange, ListedObject, ObjectRef, RangeResponse


class Store(Protocol):
    """A place where objects lie. One request a call; retrying is another room's work."""

    async def get_range(self, ref: ObjectRef, wanted: ByteRange, *, etag: str | None = None) -> RangeResponse:
        """Read one range of an object.

        Args:
            ref: The object.
            wanted: The bytes; a stop behind the object's end is cut to it.
            etag: If given, the object must still have this ETag.

        Raises:
            StoreError: One of its children says what is wrong. A `wanted` that starts at or behind
                the object's end gives an empty answer, not an error, where the store says the size.
        """
        ...

    def list_objects(self, prefix: ObjectRef) -> AsyncIterator[ListedObject]:
        """All objects whose key starts with the prefix's key, in the store's order.

        Raises:
            ListingError: The listing failed or contradicts itself; never a shorter listing.
        """
        ...
