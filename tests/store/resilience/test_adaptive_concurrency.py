"""Servers that are models, in virtual time: what the number of slots comes to, and how soon."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import anyio
import pytest
from virtual_time import in_virtual_time

from harvester.errors import ConnectionFailedError, NotFoundError, StoreError, ThrottledError
from harvester.model import ByteRange, ListedObject, ObjectRef, RangeResponse
from harvester.store.http.listing import ListingPage
from harvester.store.resilience.adaptive_concurrency import AdaptiveLimit, RequestLimiter
from harvester.store.resilience.endpoints import Endpoints
from harvester.store.resilience.limited_store import LimitedStore

REF = ObjectRef("scans", "a/one")


@dataclass
class ModelServer:
    """Serves `capacity` requests at once; those above it fail at once, or wait where `queues`."""

    capacity: int
    seconds: float = 0.2
    queues: bool = False
    error: type[StoreError] = ThrottledError
    down: bool = False
    here: int = 0
    most: int = 0
    served: list[float] = field(default_factory=list)
    failed: list[float] = field(default_factory=list)
    queue: anyio.Semaphore | None = None

    async def get_range(self, ref: ObjectRef, wanted: ByteRange, *, etag: str | None = None) -> RangeResponse:  # noqa: ARG002
        self.here += 1
        self.most = max(self.most, self.here)
        try:
            return await self.serve(wanted)
        finally:
            self.here -= 1

    async def serve(self, wanted: ByteRange) -> RangeResponse:
        if self.down or (self.here > self.capacity and not self.queues):
            await anyio.sleep(self.seconds / 5)
            self.failed.append(anyio.current_time())
            raise self.error("too many")
        if self.queues:
            self.queue = self.queue or anyio.Semaphore(self.capacity)
            async with self.queue:
                await anyio.sleep(self.seconds)
        else:
            # A megabyte takes ten times as long as a small window.
            await anyio.sleep(self.seconds * (1 + 9 * len(wanted) / (1 << 20)))
        self.served.append(anyio.current_time())
        return RangeResponse(data=b"x" * 4, size=4, etag=None)

    async def list_page(self, prefix: ObjectRef, token: str | None) -> ListingPage:
        raise NotImplementedError

    def list_objects(self, prefix: ObjectRef) -> AsyncIterator[ListedObject]:
        raise NotImplementedError

    def use(self, start: float, stop: float) -> float:
        """How much of what it can do was asked of it in a time, from 0 to 1."""
        served = sum(start <= moment < stop for moment in self.served)
        return served * self.seconds / self.capacity / (stop - start)

    def failures(self, start: float, stop: float) -> float:
        """How many failures there were for each answer, in a time."""
        failed = sum(start <= moment < stop for moment in self.failed)
        return failed / sum(start <= moment < stop for moment in self.served)


@dataclass
class Crawl:
    """Callers that ask a model server without end, some time after an error again."""

    server: ModelServer
    endpoints: Endpoints = field(default_factory=lambda: Endpoints(256))
    windows: tuple[int, ...] = (4,)

    @property
    def limit(self) -> AdaptiveLimit:
        return self.endpoints.of(REF).limit

    async def call(self, wanted: ByteRange) -> None:
        store = LimitedStore(self.server, self.endpoints)
        while True:
            try:
                await store.get_range(REF, wanted)
            except StoreError:
                await anyio.sleep(0.1)

    async def run(self, seconds: float, callers: int = 400) -> None:
        with anyio.move_on_after(seconds):
            async with anyio.create_task_group() as tasks:
                for number in range(callers):
                    wanted = ByteRange(0, self.windows[number % len(self.windows)])
                    tasks.start_soon(self.call, wanted)


@pytest.mark.parametrize("capacity", [5, 40, 150])
def test_a_server_that_refuses_what_is_too_much_gets_about_what_it_can_do(capacity):
    async def main():
        server = ModelServer(capacity)
        await Crawl(server).run(60.0)
        assert server.use(30.0, 60.0) > 0.75
        assert server.failures(30.0, 60.0) < 0.12

    in_virtual_time(main)


def test_a_server_that_cuts_connections_above_its_capacity_gets_about_what_it_can_do():
    async def main():
        server = ModelServer(40, error=ConnectionFailedError)
        await Crawl(server).run(60.0)
        assert server.use(30.0, 60.0) > 0.75
        assert server.failures(30.0, 60.0) < 0.12

    in_virtual_time(main)


def test_a_server_that_makes_requests_wait_is_not_given_ever_more():
    async def main():
        server = ModelServer(20, seconds=0.1, queues=True)
        crawl = Crawl(server)
        await crawl.run(60.0)
        assert not server.failed
        assert server.use(0.0, 60.0) > 0.95
        assert 20 <= crawl.limit.slots <= 100  # its queue is no more than some times what it serves
        server.most = 0
        await crawl.run(60.0)
        assert server.most <= 100

    in_virtual_time(main)


def test_a_server_without_a_limit_gets_all_slots_soon():
    async def main():
        crawl = Crawl(ModelServer(10_000))
        await crawl.run(4.0)
        assert crawl.limit.slots == 256

    in_virtual_time(main)


def test_longer_windows_are_not_taken_for_rising_latency():
    async def main():
        crawl = Crawl(ModelServer(10_000), windows=(4, 4, 4, 1 << 20))
        await crawl.run(30.0)
        assert crawl.limit.slots == 256

    in_virtual_time(main)


@pytest.mark.parametrize("error", [ThrottledError, ConnectionFailedError])
def test_after_an_outage_the_slots_come_back_within_seconds(error):
    async def main():
        server = ModelServer(100, error=error)
        crawl = Crawl(server)

        async def outage() -> None:
            await anyio.sleep(60.0)
            server.down = True
            await anyio.sleep(60.0)
            assert crawl.limit.slots <= 2
            server.down = False
            await anyio.sleep(20.0)  # up to 15 until the next probe, then doubling
            assert crawl.limit.slots >= 45

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(outage)
            await crawl.run(141.0)

    in_virtual_time(main)


def test_a_round_trip_costs_one_fall_however_many_are_throttled():
    async def main():
        limit = AdaptiveLimit(RequestLimiter(100))
        await anyio.sleep(1.0)
        for _ in range(50):
            limit.failed(ThrottledError("too many"), started=0.5)
        assert limit.slots == 22
        await anyio.sleep(1.0)
        limit.failed(ThrottledError("too many"), started=0.9)  # sent before the fall
        assert limit.slots == 22
        limit.failed(ThrottledError("too many"), started=1.5)
        assert limit.slots == 15

    in_virtual_time(main)


def test_a_round_trip_of_broken_connections_halves_the_slots_and_one_is_always_left():
    async def main():
        limit = AdaptiveLimit(RequestLimiter(100))
        for _ in range(limit.slots):
            limit.failed(ConnectionFailedError("cut"), started=0.0)
        assert limit.slots == 16
        for _ in range(1000):
            limit.failed(ConnectionFailedError("cut"), started=0.0)
        assert limit.slots == 1

    in_virtual_time(main)


def test_a_stray_reset_among_a_hundred_answers_leaves_most_slots():
    async def main():
        limit = AdaptiveLimit(RequestLimiter(256))
        while limit.slots < 256:
            limit.acquire_if_free()
            limit.succeeded(0.0, 0.1, 4)
        while limit.acquire_if_free():
            pass
        for number in range(20_000):
            if number % 100 == 0:
                limit.failed(ConnectionFailedError("cut"), started=0.0)
            limit.succeeded(0.0, 0.1, 4)
        assert limit.slots > 150

    in_virtual_time(main)


def test_what_is_not_there_teaches_nothing():
    async def main():
        limit = AdaptiveLimit(RequestLimiter(100))
        limit.failed(NotFoundError("no"), started=0.0)
        assert limit.slots == 32

    in_virtual_time(main)


def test_slots_that_nobody_wants_do_not_grow():
    async def main():
        crawl = Crawl(ModelServer(10_000))
        await crawl.run(10.0, callers=10)
        assert crawl.limit.slots == 32

    in_virtual_time(main)


def test_the_ceiling_is_never_passed():
    async def main():
        server = ModelServer(10_000)
        endpoints = Endpoints(7)
        await Crawl(server, endpoints).run(5.0)
        assert server.most == 7

    in_virtual_time(main)
