import anyio
import pytest
from memory_store import MemoryStore
from retry_policies import NO_WAITING
from unkind_server import Reply, answering, http, partial
from virtual_time import in_virtual_time

from harvester.errors import (
    AccessDeniedError,
    BadResponseError,
    ConnectionFailedError,
    EndpointDownError,
    HarvestError,
    ListingError,
    NotFoundError,
    ObjectChangedError,
    RequestRejectedError,
    ServerFaultError,
    StoreError,
    ThrottledError,
    TimedOutError,
)
from harvester.model import ByteRange, ObjectRef, RangeResponse
from harvester.store.http.listing import PagedStore
from harvester.store.http.store import open_http_store
from harvester.store.resilience.endpoints import Endpoints
from harvester.store.resilience.limited_store import LimitedStore
from harvester.store.resilience.retry_budget import RetryBudget
from harvester.store.resilience.retrying_store import RetryingStore, RetryPolicy

pytestmark = pytest.mark.anyio

REF = ObjectRef("scans", "a/one")
WINDOW = ByteRange(0, 4)


class FailingStore(MemoryStore):
    """A memory store whose first answers are errors."""

    def __init__(self, *errors: StoreError) -> None:
        super().__init__({REF: b"0123456789"})
        self.errors = list(errors)

    async def get_range(self, ref: ObjectRef, wanted: ByteRange, *, etag: str | None = None) -> RangeResponse:
        answer = await super().get_range(ref, wanted, etag=etag)
        if self.errors:
            raise self.errors.pop(0)
        return answer


def retrying(
    store: PagedStore | FailingStore, policy: RetryPolicy = NO_WAITING, endpoints: Endpoints | None = None
) -> RetryingStore:
    return RetryingStore(store, policy, Endpoints() if endpoints is None else endpoints)


def costly(error: StoreError, requests: int, bytes_fetched: int) -> StoreError:
    error.requests, error.bytes_fetched = requests, bytes_fetched
    return error


@pytest.mark.parametrize(
    "kind", [ThrottledError, ServerFaultError, ConnectionFailedError, TimedOutError, BadResponseError]
)
async def test_a_passing_fault_is_asked_again(kind):
    store = FailingStore(kind("once"), kind("twice"))
    answer = await retrying(store).get_range(REF, WINDOW)
    assert answer.data == b"0123"
    assert store.requests == 3


@pytest.mark.parametrize(
    "kind", [NotFoundError, AccessDeniedError, RequestRejectedError, ObjectChangedError, ListingError]
)
async def test_a_lasting_fault_is_not_asked_again(kind):
    store = FailingStore(kind("for good"), kind("never seen"))
    with pytest.raises(kind, match="for good") as caught:
        await retrying(store).get_range(REF, WINDOW)
    assert store.requests == 1
    assert caught.value.attempts == 1


async def test_a_lasting_fault_ends_the_attempts_after_passing_ones():
    store = FailingStore(ServerFaultError("1"), NotFoundError("2"), ServerFaultError("3"))
    with pytest.raises(NotFoundError) as caught:
        await retrying(store).get_range(REF, WINDOW)
    assert (store.requests, caught.value.attempts) == (2, 2)


async def test_the_answer_counts_what_all_attempts_cost():
    store = FailingStore(costly(ServerFaultError("1"), 1, 10), costly(TimedOutError("2"), 3, 500))
    answer = await retrying(store).get_range(REF, WINDOW)
    assert answer.requests == 1 + 3 + 1
    assert answer.bytes_fetched == 10 + 500 + 4


async def test_attempts_have_a_bound_and_the_last_error_counts_them():
    store = FailingStore(*(costly(ServerFaultError(str(number)), 2, 5) for number in range(9)))
    with pytest.raises(ServerFaultError) as caught:
        await retrying(store).get_range(REF, WINDOW)
    assert store.requests == NO_WAITING.attempts
    assert caught.value.message == str(NO_WAITING.attempts - 1)
    assert caught.value.attempts == NO_WAITING.attempts
    assert caught.value.requests == 2 * NO_WAITING.attempts
    assert caught.value.bytes_fetched == 5 * NO_WAITING.attempts


@pytest.mark.parametrize(("kind", "longest"), [(BadResponseError, 9), (ServerFaultError, 300)])
def test_a_wrong_response_is_no_load_that_passes_with_time(monkeypatch, kind, longest):
    monkeypatch.setattr("random.uniform", lambda _, bound: bound)

    async def waited() -> float:
        with pytest.raises(kind):
            await retrying(FailingStore(*map(kind, "1234567890")), RetryPolicy(attempts=10)).get_range(
                REF, WINDOW
            )
        return anyio.current_time()

    assert longest / 2 < in_virtual_time(waited) <= longest


async def test_one_attempt_is_no_retry():
    store = FailingStore(ServerFaultError("1"))
    with pytest.raises(ServerFaultError):
        await retrying(store, RetryPolicy(attempts=1)).get_range(REF, WINDOW)
    assert store.requests == 1


async def test_the_etag_is_passed_on():
    with pytest.raises(ObjectChangedError):
        await retrying(FailingStore()).get_range(REF, WINDOW, etag="another")


async def test_a_bug_is_not_asked_again():
    class BrokenStore(MemoryStore):
        async def get_range(
            self, ref: ObjectRef, wanted: ByteRange, *, etag: str | None = None
        ) -> RangeResponse:
            await super().get_range(ref, wanted, etag=etag)
            raise KeyError("bug")

    store = BrokenStore({REF: b"x"})
    with pytest.raises(KeyError):
        await retrying(store).get_range(REF, WINDOW)
    assert store.requests == 1


def test_waits_grow_are_drawn_evenly_and_have_a_bound():
    policy = RetryPolicy(longest_seconds=8.0)
    for attempt, bound in [(1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (5, 8.0), (5000, 8.0)]:
        waits = [policy.seconds_before_next(attempt, ThrottledError("x")) for _ in range(300)]
        assert 0 <= min(waits) < 0.2 * bound
        assert 0.8 * bound < max(waits) <= bound


def test_retry_after_is_a_least_wait_and_is_believed_up_to_a_bound():
    policy = RetryPolicy()
    assert 7.0 <= policy.seconds_before_next(1, ThrottledError("x", retry_after=7.0)) <= 8.0
    assert 60.0 <= policy.seconds_before_next(1, ThrottledError("x", retry_after=1e9)) <= 61.0


def test_a_policy_without_attempts_is_none():
    with pytest.raises(ValueError, match="never sends"):
        RetryPolicy(attempts=0)


async def test_a_server_that_recovers_is_read():
    replies = (
        Reply(b"", "close"),
        http(503, Retry_After="0"),
        http(429),
        Reply(partial(0, b"ab", 10, Content_Range="bytes 0-3/10", Content_Length="4"), "close"),
        partial(0, b"0123", 10),
    )
    async with answering(*replies) as server, open_http_store(endpoint=server.endpoint) as store:
        answer = await retrying(store).get_range(REF, WINDOW)
    assert answer.data == b"0123"
    assert answer.requests == 5
    assert answer.bytes_fetched == 6


async def test_a_page_of_a_listing_is_asked_again_and_those_before_it_are_not():
    def listed(key: str, more: str) -> bytes:
        contents = f"<Contents><Key>{key}</Key><Size>1</Size></Contents>"
        return http(200, f"<ListBucketResult>{contents}{more}</ListBucketResult>".encode())

    first = listed("a/1", "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>")
    last = listed("a/2", "<IsTruncated>false</IsTruncated>")
    async with (
        answering(http(503), first, http(500), http(500), last) as server,
        open_http_store(endpoint=server.endpoint) as store,
    ):
        found = retrying(store).list_objects(ObjectRef("scans", "a/"))
        assert [listed.ref.key async for listed in found] == ["a/1", "a/2"]
    assert ["continuation-token=t" in target for target in server.targets()] == [
        False,
        False,
        True,
        True,
        True,
    ]


async def test_a_listing_that_keeps_failing_is_an_error_that_counts():
    async with answering(http(503)) as server, open_http_store(endpoint=server.endpoint) as store:
        store_with_retries = retrying(store)
        with pytest.raises(ListingError) as caught:
            [found async for found in store_with_retries.list_objects(ObjectRef("scans", "a/"))]
    assert caught.value.attempts == NO_WAITING.attempts == len(server.heads)
    assert isinstance(caught.value, HarvestError)


def test_retry_after_is_waited_for_and_believed_up_to_a_bound():
    async def main():
        store = FailingStore(ThrottledError("1", retry_after=20.0), ThrottledError("2", retry_after=1e6))
        await retrying(store, RetryPolicy()).get_range(REF, WINDOW)
        assert 20.0 + 60.0 <= anyio.current_time() <= 20.0 + 1.0 + 60.0 + 2.0

    in_virtual_time(main)


def test_the_waits_of_a_call_have_a_bound_together():
    async def main():
        store = FailingStore(*(ThrottledError("x", retry_after=50.0) for _ in range(9)))
        policy = RetryPolicy(attempts=9, longest_seconds=0.0)
        with pytest.raises(ThrottledError):
            await retrying(store, policy).get_range(REF, WINDOW)
        assert (anyio.current_time(), store.requests) == (300.0, 7)

    in_virtual_time(main)


def test_a_retry_that_cannot_be_paid_waits_for_the_budget():
    async def main():
        budget = RetryBudget(5, per_second=1.0)
        store = FailingStore(ServerFaultError("1"), ServerFaultError("2"))
        policy = RetryPolicy(longest_seconds=0.0)
        answer = await retrying(store, policy, Endpoints(retry_budget=budget)).get_range(REF, WINDOW)
        assert answer.requests == 3
        assert anyio.current_time() == pytest.approx(5.0)  # the first was paid, the second has to be earned

    in_virtual_time(main)


async def test_where_nothing_pays_for_a_retry_the_error_stands():
    store = FailingStore(ServerFaultError("1"), ServerFaultError("2"))
    budget = RetryBudget(0, per_second=1e-6)
    with pytest.raises(ServerFaultError, match="1") as caught:
        await retrying(store, endpoints=Endpoints(retry_budget=budget)).get_range(REF, WINDOW)
    assert (store.requests, caught.value.attempts) == (1, 1)


async def test_stores_of_a_process_share_one_budget():
    budget = RetryBudget(10, per_second=1e-6)
    for _ in range(2):
        store = FailingStore(ServerFaultError("1"), ServerFaultError("2"), ServerFaultError("3"))
        with pytest.raises(ServerFaultError):
            await retrying(store, endpoints=Endpoints(retry_budget=budget)).get_range(REF, WINDOW)
    assert store.requests == 1


async def test_a_server_that_ignores_ranges_by_its_nature_is_soon_asked_no_more():
    whole = http(200, b"x" * 1000)
    async with answering(whole) as server, open_http_store(endpoint=server.endpoint) as http_store:
        endpoints = Endpoints()
        store = retrying(LimitedStore(http_store, endpoints), endpoints=endpoints)
        asked = []
        for _ in range(3):
            with pytest.raises(BadResponseError):
                await store.get_range(REF, ByteRange(500, 600))
            asked.append(len(server.heads))
    assert asked == [3, 5, 7]


async def test_retries_are_counted_by_their_reason():
    endpoints = Endpoints()
    store = FailingStore(ServerFaultError("1"), TimedOutError("2"), ServerFaultError("3"))
    await retrying(store, endpoints=endpoints).get_range(REF, WINDOW)
    assert endpoints.telemetry().total.retries == {"server_error": 2, "timeout": 1}


async def test_an_endpoint_that_stayed_down_is_not_asked_again():
    store = FailingStore(EndpointDownError("down"), EndpointDownError("never seen"))
    with pytest.raises(EndpointDownError, match="down"):
        await retrying(store).get_range(REF, WINDOW)
    assert store.requests == 1
