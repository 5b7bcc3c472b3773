"""Opens the one store that serves every address: buckets and HTTP over the network, files from the disk."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from harvester.errors import ListingError, RequestRejectedError
from harvester.model import ByteRange, ListedObject, ObjectRef, RangeAnswer
from harvester.store.base import Store
from harvester.store.http import HttpLimits, open_http_store
from harvester.store.local import LocalStore
from harvester.store.retry import DEFAULT_RETRY, RetryingStore, RetryPolicy


@asynccontextmanager
async def open_store(
    *,
    endpoint: str | None = None,
    concurrency: int = 64,
    timeout_seconds: float = 60.0,
    retry: RetryPolicy = DEFAULT_RETRY,
) -> AsyncIterator[Store]:
    """A store for refs of every scheme: `s3`, `gs`, `https` and `http` with retries, and `file`.

    Args:
        endpoint: Replaces the addresses of S3 and GCS, with the bucket in the path.
        concurrency: Requests at once; more callers wait their turn.
        timeout_seconds: For one request and its whole answer.
        retry: How often and how long a request is tried.

    Raises:
        ConfigError: The endpoint is no address.
    """
    limits = HttpLimits(concurrency=concurrency, total_seconds=timeout_seconds)
    async with open_http_store(endpoint=endpoint, limits=limits) as http:
        remote = RetryingStore(http, retry)
        yield SchemeStore({"s3": remote, "gs": remote, "https": remote, "http": remote, "file": LocalStore()})


class SchemeStore:
    """A store that passes each call on to the store of the ref's scheme.

    Args:
        stores: Which store serves which scheme.
    """

    def __init__(self, stores: Mapping[str, Store]) -> None:
        self._stores = dict(stores)

    async def get_range(self, ref: ObjectRef, wanted: ByteRange, *, etag: str | None = None) -> RangeAnswer:
        """Read one range of an object from its scheme's store.

        Raises:
            StoreError: One of its children; RequestRejectedError where no store serves the scheme.
        """
        store = self._stores.get(ref.scheme)
        if store is None:
            raise RequestRejectedError(f"no store serves {ref.scheme}://", url=ref.url)
        return await store.get_range(ref, wanted, etag=etag)

    async def list_objects(self, prefix: ObjectRef) -> AsyncIterator[ListedObject]:
        """All objects under a prefix, from its scheme's store.

        Raises:
            ListingError: The listing failed, or no store serves the scheme.
        """
        store = self._stores.get(prefix.scheme)
        if store is None:
            raise ListingError(f"no store serves {prefix.scheme}://", url=prefix.url)
        async for listed in store.list_objects(prefix):
            yield listed
