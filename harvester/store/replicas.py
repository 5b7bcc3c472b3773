"""Chooses which copy of an object is read first, and reads the next one where that copy cannot be had."""

import math
from collections.abc import Awaitable, Callable, Sequence
from hashlib import blake2b
from typing import TypeVar

from harvester.errors import ConnectionFailedError, StoreError
from harvester.model import ObjectRef
from harvester.store.base import Store, first_informative
from harvester.store.resilience.endpoints import Endpoints

T = TypeVar("T")


class ReplicaOrder:
    """Puts an object's copies into the order in which they are tried.

    The order that was given stands, but for two things. Copies of the spread schemes come first, one of
    them by lot: the lot is the key's hash, so that it is the same for the same load, and it is weighted
    by the slots that each endpoint has for a call that would join it now. And what lies at an endpoint
    that is down comes last, but for the one call that finds out whether it is back.

    Args:
        endpoints: Whose load it is.
        schemes: Between which the objects are spread (`("gs", "s3")`); fewer than two spread nothing.
    """

    def __init__(self, endpoints: Endpoints, schemes: Sequence[str] = ()) -> None:
        self._endpoints = endpoints
        self._schemes = frozenset(schemes)

    def order(self, copies: Sequence[ObjectRef]) -> tuple[ObjectRef, ...]:
        """The same copies, the one to be read first in front."""
        if len(copies) < 2:
            return tuple(copies)
        if len(self._schemes) >= 2:
            copies = self._spread(copies)
        return tuple(sorted(copies, key=self._is_down))

    def _spread(self, copies: Sequence[ObjectRef]) -> Sequence[ObjectRef]:
        drawn = [ref for ref in copies if ref.scheme in self._schemes]
        others = [ref for ref in copies if ref.scheme not in self._schemes]
        return sorted(drawn, key=self._lot) + others

    def _lot(self, ref: ObjectRef) -> float:
        """Weighted rendezvous hashing: the least -ln(u)/weight falls to each in proportion to its weight."""
        digest = blake2b(
            f"{ref.scheme}://{ref.bucket}/{ref.key}".encode("utf-8", "surrogatepass"), digest_size=7
        )
        u = (int.from_bytes(digest.digest()) + 1) / 2.0**56
        return -math.log(u) * self._endpoints.of(ref).load

    def _is_down(self, ref: ObjectRef) -> bool:
        circuit = self._endpoints.of(ref).circuit
        # Where every object has another copy, nobody waits here: a probe must come from among them, or an
        # endpoint that is back would never be asked again.
        return circuit.is_open and not circuit.wants_probe


class CopyReader:
    """Reads an object from the first of its copies that can be read.

    While there is another copy, nobody waits for one: where its endpoint is down, or fails twice, the next
    copy is tried. Only where none could be had, those that may yet come are asked again with patience.

    Args:
        spread: In which order copies are tried.
        hasty: A store that gives up soon.
        patient: A store that waits.
    """

    def __init__(self, spread: ReplicaOrder, hasty: Store, patient: Store) -> None:
        self._spread = spread
        self._hasty = hasty
        self._patient = patient

    async def read(self, copies: Sequence[ObjectRef], read: Callable[[Store, ObjectRef], Awaitable[T]]) -> T:
        """Read one object.

        Args:
            copies: The same object in one or more places.
            read: Reads it from one place, by the store that it is given. It has to count by itself what
                its failures cost.

        Raises:
            StoreError: No copy could be read; it is the first one's error that is more than "not found".
        """
        ordered = self._spread.order(copies)
        if len(ordered) == 1:
            return await read(self._patient, ordered[0])
        errors: dict[ObjectRef, StoreError] = {}
        for store in (self._hasty, self._patient):
            for ref in ordered:
                if ref in errors and not _may_yet_come(errors[ref]):
                    continue
                try:
                    return await read(store, ref)
                except StoreError as error:
                    errors[ref] = error
        raise first_informative([errors[ref] for ref in copies])


def _may_yet_come(error: StoreError) -> bool:
    return error.transient or isinstance(error, ConnectionFailedError)
