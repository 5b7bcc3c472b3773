"""Chooses which copy of an object is read first, and reads another one if that copy fails."""

import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from hashlib import blake2b
from typing import TypeVar

from harvester.errors import ConnectionFailedError, StoreError
from harvester.model import ObjectRef
from harvester.store.base import Store, first_informative
from harvester.store.resilience.endpoints import Endpoints

T = TypeVar("T")
_logger = logging.getLogger("harvester")


class ReplicaOrder:
    """Sorts the copies of an object into the order in which they are tried.

    The given order stands, with two exceptions. Copies in the spread schemes come first, sorted by a hash of
    the key that is weighted by each endpoint's free slots, so that objects are divided between the endpoints
    by their capacity. Copies at an endpoint that is down come last, except for the one call that probes it.

    Args:
        endpoints: Whose load counts.
        schemes: Between which objects are divided (`("gs", "s3")`); fewer than two have no effect.
    """

    def __init__(self, endpoints: Endpoints, schemes: Sequence[str] = ()) -> None:
        self._endpoints = endpoints
        self._schemes = frozenset(schemes)

    def order(self, copies: Sequence[ObjectRef]) -> tuple[ObjectRef, ...]:
        """The same copies, the one to read first in front."""
        if len(copies) < 2:
            return tuple(copies)
        if len(self._schemes) >= 2:
            spread = [ref for ref in copies if ref.scheme in self._schemes]
            others = [ref for ref in copies if ref.scheme not in self._schemes]
            copies = sorted(spread, key=self._weighted_hash) + others
        return tuple(sorted(copies, key=self._is_down))

    def _weighted_hash(self, ref: ObjectRef) -> float:
        """Weighted rendezvous hashing: the lowest -ln(u)/weight is each one's in proportion to its weight."""
        digest = blake2b(
            f"{ref.scheme}://{ref.bucket}/{ref.key}".encode("utf-8", "surrogatepass"), digest_size=7
        )
        u = (int.from_bytes(digest.digest()) + 1) / 2.0**56
        return -math.log(u) * self._endpoints.of(ref).load

    def _is_down(self, ref: ObjectRef) -> bool:
        circuit = self._endpoints.of(ref).circuit
        # If every object has another copy, no call waits here, so the probe must be one of these calls.
        return circuit.is_open and not circuit.wants_probe


class CopyReader:
    """Reads an object from the first of its copies that can be read.

    The first pass over the copies does not wait: a copy whose endpoint is down, or fails twice, is skipped.
    Only if all fail, those with an error that may pass are tried again with patience.

    Args:
        order: In which order copies are tried.
        fail_fast: The store of the first pass.
        patient: The store of the second pass, and of objects with one copy.
    """

    def __init__(self, order: ReplicaOrder, fail_fast: Store, patient: Store) -> None:
        self._order = order
        self._fail_fast = fail_fast
        self._patient = patient
        self._reported: set[tuple[str, str]] = set()

    async def read(self, copies: Sequence[ObjectRef], read: Callable[[Store, ObjectRef], Awaitable[T]]) -> T:
        """Read one object.

        Args:
            copies: The same object in one or more places.
            read: Reads it from one place with the given store, and counts what its failures cost.

        Raises:
            StoreError: No copy could be read; it is the first one's error that is not "not found".
        """
        ordered = self._order.order(copies)
        errors: dict[ObjectRef, StoreError] = {}
        for store in (self._fail_fast, self._patient) if len(copies) > 1 else (self._patient,):
            for ref in ordered:
                if ref in errors and not _may_pass(errors[ref]):
                    continue
                try:
                    result = await read(store, ref)
                except StoreError as error:
                    errors[ref] = error
                else:
                    if errors:
                        self._report(ref, errors)
                    return result
        raise first_informative([errors[ref] for ref in copies])

    def _report(self, ref: ObjectRef, errors: Mapping[ObjectRef, StoreError]) -> None:
        """Log, once for each pair of buckets, that objects are read from another cloud."""
        for failed, error in errors.items():
            pair = (f"{failed.scheme}://{failed.bucket}", f"{ref.scheme}://{ref.bucket}")
            if pair not in self._reported:
                self._reported.add(pair)
                _logger.warning("%s: objects are read from %s instead (%s)", *pair, error.message)


def _may_pass(error: StoreError) -> bool:
    return error.transient or isinstance(error, ConnectionFailedError)
