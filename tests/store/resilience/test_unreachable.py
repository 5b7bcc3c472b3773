"""An endpoint that never responds: one patience for all calls, then an error that ends the crawl."""

import anyio
import pytest
from virtual_time import in_virtual_time

from harvester.errors import (
    ConnectionFailedError,
    EndpointDownError,
    EndpointUnreachableError,
    PermanentConnectionError,
    StoreError,
)
from harvester.model import ByteRange, ObjectRef, RangeResponse
from harvester.store.http.listing import ListingPage, PagedStore
from harvester.store.resilience.endpoints import Endpoints
from harvester.store.resilience.limited_store import LimitedStore
from harvester.store.resilience.retrying_store import RetryingStore, RetryPolicy

HERE, THERE = ObjectRef("here", "a"), ObjectRef("there", "a", "gs")


class Network(PagedStore):
    """Raises the error of a bucket after a second, or responds."""

    def __init__(self, **errors: StoreError) -> None:
        self.errors = errors
        self.requests = 0

    async def get_range(self, ref: ObjectRef, wanted: ByteRange, *, etag: str | None = None) -> RangeResponse:  # noqa: ARG002
        self.requests += 1
        await anyio.sleep(1.0)
        if ref.bucket in self.errors:
            error = self.errors[ref.bucket]
            raise type(error)(error.message)
        return RangeResponse(b"x", 1, None)

    async def list_page(self, prefix: ObjectRef, token: str | None) -> ListingPage:
        await self.get_range(prefix, ByteRange(0, 1), etag=token)
        return ListingPage((), None)


def opened(network: Network, policy: RetryPolicy = RetryPolicy()) -> RetryingStore:  # noqa: B008
    endpoints = Endpoints(patience_seconds=policy.patience_seconds)
    limited = LimitedStore(network, endpoints, patience_seconds=policy.patience_seconds)
    return RetryingStore(limited, policy, endpoints)


async def error_of(store: RetryingStore, ref: ObjectRef) -> StoreError:
    with pytest.raises(StoreError) as caught:
        await store.get_range(ref, ByteRange(0, 1))
    return caught.value


def test_a_permanent_cause_is_not_retried():
    async def main():
        network = Network(here=PermanentConnectionError("here refuses connections"))
        error = await error_of(opened(network), HERE)
        assert isinstance(error, EndpointUnreachableError)
        assert error.message == "s3://here: here refuses connections; no request has succeeded"
        assert network.requests == 1

    in_virtual_time(main)


def test_a_permanent_cause_may_pass_once_the_endpoint_has_responded():
    async def main():
        network = Network()
        store = opened(network)
        await store.get_range(HERE, ByteRange(0, 1))
        network.errors["here"] = PermanentConnectionError("restarting")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(store.get_range, HERE, ByteRange(0, 1))
            await anyio.sleep(0.5)
            network.errors.clear()
        assert network.requests >= 2

    in_virtual_time(main)


def test_all_calls_wait_for_one_patience_together():
    async def main():
        store = opened(Network(here=ConnectionFailedError("cut")), RetryPolicy(attempts=10**6))
        for _ in range(20):
            error = await error_of(store, HERE)
            assert isinstance(error, EndpointUnreachableError)
            assert "cut" in error.message
        # A second until the first failure, the patience, and a probe that began before its end.
        assert 299.9 <= anyio.current_time() <= 302.0

    in_virtual_time(main)


def test_while_another_endpoint_responds_the_error_is_the_objects_own():
    async def main():
        store = opened(Network(here=PermanentConnectionError("refused")))
        await store.get_range(THERE, ByteRange(0, 1))
        assert type(await error_of(store, HERE)) is PermanentConnectionError

    in_virtual_time(main)


def test_while_another_endpoint_is_untried_the_error_is_the_objects_own():
    async def main():
        endpoints = Endpoints()
        endpoints.of(THERE)
        limited = LimitedStore(Network(here=PermanentConnectionError("refused")), endpoints)
        with pytest.raises(PermanentConnectionError):
            await limited.get_range(HERE, ByteRange(0, 1))

    in_virtual_time(main)


def test_an_endpoint_that_has_responded_is_waited_for_by_each_call():
    async def main():
        network = Network()
        store = opened(network, RetryPolicy(attempts=10**6))
        await store.get_range(HERE, ByteRange(0, 1))
        network.errors["here"] = ConnectionFailedError("cut")
        for _ in range(2):
            start = anyio.current_time()
            assert type(await error_of(store, HERE)) is EndpointDownError
            assert anyio.current_time() - start >= 299.9

    in_virtual_time(main)


def test_a_listing_ends_with_the_same_error():
    async def main():
        store = opened(Network(here=PermanentConnectionError("refused")))
        with pytest.raises(EndpointUnreachableError):
            [found async for found in store.list_objects(HERE)]

    in_virtual_time(main)
