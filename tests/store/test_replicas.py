import anyio
import pytest
from endpoint_outage import take_down
from memory_store import MemoryStore
from virtual_time import in_virtual_time

from harvester.errors import (
    AccessDeniedError,
    ConnectionFailedError,
    EndpointDownError,
    NotFoundError,
    StoreError,
    ThrottledError,
)
from harvester.model import ObjectRef
from harvester.store.base import Store
from harvester.store.replicas import CopyReader, ReplicaOrder
from harvester.store.resilience.endpoints import Endpoints

pytestmark = pytest.mark.anyio

BOTH = ("gs", "s3")


def copies(number: int) -> tuple[ObjectRef, ...]:
    return (
        ObjectRef("idc-open", f"a/{number}.dcm", "gs"),
        ObjectRef("idc-open-data", f"a/{number}.dcm", "s3"),
    )


async def endpoints() -> Endpoints:
    return Endpoints(100)


async def test_without_schemes_the_order_stays():
    spread = ReplicaOrder(await endpoints())
    assert all(spread.order(copies(number)) == copies(number) for number in range(100))


async def test_one_copy_is_that_copy():
    only = copies(1)[:1]
    assert ReplicaOrder(await endpoints(), BOTH).order(only) == only


async def test_objects_are_spread_evenly_over_endpoints_that_are_alike():
    spread = ReplicaOrder(await endpoints(), BOTH)
    first = [spread.order(copies(number))[0].scheme for number in range(2000)]
    assert 900 <= first.count("gs") <= 1100


async def test_the_lot_of_a_key_is_always_the_same():
    one, two = ReplicaOrder(await endpoints(), BOTH), ReplicaOrder(await endpoints(), BOTH)
    assert all(one.order(copies(number)) == two.order(copies(number)[::-1]) for number in range(200))


async def test_every_copy_is_kept():
    three = (*copies(7), ObjectRef("mirror.example", "a/7.dcm", "https"))
    ordered = ReplicaOrder(await endpoints(), BOTH).order(three)
    assert set(ordered) == set(three)
    assert ordered[2] == three[2]  # it takes no part in the lot


async def test_a_busy_endpoint_gets_fewer():
    state = await endpoints()
    busy = state.of(copies(0)[0]).limit
    assert all(busy.acquire_if_free() for _ in range(busy.slots))
    spread = ReplicaOrder(state, BOTH)
    first = [spread.order(copies(number))[0].scheme for number in range(1000)]
    assert first.count("gs") < 50


def test_what_lies_at_an_endpoint_that_is_down_comes_last():
    async def main():
        state = await endpoints()
        await take_down(state.of(copies(0)[0]).circuit)
        for spread in (ReplicaOrder(state, BOTH), ReplicaOrder(state)):
            assert all(spread.order(copies(number))[0].scheme == "s3" for number in range(50))

    in_virtual_time(main)


class Places:
    """What is said at each place, in turn; and what was asked, by which store."""

    def __init__(self, **said: list[StoreError | str]) -> None:
        self.said = said
        self.asked: list[str] = []
        self.fail_fast, self.patient = MemoryStore(), MemoryStore()

    async def read(self, store: Store, ref: ObjectRef) -> str:
        self.asked.append(f"{'fail_fast' if store is self.fail_fast else 'patient'} {ref.scheme}")
        said = self.said[ref.scheme].pop(0)
        if isinstance(said, StoreError):
            raise said
        return said

    async def got(self, refs: tuple[ObjectRef, ...] = copies(1)) -> str:
        return await CopyReader(ReplicaOrder(await endpoints()), self.fail_fast, self.patient).read(
            refs, self.read
        )


@pytest.mark.parametrize("error", [NotFoundError, AccessDeniedError, ThrottledError, EndpointDownError])
async def test_an_object_that_one_place_cannot_give_is_read_from_the_next_at_once(error):
    places = Places(gs=[error("no")], s3=["yes"])
    assert await places.got() == "yes"
    assert places.asked == ["fail_fast gs", "fail_fast s3"]


async def test_a_copy_of_another_cloud_is_reported_once(caplog):
    reader = CopyReader(ReplicaOrder(await endpoints()), MemoryStore(), MemoryStore())

    async def read(_: Store, ref: ObjectRef) -> str:
        if ref.scheme == "gs":
            raise ThrottledError("slow down")
        return "yes"

    for number in range(3):
        assert await reader.read(copies(number), read) == "yes"
    assert [record.message for record in caplog.records] == [
        "gs://idc-open: objects are read from s3://idc-open-data instead (slow down)"
    ]


async def test_where_no_place_gives_it_those_that_may_are_asked_with_patience():
    places = Places(gs=[NotFoundError("never")], s3=[EndpointDownError("not now"), "yes"])
    assert await places.got() == "yes"
    assert places.asked == ["fail_fast gs", "fail_fast s3", "patient s3"]


async def test_the_error_says_more_than_not_found():
    places = Places(gs=[NotFoundError("1")], s3=[ThrottledError("2"), ConnectionFailedError("3")])
    with pytest.raises(ConnectionFailedError):
        await places.got()
    nowhere = Places(gs=[NotFoundError("1")], s3=[NotFoundError("2")])
    with pytest.raises(NotFoundError, match="2"):
        await nowhere.got()


async def test_an_only_copy_is_read_with_patience():
    places = Places(gs=["yes"])
    assert await places.got(copies(1)[:1]) == "yes"
    assert places.asked == ["patient gs"]


async def test_a_reader_that_is_cancelled_asks_no_other():
    asked = []

    async def read(_: Store, ref: ObjectRef) -> None:
        asked.append(ref)
        await anyio.sleep_forever()

    reader = CopyReader(ReplicaOrder(await endpoints()), MemoryStore(), MemoryStore())
    with anyio.move_on_after(0):
        await reader.read(copies(1), read)
    assert asked == [copies(1)[0]]


def test_an_endpoint_that_was_down_is_asked_again_by_one_call_at_a_time():
    async def main():
        known = Endpoints()
        first, second = copies(1)
        circuit = known.of(first).circuit
        await take_down(circuit)
        spread = ReplicaOrder(known)
        assert spread.order((first, second)) == (second, first)
        await anyio.sleep(5.0)
        assert spread.order((first, second)) == (first, second)
        assert await circuit.wait_until_closed(anyio.current_time())  # the call that probes
        assert spread.order((first, second)) == (second, first)
        circuit.succeeded()
        assert spread.order((first, second)) == (first, second)

    in_virtual_time(main)
