"""Counts the HTTP requests and the bytes that an operation takes, failed attempts included."""

from dataclasses import dataclass
from typing import TypeVar

from harvester.errors import StoreError
from harvester.model import RangeResponse

T = TypeVar("T")


@dataclass(slots=True)
class RequestCost:
    """What one operation has cost so far.

    Attributes:
        requests: HTTP requests, retries and redirects included.
        bytes_fetched: Bytes of all response bodies.
        attempts: Attempts that failed.
    """

    requests: int = 0
    bytes_fetched: int = 0
    attempts: int = 0

    def add(self, result: "RangeResponse | StoreError | RequestCost") -> None:
        """Count a response, an error in its place, or a part of the operation."""
        self.requests += result.requests
        self.bytes_fetched += result.bytes_fetched

    def add_failure(self, error: StoreError) -> None:
        """Count a failed attempt, and set the error's counts to the sum of all attempts so far."""
        self.add(error)
        self.attempts += error.attempts
        error.requests, error.bytes_fetched, error.attempts = self.requests, self.bytes_fetched, self.attempts

    def added_to(self, response: T) -> T:
        """The response with this cost added; a page of a listing has no counts and stays as it is."""
        if isinstance(response, RangeResponse) and self.requests:
            return response._replace(
                requests=response.requests + self.requests,
                discarded=response.discarded + self.bytes_fetched,
            )
        return response
