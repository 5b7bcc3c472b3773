"""Asks a store again where the fault may pass: exponential waits with full jitter, within bounds.

Four things keep an outage from being made worse, or from costing objects. This room bounds how often one
call asks. The budget (see `budget`) bounds how many retries all calls of a process make together: one
that cannot be paid waits. The limits (see `limits`) let fewer requests go at once to an endpoint that
fails, and none but a probe to one that is down: its callers wait there, within one attempt of this room's.
So minutes of outage are a pause; only who has waited for longer than patience lasts gives up.
"""

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, TypeVar

import anyio
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from harvester.errors import BadResponseError, StoreError
from harvester.model import ByteRange, ListedObject, ObjectRef, RangeResponse
from harvester.store.base import Store
from harvester.store.cost import RequestCost
from harvester.store.http.listing import ListingPage, PagingStore, join_pages
from harvester.store.resilience.endpoints import Endpoint, Endpoints
from harvester.store.resilience.retry_budget import RetryBudget, retry_cost

T = TypeVar("T")

# How often a server is asked whose answers are no ranges by its nature.
_ATTEMPTS_WHERE_ALWAYS_WRONG = 2


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long a request is tried.

    The wait before attempt n + 1 is drawn evenly from 0 to `first_seconds` * 2 ** (n - 1), at most
    `longest_seconds`; what a Retry-After asks for, up to `longest_retry_after_seconds`, comes on top.

    Args:
        attempts: The first one included; 1 means no retry.
        first_seconds: The bound of the first wait.
        longest_seconds: The bound of every wait.
        longest_retry_after_seconds: The most that a server's Retry-After is believed.
        total_seconds: The waits of one call add up to no more; an attempt has the store's timeouts.
        patience_seconds: How long a call waits for an endpoint that is down, and for the retry budget.
    """

    attempts: int = 6
    first_seconds: float = 1.0
    longest_seconds: float = 30.0
    longest_retry_after_seconds: float = 60.0
    total_seconds: float = 300.0
    patience_seconds: float = 300.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"a policy of {self.attempts} attempts never asks")

    def seconds_before_next(self, attempt: int, retry_after: float | None) -> float:
        """How long to wait after the attempt of that number (from 1) failed."""
        bound = min(self.longest_seconds, self.first_seconds * 2.0 ** min(attempt - 1, 62))
        asked = min(retry_after or 0.0, self.longest_retry_after_seconds)
        return asked + random.uniform(0.0, bound)  # noqa: S311 - jitter, no secret


DEFAULT_RETRY = RetryPolicy()
NO_WAITING = RetryPolicy(
    first_seconds=0.0, longest_seconds=0.0, longest_retry_after_seconds=0.0, patience_seconds=0.0
)


class RetryingStore:
    """A store that asks another one again after transient errors.

    Args:
        store: The store that is asked.
        policy: How often and how long.
        budget: Pays for the retries of all stores of a process; None is a budget of its own.
        endpoints: Where retries are counted and what is known of each server; None is nothing.
    """

    def __init__(
        self,
        store: Store,
        policy: RetryPolicy = DEFAULT_RETRY,
        *,
        budget: RetryBudget | None = None,
        endpoints: Endpoints | None = None,
    ) -> None:
        self._store = store
        self._policy = policy
        self._budget = RetryBudget() if budget is None else budget
        self._endpoints = Endpoints() if endpoints is None else endpoints

    async def get_range(self, ref: ObjectRef, wanted: ByteRange, *, etag: str | None = None) -> RangeResponse:
        """Read one range, in as many requests as it takes; the answer counts them and their bytes.

        Raises:
            StoreError: The last attempt's error; its `attempts`, `requests` and `bytes_fetched` count all.
        """
        return await self._tried(partial(self._store.get_range, ref, wanted, etag=etag), ref)

    async def list_objects(self, prefix: ObjectRef) -> AsyncIterator[ListedObject]:
        """All objects under a prefix; a page that failed is asked for again, those before it are not.

        Raises:
            ListingError: A page failed for good, or the listing contradicts itself.
        """
        store = self._store
        listed = (
            join_pages(partial(self.list_page, prefix), prefix)
            if isinstance(store, PagingStore)
            else store.list_objects(prefix)
        )
        async for found in listed:
            yield found

    async def list_page(self, prefix: ObjectRef, token: str | None) -> ListingPage:
        """One page of a listing, in as many requests as it takes.

        Raises:
            StoreError: The last attempt's error.
            TypeError: The store's listings have no pages.
        """
        if not isinstance(self._store, PagingStore):
            raise TypeError(f"{type(self._store).__name__} lists without pages")
        return await self._tried(partial(self._store.list_page, prefix, token), prefix)

    async def _tried(self, request: Callable[[], Awaitable[T]], ref: ObjectRef) -> T:
        try:
            answer = await request()  # bare: tenacity's bookkeeping costs a fifth of a small request
        except StoreError as error:
            if not error.transient:
                raise
            attempts = _Attempts(request, error, self._policy, self._budget, self._endpoints.of(ref))
            return await attempts.run()
        self._budget.succeeded()
        return answer


@dataclass(slots=True)
class _Attempts(Generic[T]):
    """One call whose first attempt failed."""

    request: Callable[[], Awaitable[T]]
    last: StoreError
    policy: RetryPolicy
    budget: RetryBudget
    endpoint: Endpoint
    _spent: RequestCost = field(default_factory=RequestCost)
    _budget_exhausted: bool = False

    async def run(self) -> T:
        """Try again until it succeeds, or until something says that it is enough."""
        self._spent.add_failure(self.last)
        retrying = AsyncRetrying(
            sleep=anyio.sleep,
            retry=retry_if_exception(self._may_pass),
            wait=self._seconds,
            stop=self._is_enough,
            reraise=True,
        )

        async def attempt() -> T:
            if retrying.statistics["attempt_number"] == 1:
                raise self.last  # made already
            return await self._again()

        return await retrying(attempt)

    async def _again(self) -> T:
        cost = retry_cost(self.last)
        if not await self.budget.take(cost, self.policy.patience_seconds):
            self._budget_exhausted = True
            raise self.last
        self.endpoint.recorder.tried_again(self.last)
        try:
            answer = await self.request()
        except StoreError as error:
            self._spent.add_failure(error)
            self.last = error
            raise
        self.budget.succeeded(cost)
        return self._spent.added_to(answer)

    def _may_pass(self, error: BaseException) -> bool:
        if not isinstance(error, StoreError) or not error.transient or self._budget_exhausted:
            return False
        wrong = isinstance(error, BadResponseError) and self.endpoint.is_always_wrong
        return not (wrong and self._spent.attempts >= _ATTEMPTS_WHERE_ALWAYS_WRONG)

    def _seconds(self, state: RetryCallState) -> float:
        return self.policy.seconds_before_next(state.attempt_number, self.last.retry_after)

    def _is_enough(self, state: RetryCallState) -> bool:
        waits = state.idle_for + state.upcoming_sleep
        return state.attempt_number >= self.policy.attempts or waits > self.policy.total_seconds
