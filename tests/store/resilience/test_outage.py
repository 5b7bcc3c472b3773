"""The whole stack (HTTP, limits, retries) at a server that fails: every object comes in the end."""

from dataclasses import replace

import anyio
import pytest
from endpoint_outage import take_down
from faulty_bucket import FAULTS, FaultyBucket, serving
from retry_policies import NO_WAITING
from virtual_time import in_virtual_time

from harvester.errors import ConnectionFailedError, EndpointDownError, StoreError, TimedOutError
from harvester.model import ByteRange, ObjectRef, RangeResponse
from harvester.store.http.connection_pool import HttpLimits
from harvester.store.http.listing import ListingPage, PagedStore
from harvester.store.http.store import open_http_store
from harvester.store.open import OpenedStore, StoreSettings, open_store
from harvester.store.resilience.endpoints import Endpoints
from harvester.store.resilience.limited_store import LimitedStore
from harvester.store.resilience.retry_budget import RetryBudget
from harvester.store.resilience.retrying_store import RetryingStore, RetryPolicy

pytestmark = pytest.mark.anyio

OBJECTS = {f"a/{number:03d}": bytes([number % 256]) * 300 for number in range(300)}
INSISTENT = replace(NO_WAITING, attempts=20)


async def read_all(store: OpenedStore | RetryingStore, callers: int = 30) -> dict[str, RangeResponse]:
    """Read two windows of every object, as the crawl does; each caller one object after another."""
    responses: dict[str, RangeResponse] = {}
    keys = iter(OBJECTS)

    async def call() -> None:
        for key in keys:
            ref = ObjectRef("scans", key)
            first = await store.get_range(ref, ByteRange(0, 100))
            second = await store.get_range(ref, ByteRange(100, 300), etag=first.etag)
            responses[key] = second._replace(
                data=first.data + second.data, requests=first.requests + second.requests
            )

    async with anyio.create_task_group() as tasks:
        for _ in range(callers):
            tasks.start_soon(call)
    return responses


def data_of(responses: dict[str, RangeResponse]) -> dict[str, bytes]:
    return {key: answer.data for key, answer in responses.items()}


@pytest.mark.parametrize("faults", [*((fault,) for fault in FAULTS), FAULTS], ids="+".join)
async def test_every_object_comes_though_a_fifth_of_all_answers_is_spoilt(faults):
    slow = {"hang", "drip"}.intersection(faults)
    settings = StoreSettings(timeout_seconds=1.0 if slow else 20.0, retry=INSISTENT)
    async with (
        serving(FaultyBucket(OBJECTS, faults, share=0.2)) as server,
        open_store(settings, endpoint=server.endpoint) as store,
    ):
        responses = await read_all(store)
        told = store.telemetry().endpoints["s3://scans"]
    assert data_of(responses) == OBJECTS
    assert set(server.spoilt) == set(faults)
    # What was asked is what was counted, in the rows and in the record.
    assert sum(answer.requests for answer in responses.values()) == told.requests
    assert told.responses == 2 * len(OBJECTS)
    assert sum(told.retries.values()) == sum(told.failures.values())
    if not slow:  # else a busy machine may time out where nothing is wrong, or before the server reads
        assert told.requests == server.requests
        assert sum(told.failures.values()) <= sum(server.spoilt.values())


async def test_a_listing_comes_though_a_fifth_of_all_answers_is_spoilt():
    faults = tuple(set(FAULTS) - {"whole_object", "other_range", "short_body"})  # no lies for a page
    settings = StoreSettings(timeout_seconds=1.0, retry=INSISTENT)
    async with (
        serving(FaultyBucket(OBJECTS, faults, share=0.2)) as server,
        open_store(settings, endpoint=server.endpoint) as store,
    ):
        found = [listed.ref.key async for listed in store.list_objects(ObjectRef("scans", "a/"))]
    assert found == list(OBJECTS)
    assert server.spoilt


async def test_calls_wait_while_the_server_is_down_and_go_on_when_it_is_back():
    endpoints = Endpoints(30, retry_budget=RetryBudget(10**9))
    policy = RetryPolicy(attempts=10**9, longest_seconds=0.01, patience_seconds=60.0)
    async with (
        serving(FaultyBucket(OBJECTS)) as server,
        open_http_store(endpoint=server.endpoint) as http,
    ):
        store = RetryingStore(LimitedStore(http, endpoints, patience_seconds=60.0), policy, endpoints)
        circuit = endpoints.of(ObjectRef("scans", "a/")).circuit

        async def outage() -> None:
            while server.requests < 200:
                await anyio.lowlevel.checkpoint()
            server.down = True
            while not circuit.is_open or endpoints.of(ObjectRef("scans", "a/")).limit.in_flight:
                await anyio.lowlevel.checkpoint()
            server.here, server.at_once = 0, 0
            while server.at_once == 0:
                await anyio.lowlevel.checkpoint()
            assert server.at_once == 1  # a single probe, though all other calls wait
            server.down = False

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(outage)
            responses = await read_all(store)
    assert data_of(responses) == OBJECTS
    assert not circuit.is_open
    told = endpoints.telemetry().total
    assert told.probes >= 1
    assert sum(response.requests for response in responses.values()) == told.requests == server.requests


async def test_a_server_that_stays_down_gets_few_requests():
    endpoints = Endpoints(64)
    errors: list[StoreError] = []
    async with (
        serving(FaultyBucket(OBJECTS, down=True)) as server,
        open_http_store(endpoint=server.endpoint) as http,
    ):
        await take_down(endpoints.of(ObjectRef("scans", "a/")).circuit)
        store = RetryingStore(LimitedStore(http, endpoints, patience_seconds=0.3), INSISTENT, endpoints)

        async def call(key: str) -> None:
            try:
                await store.get_range(ObjectRef("scans", key), ByteRange(0, 100))
            except StoreError as error:
                errors.append(error)

        async with anyio.create_task_group() as tasks:
            for key in OBJECTS:
                tasks.start_soon(call, key)
    assert len(errors) == len(OBJECTS)
    assert {type(error) for error in errors} == {EndpointDownError}
    assert all("s3://scans has not responded" in error.message for error in errors)
    assert all(error.url.startswith("s3://scans/a/") for error in errors)
    assert server.requests < 10  # probes


class RefusingStore(PagedStore):
    """Refuses every request at once."""

    def __init__(self) -> None:
        self.requests = 0

    async def get_range(self, ref: ObjectRef, wanted: ByteRange, *, etag: str | None = None) -> RangeResponse:  # noqa: ARG002
        self.requests += 1
        await anyio.lowlevel.checkpoint()
        raise ConnectionFailedError("refused")

    async def list_page(self, prefix: ObjectRef, token: str | None) -> ListingPage:
        raise NotImplementedError


def test_in_an_outage_retries_are_no_more_than_the_budget_pays_for():
    """In no time at all, so that no circuit opens, with calls that would retry for ever: the budget alone."""

    async def main() -> None:
        endpoints = Endpoints(64, retry_budget=RetryBudget(100, per_second=1e-6))
        refusing = RefusingStore()
        policy = replace(NO_WAITING, attempts=1000)
        store = RetryingStore(LimitedStore(refusing, endpoints), policy, endpoints)

        async def call(key: str) -> None:
            with pytest.raises(ConnectionFailedError):
                await store.get_range(ObjectRef("scans", key), ByteRange(0, 100))

        async with anyio.create_task_group() as tasks:
            for key in OBJECTS:
                tasks.start_soon(call, key)
        assert refusing.requests == len(OBJECTS) + 100 / 5
        assert sum(endpoints.telemetry().total.retries.values()) == 20

    in_virtual_time(main)


async def test_slots_fall_while_a_server_hangs_and_a_hang_ends():
    limits = HttpLimits(total_seconds=0.05)
    endpoints = Endpoints(32)
    async with (
        serving(FaultyBucket(OBJECTS, ("hang",), share=1.0)) as server,
        open_http_store(endpoint=server.endpoint, limits=limits) as http,
    ):
        store = LimitedStore(http, endpoints, patience_seconds=0.0)

        async def call(key: str) -> None:
            with pytest.raises((TimedOutError, EndpointDownError)):
                await store.get_range(ObjectRef("scans", key), ByteRange(0, 100))

        async with anyio.create_task_group() as tasks:
            for key in list(OBJECTS)[:60]:
                tasks.start_soon(call, key)
    assert endpoints.of(ObjectRef("scans", "a/")).limit.slots < 10
