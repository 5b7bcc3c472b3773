"""How an object is reached: addresses in every form, the store, its disk cache, and a search's progress."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import cache as remember
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias, TypedDict, runtime_checkable

from anyio import to_thread

from harvester.errors import ConfigError
from harvester.model import ByteRange, ListedObject, ObjectRef, RangeResponse
from harvester.reader.disk_cache import CachedRange, DiskCache
from harvester.reader.event_loop import LOOP, SETTINGS
from harvester.store.base import Store
from harvester.store.open import Credentials, open_store

_SCHEME: Final = "harvester://"


@runtime_checkable
class _UniversalPath(Protocol):
    """A path of universal-pathlib, as far as it is needed."""

    protocol: str
    storage_options: Any


Address: TypeAlias = str | os.PathLike[str] | _UniversalPath
"""`s3://`, `gs://`, `https://`, `http://`, `file://` or `harvester://` address; or a path, also a `UPath`."""

Progress: TypeAlias = Callable[[int, int], None]
"""Called during a search for frames: bytes searched so far, size of the object."""


class AccessOptions(TypedDict, total=False):
    """Options of all functions that read objects.

    Attributes:
        endpoint: Replaces the cloud's address: `http://HOST:PORT`, with the bucket in the path.
        credentials: "environment" signs requests to S3 and Cloud Storage with what botocore and google-auth
            find; the default is the variable HARVESTER_CREDENTIALS, else "none".
        store: Replaces the shared store (`harvester.store.open.open_store`).
        cache: A `DiskCache` or its folder; off by default.
        progress: Called with the bytes searched and the object's size while frames are searched.
    """

    endpoint: str | None
    credentials: Credentials
    store: Store | None
    cache: DiskCache | str | Path | None
    progress: Progress | None


@dataclass(frozen=True, slots=True)
class Access:
    """How the objects of one call are reached; the attributes are those of `AccessOptions`."""

    endpoint: str | None = None
    store: Store | None = None
    cache: DiskCache | str | Path | None = None
    progress: Progress | None = None
    credentials: Credentials = "none"

    def shared_store(self) -> "ReaderStore":
        """The store for blocking callers.

        Raises:
            ConfigError: The endpoint or the cache's folder is not valid.
        """
        return self._wrapped(
            LOOP.store(self.endpoint, self.credentials) if self.store is None else self.store
        )

    @asynccontextmanager
    async def own_store(self) -> AsyncIterator["ReaderStore"]:
        """A store for the running event loop.

        Raises:
            ConfigError: The endpoint or the cache's folder is not valid.
        """
        if self.store is not None:
            yield self._wrapped(self.store)
            return
        settings = replace(SETTINGS, credentials=self.credentials)
        async with open_store(settings, endpoint=self.endpoint) as store:
            yield self._wrapped(store)

    def _wrapped(self, store: Store) -> "ReaderStore":
        cache = self.cache
        if cache is not None and not isinstance(cache, DiskCache):
            cache = _cache_in(os.fspath(cache))
        return ReaderStore(store, cache, self.progress)


@remember
def _cache_in(folder: str) -> DiskCache:
    return DiskCache(folder)


@dataclass(frozen=True, slots=True)
class ReaderStore:
    """A store, and what the reader adds to it.

    Attributes:
        store: The store.
        cache: Holds ranges of objects whose ETag is known.
        progress: Called while frames are searched.
    """

    store: Store
    cache: DiskCache | None = None
    progress: Progress | None = None

    async def get_range(self, ref: ObjectRef, wanted: ByteRange, *, etag: str | None = None) -> RangeResponse:
        """Read one range from the cache or the store.

        Raises:
            StoreError: The range cannot be read.
        """
        cache = self.cache_of(ref)
        if cache is None:
            return await self.store.get_range(ref, wanted, etag=etag)
        if etag is not None:
            found = await to_thread.run_sync(cache.read_range, ref.url, etag, wanted)
            if found is not None:
                return RangeResponse(found.data, found.size, etag, requests=0)
        response = await self.store.get_range(ref, wanted, etag=etag)
        if response.etag is not None and not response.etag.startswith("W/"):  # a weak ETag is not of bytes
            fetched = CachedRange(response.data, response.size)
            await to_thread.run_sync(cache.write_range, ref.url, response.etag, fetched, wanted.start)
        return response

    def list_objects(self, prefix: ObjectRef) -> AsyncIterator[ListedObject]:
        """All objects under a prefix.

        Raises:
            ListingError: The listing failed.
        """
        return self.store.list_objects(prefix)

    def cache_of(self, ref: ObjectRef) -> DiskCache | None:
        """The cache for an object; None for local files."""
        return None if ref.scheme == "file" else self.cache


def object_ref(url: Address) -> ObjectRef:
    """Parse the address of an object.

    Raises:
        ConfigError: It is not valid.
    """
    if hasattr(url, "as_py"):  # a value of an Arrow column
        url = url.as_py()
    if not isinstance(url, str | os.PathLike | _UniversalPath):
        raise ConfigError(f"{url!r}: an address is a text or a path, not {type(url).__name__}")
    text = str(url) if isinstance(url, _UniversalPath) else os.fspath(url)
    if not isinstance(text, str):
        raise ConfigError(f"{text!r}: an address is a text or a path, not bytes")
    if text.startswith(_SCHEME):
        scheme, _, rest = text.removeprefix(_SCHEME).partition("/")
        text = f"{scheme}://{'/' * (scheme == 'file')}{rest}"
    return ObjectRef.parse(text)
