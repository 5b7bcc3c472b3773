"""Repeats requests after transient errors, with exponential waits and full jitter.

Three bounds keep an outage from getting worse, and from losing objects. The policy here bounds the attempts
of one call. The retry budget bounds the retries of all calls of a process together; a retry that it cannot
pay for waits. The endpoint's limits send fewer requests to an endpoint that fails, and only probes to one
that is down, whose calls wait within one attempt. So an outage of minutes is a pause; only calls that wait
for longer than their patience fail.
"""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import anyio

from harvester.errors import BadResponseError, PermanentConnectionError, StoreError
from harvester.model import ByteRange, ObjectRef, RangeResponse
from harvester.store.cost import RequestCost
from harvester.store.http.listing import ListingPage, PagedStore
from harvester.store.resilience.endpoints import Endpoint, Endpoints
from harvester.store.resilience.retry_budget import retry_cost

T = TypeVar("T")

_FIRST_WAIT_SECONDS = 1.0
_LONGEST_RETRY_AFTER_SECONDS = 60.0
_ALL_WAITS_SECONDS = 300.0
_ATTEMPTS_IF_ALWAYS_BAD = 2


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long a request is tried.

    The wait after attempt n is drawn evenly from 0 to 2 ** (n - 1) seconds, at most `longest_seconds`, and to
    one second after a wrong response, which is no sign of load; a Retry-After of the server, up to a minute,
    comes on top. All waits of a call add up to five minutes at most.

    Args:
        attempts: The first one included; 1 means no retry.
        longest_seconds: The bound of every wait.
        patience_seconds: How long a call waits for an endpoint that is down, and for the retry budget.
    """

    attempts: int = 6
    longest_seconds: float = 30.0
    patience_seconds: float = 300.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"a policy of {self.attempts} attempts never sends a request")

    def seconds_before_next(self, attempt: int, error: StoreError) -> float:
        """How long to wait after the attempt of that number (from 1) failed."""
        doublings = 0 if isinstance(error, BadResponseError) else min(attempt - 1, 62)
        bound = min(self.longest_seconds, _FIRST_WAIT_SECONDS * 2.0**doublings)
        requested = min(error.retry_after or 0.0, _LONGEST_RETRY_AFTER_SECONDS)
        return requested + random.uniform(0.0, bound)  # noqa: S311 - jitter, no secret


DEFAULT_RETRY = RetryPolicy()


class RetryingStore(PagedStore):
    """A store that repeats the calls of another one after transient errors.

    Args:
        store: The store to call.
        policy: How often and how long.
        endpoints: Has the retry budget, counts retries, and knows the servers.
    """

    def __init__(self, store: PagedStore, policy: RetryPolicy, endpoints: Endpoints) -> None:
        self._store = store
        self._policy = policy
        self._endpoints = endpoints
        self._budget = endpoints.retry_budget

    async def get_range(self, ref: ObjectRef, wanted: ByteRange, *, etag: str | None = None) -> RangeResponse:
        """Read one range, in as many requests as it takes; the response counts them and their bytes.

        Raises:
            StoreError: The last attempt's error; its `attempts`, `requests` and `bytes_fetched` count all.
        """
        try:
            response = await self._store.get_range(ref, wanted, etag=etag)
        except StoreError as error:
            return await self._repeat(partial(self._store.get_range, ref, wanted, etag=etag), error, ref)
        self._budget.succeeded()
        return response

    async def list_page(self, prefix: ObjectRef, token: str | None) -> ListingPage:
        """One page of a listing, in as many requests as it takes.

        Raises:
            StoreError: The last attempt's error.
        """
        try:
            page = await self._store.list_page(prefix, token)
        except StoreError as error:
            return await self._repeat(partial(self._store.list_page, prefix, token), error, prefix)
        self._budget.succeeded()
        return page

    async def _repeat(self, request: Callable[[], Awaitable[T]], error: StoreError, ref: ObjectRef) -> T:
        """Try again until it succeeds, or until a bound is reached."""
        # Imported where something fails: it takes a twentieth of a crawl's start.
        from tenacity import AsyncRetrying, RetryCallState, retry_if_exception  # noqa: PLC0415

        endpoint, policy = self._endpoints.of(ref), self._policy
        cost, last = RequestCost(), error

        def seconds_before_next(state: RetryCallState) -> float:
            return policy.seconds_before_next(state.attempt_number, last)

        def is_over(state: RetryCallState) -> bool:
            waited = state.idle_for + state.upcoming_sleep
            return state.attempt_number >= policy.attempts or waited > _ALL_WAITS_SECONDS

        def may_pass(failed: BaseException) -> bool:
            return isinstance(failed, StoreError) and _may_pass(failed, endpoint, cost.attempts)

        async def wait(seconds: float) -> None:
            await anyio.sleep(seconds)
            if not await self._budget.take(retry_cost(last), policy.patience_seconds):
                raise last
            endpoint.recorder.retried(last)

        async for attempt in AsyncRetrying(
            sleep=wait,
            wait=seconds_before_next,
            stop=is_over,
            retry=retry_if_exception(may_pass),
            reraise=True,
        ):
            with attempt:
                try:
                    if attempt.retry_state.attempt_number == 1:
                        raise error  # this attempt is over
                    response = await request()
                except StoreError as failed:
                    tokens = retry_cost(failed)
                    last = failed
                    cost.add_failure(failed)
                    raise
                self._budget.succeeded(tokens)
                return cost.added_to(response)
        raise AssertionError("the last attempt neither succeeded nor failed")


def _may_pass(error: StoreError, endpoint: Endpoint, attempts: int) -> bool:
    """Whether the next attempt may succeed."""
    if isinstance(error, BadResponseError) and endpoint.is_always_bad:
        return attempts < _ATTEMPTS_IF_ALWAYS_BAD
    if isinstance(error, PermanentConnectionError):
        return endpoint.circuit.has_responded
    return error.transient
