"""Opens the store that serves every URL scheme: buckets and HTTP over the network, files from the disk."""

import os
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, TypeAlias

from harvester.config.certificates import named_certificates, tls_context
from harvester.config.proxies import Proxies
from harvester.errors import ConfigError, ListingError, RequestRejectedError
from harvester.model import ByteRange, ListedObject, ObjectRef, RangeResponse
from harvester.store.base import Store
from harvester.store.descriptors import affordable_concurrency
from harvester.store.http.connection_pool import HttpLimits
from harvester.store.http.signing import Signer
from harvester.store.http.store import HttpStore, open_http_store
from harvester.store.local import LocalStore
from harvester.store.replicas import CopyReader, ReplicaOrder
from harvester.store.resilience.endpoints import Endpoints
from harvester.store.resilience.limited_store import LimitedStore
from harvester.store.resilience.retrying_store import DEFAULT_RETRY, RetryingStore, RetryPolicy
from harvester.store.telemetry import Telemetry

Credentials: TypeAlias = Literal["none", "environment"]

# https://cloud.google.com/storage/docs/request-rate: the first rate of a bucket's reads.
_GCS_REQUESTS_PER_SECOND = 5000.0

# At a copy of an object that has other copies.
_FAIL_FAST_ATTEMPTS = 2


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """How many requests a process sends, and how long it insists.

    Args:
        concurrency: The most requests at once; an endpoint gets fewer while it responds badly, and a
            process whose file descriptors do not suffice sends fewer.
        requests_per_second: The most that all processes together start; 0 means no bound.
        timeout_seconds: For one request and its whole response.
        retry: How often and how long a request is tried.
        hedge: Whether the slowest 1 % of requests are sent a second time.
        processes: How many processes share the rates, this one included.
        ca_bundle: A file of certificates to trust besides the system's.
        credentials: "environment" signs requests with what botocore and google-auth find; so does the
            variable HARVESTER_CREDENTIALS.
        requester_pays: Whether signed requests may be billed to the owner of the credentials.
    """

    concurrency: int = 64
    requests_per_second: float = 0.0
    timeout_seconds: float = 60.0
    retry: RetryPolicy = DEFAULT_RETRY
    hedge: bool = False
    processes: int = 1
    ca_bundle: str | None = None
    credentials: Credentials = "none"
    requester_pays: bool = False


DEFAULT_SETTINGS = StoreSettings()


@asynccontextmanager
async def open_store(
    settings: StoreSettings = DEFAULT_SETTINGS, *, endpoint: str | None = None
) -> AsyncIterator["OpenedStore"]:
    """A store for refs of every scheme: `s3`, `gs`, `https` and `http` with limits and retries, and `file`.

    Args:
        settings: How many requests it sends, and how long it insists.
        endpoint: Replaces the endpoints of S3 and GCS; the bucket is the first part of the path.

    Raises:
        ConfigError: The endpoint is not a URL, or the environment's proxies or certificates are unusable.
    """
    concurrency = affordable_concurrency(settings.concurrency)
    limits = HttpLimits(kept_connections=concurrency, total_seconds=settings.timeout_seconds)
    endpoints = Endpoints(
        concurrency,
        requests_per_second=settings.requests_per_second / settings.processes,
        # A rule of Google's servers only.
        gcs_requests_per_second=_GCS_REQUESTS_PER_SECOND / settings.processes if endpoint is None else 0.0,
        patience_seconds=settings.retry.patience_seconds,
    )
    tls, proxies = partial(tls_context, named_certificates(settings.ca_bundle)), Proxies.of_environment()
    credentials = os.environ.get("HARVESTER_CREDENTIALS") or settings.credentials
    if credentials not in ("none", "environment"):
        raise ConfigError(f'HARVESTER_CREDENTIALS = {credentials!r}: expected "none" or "environment"')
    signer = None if credentials == "none" else Signer(requester_pays=settings.requester_pays)
    async with open_http_store(
        endpoint=endpoint, limits=limits, tls=tls, proxies=proxies, signer=signer
    ) as http:
        yield OpenedStore(http, settings, endpoints)


class SchemeStore:
    """A store that passes each call on to the store of the URL scheme.

    Args:
        stores: The store of each scheme.
    """

    def __init__(self, stores: Mapping[str, Store]) -> None:
        self._stores = stores

    def get_range(
        self, ref: ObjectRef, wanted: ByteRange, *, etag: str | None = None
    ) -> Coroutine[Any, Any, RangeResponse]:
        """Read one range of an object from its scheme's store.

        Raises:
            StoreError: One of its subclasses; RequestRejectedError if no store serves the scheme.
        """
        store = self._stores.get(ref.scheme)
        if store is None:
            raise RequestRejectedError(f"no store serves {ref.scheme}://", url=ref.url)
        return store.get_range(ref, wanted, etag=etag)

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


class OpenedStore(SchemeStore):
    """The store of `open_store`, and the state of its endpoints.

    Args:
        http: Sends the requests.
        settings: How many requests it sends, and how long it insists.
        endpoints: The state of each endpoint.

    Attributes:
        endpoints: The same.
        fail_fast: The same store with two attempts and no patience: for an object that has another copy.
    """

    def __init__(self, http: HttpStore, settings: StoreSettings, endpoints: Endpoints) -> None:
        def stores(policy: RetryPolicy) -> dict[str, Store]:
            limited = LimitedStore(
                http, endpoints, patience_seconds=policy.patience_seconds, hedge=settings.hedge
            )
            remote = RetryingStore(limited, policy, endpoints)
            return {"s3": remote, "gs": remote, "https": remote, "http": remote, "file": LocalStore()}

        super().__init__(stores(settings.retry))
        attempts = min(settings.retry.attempts, _FAIL_FAST_ATTEMPTS)
        self.endpoints = endpoints
        self._processes = settings.processes
        self.fail_fast: Store = SchemeStore(
            stores(replace(settings.retry, attempts=attempts, patience_seconds=0.0))
        )

    def copy_reader(self, schemes: Sequence[str] = ()) -> CopyReader:
        """A reader of objects that have copies; reads are divided between the copies in these schemes."""
        return CopyReader(ReplicaOrder(self.endpoints, schemes), self.fail_fast, self)

    def expect(self, refs: Iterable[ObjectRef]) -> None:
        """Know the endpoints of objects that will be read: while one is untried, none ends the crawl."""
        for ref in refs:
            if ref.scheme != "file":
                self.endpoints.of(ref)

    def share(self, processes: int) -> None:
        """Divide the rates between this number of processes from now on."""
        if processes != self._processes:
            self.endpoints.scale_rates(self._processes / processes)
            self._processes = processes

    def telemetry(self) -> Telemetry:
        """What the requests so far did, by endpoint."""
        return self.endpoints.telemetry()
