from collections.abc import AsyncIterator

import anyio
import pytest
from virtual_time import in_virtual_time

from harvester.errors import NotFoundError, ServerFaultError, StoreError
from harvester.model import ByteRange, ListedObject, ObjectRef, RangeResponse
from harvester.store.http.listing import ListingPage
from harvester.store.resilience.endpoints import Endpoints
from harvester.store.resilience.hedging import HedgeTimer
from harvester.store.resilience.limited_store import LimitedStore

REF = ObjectRef("scans", "a/one")
WINDOW = ByteRange(0, 1000)


class SlowStore:
    """Answers in 20 ms, but for the requests that `odd` tells to take another time, or to fail then."""

    def __init__(self) -> None:
        self.odd: dict[int, tuple[float, StoreError | None]] = {}
        self.requests = 0
        self.cancelled = 0

    async def get_range(
        self,
        ref: ObjectRef,  # noqa: ARG002
        wanted: ByteRange,
        *,
        etag: str | None = None,  # noqa: ARG002
    ) -> RangeResponse:
        number = self.requests
        self.requests += 1
        seconds, error = self.odd.get(number, (0.02, None))
        try:
            await anyio.sleep(seconds)
        except anyio.get_cancelled_exc_class():
            self.cancelled += 1
            raise
        if error is not None:
            raise error
        return RangeResponse(data=b"x" * len(wanted), size=5000, etag=str(number))

    async def list_page(self, prefix: ObjectRef, token: str | None) -> ListingPage:
        raise NotImplementedError

    def list_objects(self, prefix: ObjectRef) -> AsyncIterator[ListedObject]:
        raise NotImplementedError


class Hedged:
    """A hedging store that has learned how long an answer takes."""

    def __init__(self, *, ceiling: int = 8, hedge: bool = True) -> None:
        self.server = SlowStore()
        self.endpoints = Endpoints(ceiling)
        self.store = LimitedStore(self.server, self.endpoints, hedge=hedge)

    async def learn(self, answers: int = 160) -> None:
        for _ in range(answers):
            self.endpoints.of(REF).hedging.record(0.025, len(WINDOW))

    async def get(self) -> RangeResponse:
        return await self.store.get_range(REF, WINDOW)

    def slow(self, seconds: float, error: StoreError | None = None, *, after: int = 0) -> None:
        self.server.odd[self.server.requests + after] = (seconds, error)

    @property
    def told(self):
        return self.endpoints.telemetry().total


def test_an_answer_that_takes_long_is_asked_for_again_and_the_first_one_wins():
    async def main():
        hedged = Hedged()
        await hedged.learn()
        hedged.slow(60.0)
        start = anyio.current_time()
        answer = await hedged.get()
        assert anyio.current_time() - start < 0.1
        assert answer.etag == "1"
        assert hedged.server.cancelled == 1
        assert (answer.requests, answer.discarded) == (2, len(WINDOW))
        assert (hedged.told.hedges, hedged.told.hedges_won, hedged.told.requests) == (1, 1, 2)

    in_virtual_time(main)


def test_the_first_request_may_still_win():
    async def main():
        hedged = Hedged()
        await hedged.learn()
        hedged.slow(0.03)
        answer = await hedged.get()
        assert answer.etag == "0"
        assert answer.requests == 2
        assert (hedged.told.hedges, hedged.told.hedges_won) == (1, 0)

    in_virtual_time(main)


def test_one_that_fails_leaves_the_race_to_the_other():
    async def main():
        hedged = Hedged()
        await hedged.learn()
        hedged.slow(0.03, ServerFaultError("1"))
        hedged.slow(0.1, after=1)
        answer = await hedged.get()
        assert answer.etag == "1"
        assert (answer.requests, answer.discarded) == (2, 0)

    in_virtual_time(main)


def test_where_both_fail_the_error_counts_both():
    async def main():
        hedged = Hedged()
        await hedged.learn()
        hedged.slow(0.05, ServerFaultError("1"))
        hedged.slow(0.05, ServerFaultError("2"), after=1)
        with pytest.raises(ServerFaultError) as caught:
            await hedged.get()
        assert caught.value.requests == 2
        assert hedged.endpoints.of(REF).limit.in_flight == 0

    in_virtual_time(main)


def test_a_quick_error_is_not_asked_again():
    async def main():
        hedged = Hedged()
        await hedged.learn()
        hedged.slow(0.001, NotFoundError("no"))
        with pytest.raises(NotFoundError):
            await hedged.get()
        assert hedged.server.requests == 1

    in_virtual_time(main)


def test_nothing_is_asked_again_unless_that_was_wished():
    async def main():
        hedged = Hedged(hedge=False)
        await hedged.learn()
        hedged.slow(60.0)
        answer = await hedged.get()
        assert (answer.requests, hedged.server.requests) == (1, 1)

    in_virtual_time(main)


def test_little_is_known_so_nothing_is_asked_again():
    async def main():
        hedged = Hedged()
        await hedged.learn(50)
        hedged.slow(60.0)
        assert (await hedged.get()).requests == 1

    in_virtual_time(main)


def test_without_a_free_slot_nothing_is_asked_again():
    async def main():
        hedged = Hedged(ceiling=1)
        await hedged.learn()
        hedged.slow(60.0)
        assert (await hedged.get()).requests == 1

    in_virtual_time(main)


def test_as_soon_as_a_slot_is_free_it_is_asked_again():
    async def main():
        hedged = Hedged(ceiling=2)
        await hedged.learn()
        hedged.slow(60.0)
        hedged.slow(5.0, after=1)
        start = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hedged.get)
            tasks.start_soon(hedged.get)
        assert 5.0 < anyio.current_time() - start < 6.0
        assert hedged.told.hedges_won == 1

    in_virtual_time(main)


def test_a_slow_minute_is_not_made_worse():
    async def main():
        hedged = Hedged()
        await hedged.learn()
        for number in range(1000):
            hedged.server.odd[number] = (1.0, None)
        for _ in range(500):
            await hedged.get()
        assert hedged.server.requests < 1.03 * 500 + 10

    in_virtual_time(main)


def test_a_call_that_is_cancelled_leaves_nothing_behind():
    async def main():
        hedged = Hedged()
        await hedged.learn()
        hedged.slow(60.0)
        hedged.slow(60.0, after=1)
        with anyio.move_on_after(1.0):
            await hedged.get()
        assert hedged.server.cancelled == 2
        assert hedged.endpoints.of(REF).limit.in_flight == 0

    in_virtual_time(main)


def test_windows_of_another_size_have_times_of_their_own():
    timer = HedgeTimer()
    for _ in range(160):
        timer.record(0.02, 1000)
        timer.record(2.0, 1 << 20)
    assert timer.delay(1000) == 0.02
    assert timer.delay(1 << 20) == 2.0
    assert timer.delay(1 << 26) is None
