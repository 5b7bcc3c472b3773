"""Asks a store again where the fault may pass: exponential waits with full jitter, within bounds."""

import dataclasses
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import anyio
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, stop_before_delay

from harvester.errors import StoreError
from harvester.model import ByteRange, ListedObject, ObjectRef, RangeAnswer
from harvester.store.base import Store
from harvester.store.listing import ListingPage, PagingStore, join_pages

T = TypeVar("T")


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
        total_seconds: No attempt begins later than this after the first one failed.
    """

    attempts: int = 6
    first_seconds: float = 1.0
    longest_seconds: float = 30.0
    longest_retry_after_seconds: float = 60.0
    total_seconds: float = 300.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"a policy of {self.attempts} attempts never asks")

    def seconds_before_next(self, attempt: int, retry_after: float | None) -> float:
        """How long to wait after the attempt of that number (from 1) failed."""
        bound = min(self.longest_seconds, self.first_seconds * 2.0 ** min(attempt - 1, 62))
        asked = min(retry_after or 0.0, self.longest_retry_after_seconds)
        return asked + random.uniform(0.0, bound)  # noqa: S311 - jitter, no secret


DEFAULT_RETRY = RetryPolicy()
NO_WAITING = RetryPolicy(first_seconds=0.0, longest_seconds=0.0, longest_retry_after_seconds=0.0)


@dataclass(slots=True)
class _Spent:
    """What the failed attempts of one call cost."""

    attempts: int = 0
    requests: int = 0
    bytes_fetched: int = 0
    retry_after: float | None = None

    def add(self, error: StoreError) -> None:
        """Count a failed attempt, and let its error tell the sum of all so far."""
        self.attempts += 1
        self.requests += error.requests
        self.bytes_fetched += error.bytes_fetched
        self.retry_after = error.retry_after
        error.attempts, error.requests = self.attempts, self.requests
        error.bytes_fetched = self.bytes_fetched


class RetryingStore:
    """A store that asks another one again after transient errors.

    Args:
        store: The store that is asked.
        policy: How often and how long.
    """

    def __init__(self, store: Store, policy: RetryPolicy = DEFAULT_RETRY) -> None:
        self._store = store
        self._policy = policy

    async def get_range(self, ref: ObjectRef, wanted: ByteRange, *, etag: str | None = None) -> RangeAnswer:
        """Read one range, in as many requests as it takes; the answer counts them and their bytes.

        Raises:
            StoreError: The last attempt's error; its `attempts`, `requests` and `bytes_fetched` count all.
        """
        spent = _Spent()
        answer = await self._tried(partial(self._store.get_range, ref, wanted, etag=etag), spent)
        if not spent.attempts:
            return answer
        return dataclasses.replace(
            answer,
            requests=answer.requests + spent.requests,
            discarded=answer.discarded + spent.bytes_fetched,
        )

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
        return await self._tried(partial(self._store.list_page, prefix, token), _Spent())

    async def _tried(self, request: Callable[[], Awaitable[T]], spent: _Spent) -> T:
        try:
            return await request()  # bare: tenacity's bookkeeping costs a fifth of a small request
        except StoreError as error:
            spent.add(error)
            if not error.transient:
                raise
            return await self._tried_again(request, spent, error)

    async def _tried_again(self, request: Callable[[], Awaitable[T]], spent: _Spent, first: StoreError) -> T:
        async def attempt() -> T:
            if retrying.statistics["attempt_number"] == 1:
                raise first
            try:
                return await request()
            except StoreError as error:
                spent.add(error)
                raise

        def wait(state: RetryCallState) -> float:
            return self._policy.seconds_before_next(state.attempt_number, spent.retry_after)

        retrying = AsyncRetrying(
            sleep=anyio.sleep,
            retry=retry_if_exception(_is_transient),
            wait=wait,
            stop=stop_after_attempt(self._policy.attempts) | stop_before_delay(self._policy.total_seconds),
            reraise=True,
        )
        return await retrying(attempt)


def _is_transient(error: BaseException) -> bool:
    return isinstance(error, StoreError) and error.transient
