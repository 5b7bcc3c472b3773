from collections.abc import AsyncIterator

import anyio
import pytest
from endpoint_outage import take_down
from virtual_time import in_virtual_time

from harvester.errors import (
    BadResponseError,
    ConnectionFailedError,
    EndpointDownError,
    NotFoundError,
    StoreError,
)
from harvester.model import ByteRange, ListedObject, ObjectRef, RangeResponse
from harvester.store.http.listing import ListingPage
from harvester.store.resilience.endpoints import Endpoints
from harvester.store.resilience.limited_store import LimitedStore

REF = ObjectRef("scans", "a/one")
OTHER = ObjectRef("more", "a/one", "gs")
WINDOW = ByteRange(0, 4)


class Server:
    """Takes a second for everything; `said` is what it answers next, in order, where that is an error."""

    def __init__(self, *said: StoreError | None) -> None:
        self.said = list(said)
        self.here = 0
        self.most = 0
        self.begun: list[float] = []

    async def answer(self) -> None:
        self.begun.append(anyio.current_time())
        self.here += 1
        self.most = max(self.most, self.here)
        try:
            await anyio.sleep(1.0)
        finally:
            self.here -= 1
        error = self.said.pop(0) if self.said else None
        if error is not None:
            raise error

    async def get_range(
        self,
        ref: ObjectRef,  # noqa: ARG002
        wanted: ByteRange,  # noqa: ARG002
        *,
        etag: str | None = None,  # noqa: ARG002
    ) -> RangeResponse:
        await self.answer()
        return RangeResponse(data=b"0123", size=4, etag=None)

    async def list_page(self, prefix: ObjectRef, token: str | None) -> ListingPage:
        await self.answer()
        number = int(token or 0)
        ref = ObjectRef(prefix.bucket, f"{prefix.key}{number}", prefix.scheme)
        return ListingPage((ListedObject(ref, 1),), str(number + 1) if number < 2 else None)

    def list_objects(self, prefix: ObjectRef) -> AsyncIterator[ListedObject]:
        raise NotImplementedError


async def ask(store: LimitedStore, *refs: ObjectRef) -> None:
    async def get(ref: ObjectRef) -> None:
        await store.get_range(ref, WINDOW)

    async with anyio.create_task_group() as tasks:
        for ref in refs:
            tasks.start_soon(get, ref)


def test_ranges_and_pages_share_the_slots_of_their_endpoint():
    async def main():
        server = Server()
        store = LimitedStore(server, Endpoints(2))

        async def list_all() -> None:
            assert len([one async for one in store.list_objects(ObjectRef("scans", "a/"))]) == 3

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(list_all)
            tasks.start_soon(list_all)
            await ask(store, *[REF] * 6)
        assert server.most == 2
        assert len(server.begun) == 12

    in_virtual_time(main)


def test_all_endpoints_together_have_one_ceiling():
    async def main():
        server = Server()
        await ask(LimitedStore(server, Endpoints(5)), *[REF] * 10, *[OTHER] * 10)
        assert server.most == 5

    in_virtual_time(main)


def test_a_busy_endpoint_does_not_starve_another():
    async def main():
        server = Server()
        store = LimitedStore(server, Endpoints(1))
        start = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(ask, store, REF)
            await anyio.sleep(0.5)
            await ask(store, OTHER)
            assert anyio.current_time() - start <= 3.0

    in_virtual_time(main)


def test_a_call_that_is_cancelled_while_it_waits_leaves_its_slot_to_the_next():
    async def main():
        server = Server()
        store = LimitedStore(server, Endpoints(1))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, store, REF)
            await anyio.sleep(0.5)
            with anyio.move_on_after(0.2):
                await ask(store, REF)
            await ask(store, REF)
        assert len(server.begun) == 2

    in_virtual_time(main)


def test_a_rate_holds_over_all_endpoints():
    async def main():
        server = Server()
        await ask(LimitedStore(server, Endpoints(requests_per_second=10.0)), *[REF] * 50, *[OTHER] * 50)
        assert server.begun[-1] == pytest.approx(9.9, abs=0.1)

    in_virtual_time(main)


def test_the_ramp_is_for_cloud_storage_alone():
    async def main():
        server = Server()
        store = LimitedStore(server, Endpoints(gcs_requests_per_second=10.0))
        await ask(store, *[REF] * 32)
        assert server.begun[-1] == 0.0
        await ask(store, *[OTHER] * 32)
        assert server.begun[-1] == pytest.approx(1.0 + 3.1, abs=0.1)

    in_virtual_time(main)


def test_who_stood_in_line_when_the_endpoint_went_down_does_not_ask():
    async def main():
        server = Server(ConnectionFailedError("cut"))
        state = Endpoints(1)
        await take_down(state.of(REF).circuit, failures=9)
        store = LimitedStore(server, state, patience_seconds=0.1)
        errors = []

        async def get() -> None:
            try:
                await store.get_range(REF, WINDOW)
            except StoreError as error:
                errors.append(error)

        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(get)
        assert len(server.begun) == 1
        assert [type(error) for error in errors] == [ConnectionFailedError] + [EndpointDownError] * 9
        assert all(error.url == REF.url for error in errors)
        assert all(error.requests == 0 for error in errors[1:])

    in_virtual_time(main)


def test_an_answer_counts_the_probes_that_failed_before_it():
    async def main():
        server = Server(*[ConnectionFailedError("cut") for _ in range(4)])
        state = Endpoints()
        await take_down(state.of(REF).circuit, failures=9)
        store = LimitedStore(server, state)
        with pytest.raises(ConnectionFailedError):
            await store.get_range(REF, WINDOW)
        answer = await store.get_range(REF, WINDOW)  # three probes fail, the fourth does not
        assert answer.requests == 4
        told = state.telemetry().total
        assert (told.probes, told.requests, told.responses) == (4, 5, 1)

    in_virtual_time(main)


def test_a_probe_that_finds_nothing_there_finds_the_endpoint_back():
    async def main():
        server = Server(ConnectionFailedError("cut"), NotFoundError("no"))
        state = Endpoints()
        await take_down(state.of(REF).circuit, failures=9)
        store = LimitedStore(server, state)
        with pytest.raises(ConnectionFailedError):
            await store.get_range(REF, WINDOW)
        with pytest.raises(NotFoundError):
            await store.get_range(REF, WINDOW)
        assert not state.of(REF).circuit.is_open

    in_virtual_time(main)


@pytest.mark.parametrize("moment", [0.0, 0.5, 1.5, 2.5])
def test_calls_that_are_cancelled_anywhere_give_everything_back(moment):
    async def main():
        server = Server(ConnectionFailedError("cut"))
        state = Endpoints(2, requests_per_second=2.0)
        await take_down(state.of(REF).circuit, failures=9)
        store = LimitedStore(server, state)
        errors = []

        async def get() -> None:
            try:
                await store.get_range(REF, WINDOW)
            except StoreError as error:
                errors.append(error)

        with anyio.move_on_after(moment):
            async with anyio.create_task_group() as tasks:
                for _ in range(10):
                    tasks.start_soon(get)
        endpoint = state.of(REF)
        assert (endpoint.limit.in_flight, endpoint.limit.waiting, endpoint.calls, server.here) == (0, 0, 0, 0)
        server.said.clear()
        await ask(store, REF, REF, REF)  # later requests get slots, and the place of the probe

    in_virtual_time(main)


def test_another_endpoint_goes_on_while_one_is_down():
    async def main():
        server = Server(ConnectionFailedError("cut"))
        state = Endpoints(2)
        await take_down(state.of(REF).circuit, failures=9)
        store = LimitedStore(server, state)
        with pytest.raises(ConnectionFailedError):
            await store.get_range(REF, WINDOW)
        start = anyio.current_time()
        await ask(store, OTHER, OTHER)
        assert anyio.current_time() == start + 1.0

    in_virtual_time(main)


def test_a_server_that_is_always_bad_is_known_for_it():
    async def main():
        state = Endpoints()
        endpoint = state.of(REF)
        for _ in range(2):
            endpoint.failed(BadResponseError("200"), 0.0)
        assert not endpoint.is_always_bad
        endpoint.failed(BadResponseError("200"), 0.0)
        assert endpoint.is_always_bad
        endpoint.succeeded(0.0, 1.0, 4)
        for _ in range(7):
            endpoint.failed(BadResponseError("200"), 0.0)
        assert not endpoint.is_always_bad  # it can, and may again
        endpoint.failed(BadResponseError("200"), 0.0)
        assert endpoint.is_always_bad

    in_virtual_time(main)


def test_hosts_without_number_are_forgotten_but_what_they_did_is_not():
    async def main():
        state = Endpoints()
        store = LimitedStore(Server(), state)
        for number in range(0, 5000, 50):
            refs = [ObjectRef(f"host{number + each}", "a", "https") for each in range(50)]
            await ask(store, *refs)
        told = state.telemetry()
        assert len(told.endpoints) <= 1001
        assert told.total.responses == 5000

    in_virtual_time(main)
