"""Puts every request through its endpoint's limits: slots that adapt, a pace, a pause while it is down.

What happens around one call, from the outside in: `RetryingStore` tries again, and pays for it from the
budget of the process; here each attempt waits until its endpoint is up, takes a slot, waits for its
moment, and tells the endpoint how it went. An endpoint that is plainly down (see `circuit`) holds its
callers here, without attempts and without retries; one at a time probes it. A call that has waited for
`patience_seconds` gives up with `EndpointDownError`, which is not tried again.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import TypeVar

from harvester.errors import StoreError
from harvester.model import ByteRange, ListedObject, ObjectRef, RangeResponse
from harvester.store.cost import RequestCost
from harvester.store.http.listing import ListingPage, PagingStore, join_pages
from harvester.store.resilience.concurrency import FAULTS
from harvester.store.resilience.endpoints import Endpoint, Endpoints, Turn
from harvester.store.resilience.hedging import Race

T = TypeVar("T")


class LimitedStore:
    """A store that asks another one within the limits of each endpoint.

    Args:
        store: The store that is asked.
        endpoints: Their state; stores that share it share the limits.
        patience_seconds: How long a call waits for an endpoint that is down.
        hedge: Whether the slowest requests are issued a second time.
    """

    def __init__(
        self,
        store: PagingStore,
        endpoints: Endpoints,
        *,
        patience_seconds: float = 300.0,
        hedge: bool = False,
    ) -> None:
        self._store = store
        self._endpoints = endpoints
        self._patience = patience_seconds
        self._hedge = hedge
        self._clock = endpoints.rules.clock

    async def get_range(self, ref: ObjectRef, wanted: ByteRange, *, etag: str | None = None) -> RangeResponse:
        """Read one range; the answer counts probes and hedges that were needed for it, too.

        Raises:
            StoreError: The request's error; EndpointDownError where patience ended.
        """
        endpoint = self._endpoints.of(ref)
        request = partial(self._store.get_range, ref, wanted, etag=etag)
        try:
            return await self._turn(endpoint, request, wanted.stop - wanted.start)
        except StoreError as error:
            error.url = error.url or ref.url
            raise

    async def list_objects(self, prefix: ObjectRef) -> AsyncIterator[ListedObject]:
        """All objects under a prefix, each page within the limits.

        Raises:
            ListingError: A page failed, or the listing contradicts itself.
        """
        async for listed in join_pages(partial(self.list_page, prefix), prefix):
            yield listed

    async def list_page(self, prefix: ObjectRef, token: str | None) -> ListingPage:
        """One page of a listing.

        Raises:
            StoreError: The request's error; EndpointDownError where patience ended.
        """
        return await self._turn(self._endpoints.of(prefix), partial(self._store.list_page, prefix, token), 0)

    async def _turn(self, endpoint: Endpoint, request: Callable[[], Awaitable[T]], size: int) -> T:
        turn = Turn()
        probes = RequestCost()
        endpoint.calls += 1
        try:
            while True:
                try:
                    probing = not endpoint.enter_if_free(turn) and await endpoint.enter(turn, self._patience)
                except StoreError as error:
                    probes.add_failure(error)
                    raise
                try:
                    answer = await self._ask(endpoint, request, size)
                except StoreError as error:
                    probes.add_failure(error)
                    # A probe that failed stands in line again: it is not its object's fault.
                    if not probing or not isinstance(error, FAULTS):
                        raise
                else:
                    return probes.added_to(answer)
                finally:
                    endpoint.leave(turn, probing=probing)
        finally:
            endpoint.calls -= 1

    async def _ask(self, endpoint: Endpoint, request: Callable[[], Awaitable[T]], size: int) -> T:
        started = self._clock()
        delay = endpoint.hedging.delay(size) if self._hedge else None
        try:
            if delay is None:
                answer = await request()
            else:
                answer = await _hedged(endpoint, request, delay, size)
        except StoreError as error:
            endpoint.failed(error, started)
            raise
        now = self._clock()
        if isinstance(answer, RangeResponse):
            endpoint.recorder.answered(now - started, answer.requests, answer.bytes_fetched)
        else:
            endpoint.recorder.answered(now - started, 1, 0)
        endpoint.succeeded(started, now, size)
        if self._hedge:
            endpoint.hedging.answered(now - started, size)
        return answer


async def _hedged(endpoint: Endpoint, request: Callable[[], Awaitable[T]], delay: float, size: int) -> T:
    """Ask, and once more where that takes longer than almost all do; both are counted."""
    turn = Turn()
    race: Race[T] = Race()

    def may_double() -> bool:
        if not (endpoint.hedging.may_hedge() and endpoint.enter_if_free(turn)):
            return False
        endpoint.hedging.hedged()
        return True

    spent = RequestCost()
    try:
        answer = await race.run(request, delay, may_double)
    except StoreError as error:
        for lost in race.errors:
            spent.add(lost)
        error.requests += spent.requests
        error.bytes_fetched += spent.bytes_fetched
        raise
    finally:
        if race.hedged:
            endpoint.leave(turn)
            endpoint.recorder.hedges += 1
            endpoint.recorder.hedges_won += race.hedge_won
    for lost in race.errors:
        spent.add(lost)
    if race.cut_off:
        # What had come of its answer is gone with its connection: all of it is the most that it can be.
        spent.add(RequestCost(1, size))
    return spent.added_to(answer)
