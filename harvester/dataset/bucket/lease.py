"""The lock of a dataset in a bucket: an object that says who holds it, and that must be renewed to hold.

Taking, renewing and letting go each replace the object on the condition that it is still the one that was
seen, so of two who try at once one fails. A holder that has not renewed it for `LIFETIME` seconds, by the
server's clock, has lost it, and so has one whose process is gone from this very machine.
"""

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import Final

from pydantic import TypeAdapter, ValidationError

from harvester.dataset.bucket.client import BucketAccess
from harvester.dataset.bucket.conditional_put import (
    ConditionalObject,
    ConflictError,
    Seen,
    conditional_object,
)
from harvester.dataset.bucket.errors import no_credentials
from harvester.dataset.lock import is_gone
from harvester.dataset.paths import LEASE
from harvester.errors import DatasetBusyError, DatasetError

LIFETIME: Final = 60.0
"""Seconds after which a lock that was not renewed is free."""

_RENEW: Final = 10.0
_MARGIN: Final = 5.0
_ATTEMPTS: Final = 5

_logger = logging.getLogger("harvester")


@dataclass(frozen=True, slots=True)
class Owner:
    """Who holds a dataset, as the lock's object says it.

    Attributes:
        token: Tells this holding from any other.
        process: The holder's process on its machine.
        host: What the machine is called.
        machine: Tells the machine, its boot and its container from any other of that name.
        since: When it was taken.
        lifetime: Seconds for which it holds after it was last renewed.
        released: Whether the holder has let it go.
        renewals: How often it was renewed.
    """

    token: str
    process: int
    host: str
    machine: str
    since: str
    lifetime: float = LIFETIME
    released: bool = False
    renewals: int = 0

    @property
    def name(self) -> str:
        """For a person."""
        return f"process {self.process} on {self.host} since {self.since}"


_OWNER: Final = TypeAdapter(Owner)


@dataclass(slots=True)
class Lease:
    """A lock that is held, and renewed by a thread until it is let go."""

    place: ConditionalObject
    owner: Owner
    version: str
    _renewed: float = field(default_factory=time.monotonic)
    _changing: threading.Lock = field(default_factory=threading.Lock)
    _ended: threading.Event = field(default_factory=threading.Event)
    _lost: bool = False

    def renew(self) -> None:
        """Hold it for another lifetime; what the network prevents is tried again the next time."""
        with self._changing:
            sent = time.monotonic()
            following = replace(self.owner, renewals=self.owner.renewals + 1)
            try:
                self.version = _put(self.place, following, self.version)
            except ConflictError:
                self._lost = True
                self._ended.set()
                _logger.warning("another process has taken the dataset's lock: nothing more is committed")
            except DatasetError as error:
                _logger.warning("the dataset's lock could not be renewed, and will be tried again: %s", error)
            else:
                self.owner, self._renewed = following, sent

    def keep(self) -> None:
        """Renew it again and again, until it is let go or lost."""
        while not self._ended.wait(_RENEW):
            self.renew()

    def release(self) -> None:
        """Let it go, if it is still held; who comes next need not wait."""
        self._ended.set()
        with self._changing:
            if self._lost:
                return
            try:
                _put(self.place, replace(self.owner, released=True), self.version)
            except ConflictError:
                self._lost = True
            except DatasetError as error:
                _logger.warning("the dataset's lock is left to expire: %s", error)


@contextmanager
def hold_lease(access: BucketAccess) -> Iterator[Lease]:
    """Hold a dataset in a bucket while the block runs.

    Raises:
        DatasetBusyError: Somebody else holds it; the message says who.
        DatasetError: There are no credentials, or the bucket refuses.
    """
    if access.anonymous:
        raise no_credentials(access.address)
    place = conditional_object(access, LEASE)
    lease = _taken(access, place)
    thread = threading.Thread(target=lease.keep, name="harvester-lease", daemon=True)
    thread.start()
    try:
        yield lease
    finally:
        lease.release()
        thread.join(_MARGIN)


def confirm_lease(access: BucketAccess, token: str) -> None:
    """See that a lock still is this holder's; asks the bucket.

    Raises:
        DatasetError: It is somebody else's, or has expired.
    """
    seen = conditional_object(access, LEASE).read()
    owner = None if seen is None else _owner(seen)
    if seen is None or owner is None or owner.token != token or owner.released:
        holder = "nobody" if owner is None else owner.name
        raise DatasetError(
            f"{access.address.url}: this process has lost the dataset's lock ({holder} has it); what was "
            "committed stays: start the crawl again"
        )
    if seen.age > owner.lifetime - _MARGIN:
        raise DatasetError(
            f"{access.address.url}: the dataset's lock was not renewed for {seen.age:.0f} s and expires; "
            "what was committed stays: start the crawl again"
        )


def _taken(access: BucketAccess, place: ConditionalObject) -> Lease:
    owner = Owner(
        token=token_hex(16),
        process=os.getpid(),
        host=socket.gethostname(),
        machine=_machine(),
        since=f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
    )
    for _ in range(_ATTEMPTS):
        seen = place.read()
        before = None if seen is None else _owner(seen)
        if seen is not None and before is not None and not _is_free(seen, before):
            raise DatasetBusyError(
                f"{access.address.url}: another crawl is writing this dataset ({before.name}); wait for its "
                "end, or stop it, or crawl into another dataset; a holder that has died loses it in "
                f"{_left(seen, before):.0f} s"
            )
        try:
            version = _put(place, owner, None if seen is None else seen.version)
            return Lease(place, owner, _held_to_conditions(access, place, owner, version))
        except ConflictError:
            continue  # somebody else was quicker, or has let it go: look again
    raise DatasetBusyError(
        f"{access.address.url}: the dataset's lock changes hands again and again; try again"
    )


def _put(place: ConditionalObject, owner: Owner, seen: str | None) -> str:
    """Write it; a conflict with what we ourselves wrote, before an answer was lost, is none."""
    try:
        return place.put(_text(owner), seen)
    except ConflictError:
        there = place.read()
        if there is not None and there.data == _text(owner):
            return there.version
        raise


def _held_to_conditions(access: BucketAccess, place: ConditionalObject, owner: Owner, version: str) -> str:
    """See whether this server heeds conditions at all: one that is known not to hold must be refused."""
    try:
        version = place.put(_text(owner), None)
    except ConflictError:
        return version
    _logger.warning(
        "%s: this server ignores conditional writes, so nothing keeps two crawls out of one dataset; "
        "see to it that only one writes",
        access.address.endpoint or access.address.url,
    )
    return version


def _is_free(seen: Seen, owner: Owner) -> bool:
    if owner.released or seen.age > owner.lifetime:
        return True
    return owner.machine == _machine() and is_gone(owner.process)


def _left(seen: Seen, owner: Owner) -> float:
    return max(1.0, owner.lifetime - seen.age)


def _owner(seen: Seen) -> Owner | None:
    """What the object says; None where it says nothing: a lock that nobody can own is free."""
    try:
        return _OWNER.validate_json(seen.data)
    except ValidationError:
        return None


def _text(owner: Owner) -> bytes:
    return json.dumps(asdict(owner), indent=1).encode()


def _machine() -> str:
    """Host, boot and process namespace: only where all are equal does a process number mean the same."""
    return " ".join([socket.gethostname(), *map(_told, ("boot", "namespace"))])


def _told(what: str) -> str:
    try:
        if what == "boot":
            return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return token_hex(16)  # not Linux: nobody is recognised, and locks expire
