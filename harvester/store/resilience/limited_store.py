"""Applies each endpoint's limits to a request: concurrency, rate, and a pause while it is down.

Around one call, from the outside in: `RetryingStore` repeats it, as far as the retry budget of the process
allows; here each attempt waits until its endpoint is up, takes a slot, waits for the rate, and reports its
result to the endpoint. While an endpoint is down, its calls wait here, without attempts and retries; one at
a time probes it. A call that has waited for `patience_seconds` fails with `EndpointDownError`, which is not
retried.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from harvester.errors import StoreError
from harvester.model import ByteRange, ObjectRef, RangeResponse
from harvester.store.cost import RequestCost
from harvester.store.http.listing import ListingPage, PagedStore
from harvester.store.resilience.adaptive_concurrency import FAULTS
from harvester.store.resilience.endpoints import Endpoint, Endpoints, Patience
from harvester.store.resilience.hedging import HedgedRequest

T = TypeVar("T")


class LimitedStore(PagedStore):
    """A store that calls another one within the limits of each endpoint.

    Args:
        store: The store to call.
        endpoints: The endpoints' state; stores that share it share the limits.
        patience_seconds: How long a call waits for an endpoint that is down.
        hedge: Whether slow requests are sent a second time.
    """

    def __init__(
        self,
        store: PagedStore,
        endpoints: Endpoints,
        *,
        patience_seconds: float = 300.0,
        hedge: bool = False,
    ) -> None:
        self._store = store
        self._endpoints = endpoints
        self._patience_seconds = patience_seconds
        self._hedge = hedge
        self._clock = asyncio.get_running_loop().time

    async def get_range(self, ref: ObjectRef, wanted: ByteRange, *, etag: str | None = None) -> RangeResponse:
        """Read one range; the response counts the probes and hedges that it took.

        Raises:
            StoreError: The request's error; EndpointDownError if the endpoint stayed down.
        """
        endpoint, size = self._endpoints.of(ref), wanted.stop - wanted.start
        if self._hedge or not endpoint.acquire_if_free():
            request = partial(self._store.get_range, ref, wanted, etag=etag)
            return await self._call(ref, request, size)
        # The usual case: nothing has to be waited for.
        started = self._clock()
        try:
            response = await self._store.get_range(ref, wanted, etag=etag)
            self._succeeded(endpoint, response, started, size)
        except StoreError as error:
            endpoint.failed(error, started)
            raise self._final_error(error, endpoint, ref)  # noqa: B904 - most often the same
        finally:
            endpoint.limit.release()
        return response

    async def list_page(self, prefix: ObjectRef, token: str | None) -> ListingPage:
        """One page of a listing.

        Raises:
            StoreError: The request's error; EndpointDownError if the endpoint stayed down.
        """
        return await self._call(prefix, partial(self._store.list_page, prefix, token), 0)

    async def _call(self, ref: ObjectRef, request: Callable[[], Awaitable[T]], size: int) -> T:
        endpoint = self._endpoints.of(ref)
        endpoint.calls += 1
        try:
            return await self._wait_and_send(endpoint, request, size)
        except StoreError as error:
            raise self._final_error(error, endpoint, ref)  # noqa: B904 - most often the same
        finally:
            endpoint.calls -= 1

    def _final_error(self, error: StoreError, endpoint: Endpoint, ref: ObjectRef) -> StoreError:
        final = self._endpoints.final_error(error, endpoint)
        final.url = final.url or ref.url
        return final

    async def _wait_and_send(self, endpoint: Endpoint, request: Callable[[], Awaitable[T]], size: int) -> T:
        patience = Patience(self._patience_seconds)
        probes = RequestCost()
        while True:
            probing = False
            try:
                probing = await endpoint.acquire(patience)
                try:
                    response = await self._send(endpoint, request, size)
                finally:
                    endpoint.release(probing=probing)
            except StoreError as error:
                probes.add_failure(error)
                # A failed probe is not its object's fault: the call waits again.
                if not probing or not isinstance(error, FAULTS):
                    raise
            else:
                return probes.added_to(response)

    async def _send(self, endpoint: Endpoint, request: Callable[[], Awaitable[T]], size: int) -> T:
        started = self._clock()
        delay = endpoint.hedging.delay(size) if self._hedge else None
        try:
            if delay is None:
                response = await request()
            else:
                response = await _send_hedged(endpoint, request, delay, size)
        except StoreError as error:
            endpoint.failed(error, started)
            raise
        self._succeeded(endpoint, response, started, size)
        return response

    def _succeeded(self, endpoint: Endpoint, response: object, started: float, size: int) -> None:
        now = self._clock()
        if isinstance(response, RangeResponse):
            endpoint.recorder.succeeded(now - started, response.requests, response.bytes_fetched)
        else:
            endpoint.recorder.succeeded(now - started, 1, 0)
        endpoint.succeeded(started, now, size)
        if self._hedge:
            endpoint.hedging.record(now - started, size)


async def _send_hedged(endpoint: Endpoint, request: Callable[[], Awaitable[T]], delay: float, size: int) -> T:
    """Send a request, and again if it is slow; the result counts both."""
    hedged: HedgedRequest[T] = HedgedRequest()

    def may_hedge() -> bool:
        if not (endpoint.hedging.may_hedge() and endpoint.acquire_if_free()):
            return False
        endpoint.hedging.hedged()
        return True

    cost = RequestCost()
    try:
        response = await hedged.run(request, delay, may_hedge)
    except StoreError as error:
        for lost in hedged.errors:
            error.requests += lost.requests
            error.bytes_fetched += lost.bytes_fetched
        raise
    finally:
        if hedged.hedged:
            endpoint.release()
            endpoint.recorder.hedges += 1
            endpoint.recorder.hedges_won += hedged.hedge_won
    for lost in hedged.errors:
        cost.add(lost)
    if hedged.was_cancelled:
        cost.add(RequestCost(1, size))  # the most that it can have received
    return cost.added_to(response)
