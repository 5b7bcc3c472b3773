"""What the failed attempts of one call cost, so that its answer or its last error can tell all of it."""

from dataclasses import dataclass, replace
from typing import TypeVar

from harvester.errors import StoreError
from harvester.model import RangeResponse

T = TypeVar("T")


@dataclass(slots=True)
class Spent:
    """Attempts that gave nothing, their HTTP requests, and the bytes that were read in vain."""

    attempts: int = 0
    requests: int = 0
    bytes_fetched: int = 0

    def add(self, error: StoreError) -> None:
        """Count a failed attempt, and let its error tell the sum of all so far."""
        self.attempts += error.attempts
        self.requests += error.requests
        self.bytes_fetched += error.bytes_fetched
        error.attempts, error.requests = self.attempts, self.requests
        error.bytes_fetched = self.bytes_fetched

    def in_vain(self, requests: int, bytes_fetched: int) -> None:
        """Count a request whose answer nobody waited for."""
        self.requests += requests
        self.bytes_fetched += bytes_fetched

    def added_to(self, answer: T) -> T:
        """The answer with what was spent before it; a listing's page counts nothing."""
        if isinstance(answer, RangeResponse) and self.requests:
            return replace(
                answer,
                requests=answer.requests + self.requests,
                discarded=answer.discarded + self.bytes_fetched,
            )
        return answer
