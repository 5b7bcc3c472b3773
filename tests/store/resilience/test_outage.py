"""The whole stack (HTTP, limits, retries) at a server that fails: every object comes in the end."""

from dataclasses import replace

import anyio
import pytest
from faulty_bucket import FAULTS, FaultyBucket, serving

from harvester.errors import EndpointDownError, StoreError, TimedOutError
from harvester.model import ByteRange, ObjectRef, RangeResponse
from harvester.store.http.store import HttpLimits, open_http_store
from harvester.store.open import OpenedStore, StoreSettings, open_store
from harvester.store.resilience.circuit_breaker import CircuitRules
from harvester.store.resilience.endpoints import EndpointRules, Endpoints
from harvester.store.resilience.limited_store import LimitedStore
from harvester.store.resilience.retry_budget import RetryBudget
from harvester.store.resilience.retrying_store import NO_WAITING, RetryingStore

pytestmark = pytest.mark.anyio

OBJECTS = {f"a/{number:03d}": bytes([number % 256]) * 300 for number in range(300)}
INSISTENT = replace(NO_WAITING, attempts=20)
# Soon opened and often probed, so that a test's outage need not last.
IMPATIENT = CircuitRules(failures=5, silent_seconds=0.0, probe_seconds=0.01, longest_probe_seconds=0.05)


async def read_all(store: OpenedStore | RetryingStore, callers: int = 30) -> dict[str, RangeResponse]:
    """Read two windows of every object, as the crawl does; each caller one object after another."""
    answers: dict[str, RangeResponse] = {}
    keys = iter(OBJECTS)

    async def call() -> None:
        for key in keys:
            ref = ObjectRef("scans", key)
            first = await store.get_range(ref, ByteRange(0, 100))
            second = await store.get_range(ref, ByteRange(100, 300), etag=first.etag)
            answers[key] = replace(
                second, data=first.data + second.data, requests=first.requests + second.requests
            )

    async with anyio.create_task_group() as tasks:
        for _ in range(callers):
            tasks.start_soon(call)
    return answers


def data_of(answers: dict[str, RangeResponse]) -> dict[str, bytes]:
    return {key: answer.data for key, answer in answers.items()}


@pytest.mark.parametrize("faults", [*((fault,) for fault in FAULTS), FAULTS], ids="+".join)
async def test_every_object_comes_though_a_fifth_of_all_answers_is_spoilt(faults):
    slow = {"hang", "drip"}.intersection(faults)
    settings = StoreSettings(timeout_seconds=0.2 if slow else 20.0, retry=INSISTENT)
    async with (
        serving(FaultyBucket(OBJECTS, faults, share=0.2)) as server,
        open_store(settings, endpoint=server.endpoint) as store,
    ):
        answers = await read_all(store)
        told = store.telemetry().endpoints["s3://scans"]
    assert data_of(answers) == OBJECTS
    assert set(server.spoilt) == set(faults)
    # What was asked is what was counted, in the rows and in the record.
    assert sum(answer.requests for answer in answers.values()) == told.requests
    assert told.answers == 2 * len(OBJECTS)
    assert sum(told.retries.values()) == sum(told.failures.values())
    if not slow:  # else a busy machine may time out where nothing is wrong, or before the server reads
        assert told.requests == server.requests
        assert sum(told.failures.values()) <= sum(server.spoilt.values())


async def test_a_listing_comes_though_a_fifth_of_all_answers_is_spoilt():
    faults = tuple(set(FAULTS) - {"whole_object", "other_range", "short_body"})  # no lies for a page
    settings = StoreSettings(timeout_seconds=0.2, retry=INSISTENT)
    async with (
        serving(FaultyBucket(OBJECTS, faults, share=0.2)) as server,
        open_store(settings, endpoint=server.endpoint) as store,
    ):
        found = [listed.ref.key async for listed in store.list_objects(ObjectRef("scans", "a/"))]
    assert found == list(OBJECTS)
    assert server.spoilt


async def test_callers_wait_while_the_server_is_down_and_go_on_when_it_is_back():
    endpoints = Endpoints(EndpointRules(ceiling=30, circuit=IMPATIENT))
    async with (
        serving(FaultyBucket(OBJECTS)) as server,
        open_http_store(endpoint=server.endpoint) as http,
    ):
        limited = LimitedStore(http, endpoints, patience_seconds=60.0)
        store = RetryingStore(limited, replace(INSISTENT, patience_seconds=60.0), endpoints=endpoints)
        circuit = endpoints.of(ObjectRef("scans", "a/")).circuit

        async def outage() -> None:
            while server.requests < 200:
                await anyio.lowlevel.checkpoint()
            server.down = True
            while server.refused < 60:
                await anyio.lowlevel.checkpoint()
            assert circuit.is_open
            server.here, server.at_once = 0, 0
            while server.refused < 70:
                await anyio.lowlevel.checkpoint()
            assert server.at_once == 1  # single probes, whatever else waits
            server.down = False

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(outage)
            answers = await read_all(store)
    assert data_of(answers) == OBJECTS
    assert not circuit.is_open
    told = endpoints.telemetry().total
    assert told.probes >= 10
    assert sum(answer.requests for answer in answers.values()) == told.requests == server.requests


async def test_a_server_that_stays_down_is_given_up_on_with_few_requests():
    budget = RetryBudget(per_second=1e-6)
    endpoints = Endpoints(EndpointRules(ceiling=64, circuit=IMPATIENT))
    errors: list[StoreError] = []
    async with (
        serving(FaultyBucket(OBJECTS, down=True)) as server,
        open_http_store(endpoint=server.endpoint) as http,
    ):
        limited = LimitedStore(http, endpoints, patience_seconds=0.3)
        policy = replace(INSISTENT, patience_seconds=0.3)
        store = RetryingStore(limited, policy, budget=budget, endpoints=endpoints)

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
    assert all("s3://scans gave no answer" in error.message for error in errors)
    assert all(error.url.startswith("s3://scans/a/") for error in errors)
    # 64 were on their way; the rest asked never, but for probes.
    assert server.requests < 64 + 40


async def test_in_an_outage_retries_are_no_more_than_the_budget_pays_for():
    """With no circuit to stop it, and callers that would retry for ever: the budget alone."""
    budget = RetryBudget(100, per_second=1e-6)
    never = CircuitRules(failures=10**9)
    endpoints = Endpoints(EndpointRules(ceiling=64, circuit=never))
    async with (
        serving(FaultyBucket(OBJECTS, down=True)) as server,
        open_http_store(endpoint=server.endpoint) as http,
    ):
        policy = replace(INSISTENT, attempts=1000)
        store = RetryingStore(LimitedStore(http, endpoints), policy, budget=budget, endpoints=endpoints)

        async def call(key: str) -> None:
            with pytest.raises(StoreError):
                await store.get_range(ObjectRef("scans", key), ByteRange(0, 100))

        async with anyio.create_task_group() as tasks:
            for key in OBJECTS:
                tasks.start_soon(call, key)
    calls = len(OBJECTS)
    assert calls < server.requests <= calls + 100 / 5 + 0.1 * calls
    assert sum(endpoints.telemetry().total.retries.values()) == 20


async def test_slots_fall_while_a_server_hangs_and_a_hang_ends():
    limits = HttpLimits(total_seconds=0.05)
    endpoints = Endpoints(EndpointRules(ceiling=32, circuit=CircuitRules(failures=10**9)))
    async with (
        serving(FaultyBucket(OBJECTS, ("hang",), share=1.0)) as server,
        open_http_store(endpoint=server.endpoint, limits=limits) as http,
    ):
        store = LimitedStore(http, endpoints)

        async def call(key: str) -> None:
            with pytest.raises(TimedOutError):
                await store.get_range(ObjectRef("scans", key), ByteRange(0, 100))

        async with anyio.create_task_group() as tasks:
            for key in list(OBJECTS)[:60]:
                tasks.start_soon(call, key)
    assert endpoints.of(ObjectRef("scans", "a/")).limit.slots < 10
