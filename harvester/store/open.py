"""Opens the one store that serves every address: buckets and HTTP over the network, files from the disk."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from harvester.errors import ListingError, RequestRejectedError
from harvester.model import ByteRange, ListedObject, ObjectRef, RangeResponse
from harvester.store.base import Store
from harvester.store.http.store import HttpLimits, HttpStore, open_http_store
from harvester.store.local import LocalStore
from harvester.store.replicas import CopyReader, ReplicaOrder
from harvester.store.resilience.endpoints import EndpointRules, Endpoints
from harvester.store.resilience.limited_store import LimitedStore
from harvester.store.resilience.retry_budget import RetryBudget
from harvester.store.resilience.retrying_store import DEFAULT_RETRY, RetryingStore, RetryPolicy
from harvester.store.telemetry import Telemetry

# https://cloud.google.com/storage/docs/request-rate: reads of a bucket a second, to begin with.
_GCS_READS_PER_SECOND = 5000.0

# At a copy that has others behind it: once more at once, then the next one.
_HASTY_ATTEMPTS = 2


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """How hard a process may ask, and how long it insists.

    Args:
        concurrency: The most requests at once; each endpoint gets fewer while it answers badly.
        requests_per_second: The most that the whole crawl begins; 0 is no bound.
        timeout_seconds: For one request and its whole answer.
        retry: How often and how long a request is tried.
        hedge: Whether the slowest 1 % of requests are issued a second time.
        processes: How many share the rates, this one included.
    """

    concurrency: int = 64
    requests_per_second: float = 0.0
    timeout_seconds: float = 60.0
    retry: RetryPolicy = DEFAULT_RETRY
    hedge: bool = False
    processes: int = 1


DEFAULT_SETTINGS = StoreSettings()


@asynccontextmanager
async def open_store(
    settings: StoreSettings = DEFAULT_SETTINGS,
    *,
    endpoint: str | None = None,
    budget: RetryBudget | None = None,
    concurrency: int | None = None,
    timeout_seconds: float | None = None,
    retry: RetryPolicy | None = None,
) -> AsyncIterator["OpenedStore"]:
    """A store for refs of every scheme: `s3`, `gs`, `https` and `http` with limits and retries, and `file`.

    Args:
        settings: How hard and how long it asks.
        endpoint: Replaces the addresses of S3 and GCS, with the bucket in the path.
        budget: Pays for retries; to be given where a process opens more than one store.
        concurrency: Replaces the settings' own, as the two below do.
        timeout_seconds: For one request and its whole answer.
        retry: How often and how long a request is tried.

    Raises:
        ConfigError: The endpoint is no address.
    """
    settings = replace(
        settings,
        concurrency=settings.concurrency if concurrency is None else concurrency,
        timeout_seconds=settings.timeout_seconds if timeout_seconds is None else timeout_seconds,
        retry=settings.retry if retry is None else retry,
    )
    limits = HttpLimits(concurrency=settings.concurrency, total_seconds=settings.timeout_seconds)
    rules = EndpointRules(
        ceiling=settings.concurrency,
        requests_per_second=settings.requests_per_second / settings.processes,
        # Another server than Google's has no such rule.
        ramp_per_second=_GCS_READS_PER_SECOND / settings.processes if endpoint is None else 0.0,
    )
    async with open_http_store(endpoint=endpoint, limits=limits) as http:
        yield OpenedStore(http, settings, Endpoints(rules), RetryBudget() if budget is None else budget)


class SchemeStore:
    """A store that passes each call on to the store of the ref's scheme.

    Args:
        stores: Which store serves which scheme.
    """

    def __init__(self, stores: Mapping[str, Store]) -> None:
        self._stores = dict(stores)

    async def get_range(self, ref: ObjectRef, wanted: ByteRange, *, etag: str | None = None) -> RangeResponse:
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


class OpenedStore(SchemeStore):
    """The store of `open_store`, and what is known of the endpoints that it asks.

    Args:
        http: Sends the requests.
        settings: How hard and how long it asks.
        endpoints: The state of each endpoint.
        budget: Pays for retries.

    Attributes:
        endpoints: The state of each endpoint.
        hasty: The same store, but it gives up soon: for an object that has another copy.
    """

    def __init__(
        self, http: HttpStore, settings: StoreSettings, endpoints: Endpoints, budget: RetryBudget
    ) -> None:
        def stack(policy: RetryPolicy) -> dict[str, Store]:
            limited = LimitedStore(
                http, endpoints, patience_seconds=policy.patience_seconds, hedge=settings.hedge
            )
            remote = RetryingStore(limited, policy, budget=budget, endpoints=endpoints)
            return {"s3": remote, "gs": remote, "https": remote, "http": remote, "file": LocalStore()}

        super().__init__(stack(settings.retry))
        attempts = min(settings.retry.attempts, _HASTY_ATTEMPTS)
        self.endpoints = endpoints
        self._processes = settings.processes
        self.hasty: Store = SchemeStore(
            stack(replace(settings.retry, attempts=attempts, patience_seconds=0.0))
        )

    def spread(self, schemes: Sequence[str] = ()) -> ReplicaOrder:
        """In which order the copies of an object are tried, spread between some schemes."""
        return ReplicaOrder(self.endpoints, schemes)

    def copy_reader(self, schemes: Sequence[str] = ()) -> CopyReader:
        """Reads objects that have copies, spread between some schemes."""
        return CopyReader(self.spread(schemes), self.hasty, self)

    def share(self, processes: int) -> None:
        """So many processes share the rates from now on, this one included."""
        if processes != self._processes:
            self.endpoints.scale(self._processes / processes)
            self._processes = processes

    def telemetry(self) -> Telemetry:
        """What the requests so far did, by endpoint."""
        return self.endpoints.telemetry()
