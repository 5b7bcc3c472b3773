"""What every store offers: ranges of objects, and listings."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from harvester.errors import NotFoundError, ObjectChangedError, StoreError
from harvester.model import ByteRange, ListedObject, ObjectRef, RangeResponse


class Store(Protocol):
    """A place that holds objects."""

    async def get_range(self, ref: ObjectRef, wanted: ByteRange, *, etag: str | None = None) -> RangeResponse:
        """Read one range of an object.

        Args:
            ref: The object.
            wanted: The bytes; a stop behind the object's end is cut to it.
            etag: If given, the object must still have this ETag.

        Raises:
            StoreError: One of its subclasses says what is wrong. A range that starts at or behind the
                object's end gives an empty response, not an error, if the store gives the size.
        """
        ...

    def list_objects(self, prefix: ObjectRef) -> AsyncIterator[ListedObject]:
        """All objects whose key starts with the prefix's key, in the store's order.

        Raises:
            ListingError: The listing failed or contradicts itself; a partial listing is never returned.
        """
        ...


def check_unchanged(ref: ObjectRef, offset: int, size: int, response: RangeResponse) -> None:
    """Check that a response belongs to the object that was read before.

    A store without ETags shows a replaced object only by its size.

    Args:
        ref: The object.
        offset: The first byte that was requested; it lies inside the object.
        size: The object's size in an earlier response.
        response: The response to check.

    Raises:
        ObjectChangedError: The size differs, or nothing came.
    """
    if response.size != size or not response.data:
        raise ObjectChangedError(
            f"the object was replaced: its size was {size} bytes, now it is {response.size}",
            url=ref.url,
            offset=offset,
        )


def first_informative(errors: Sequence[StoreError]) -> StoreError:
    """Of the errors of an object's copies, the first that is not "not found", else the last.

    A missing copy does not explain why the other copies could not be read.
    """
    return next((error for error in errors if not isinstance(error, NotFoundError)), errors[-1])
