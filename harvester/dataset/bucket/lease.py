"""The lock of a dataset in a bucket: a lease, an object that names its holder, who must renew it.

Acquiring, renewing and releasing are conditional writes, so of two processes that try at once one fails. A
holder that has not renewed the lease for `LIFETIME` seconds, by the server's clock, has lost it; so has a
process that has ended, if it ran on this machine.
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
from typing import Annotated, Final

from pydantic import Field, PositiveInt, TypeAdapter, ValidationError

from harvester.config.operating_system import has_ended
from harvester.dataset.bucket.client import BucketAccess
from harvester.dataset.bucket.conditional_put import (
    ConditionalObject,
    ConflictError,
    StoredVersion,
    conditional_object,
)
from harvester.dataset.bucket.errors import no_credentials
from harvester.dataset.paths import LEASE
from harvester.errors import DatasetBusyError, DatasetError

LIFETIME: Final = 60.0
"""Seconds after which a lease that was not renewed is free."""

_LONGEST: Final = 3600.0  # of another version's lease
_RENEW: Final = 10.0
_MARGIN: Final = 5.0
_ATTEMPTS: Final = 5

_logger = logging.getLogger("harvester")


@dataclass(frozen=True, slots=True)
class Owner:
    """The holder of a dataset, as the lease names it.

    Attributes:
        token: Identifies this lease.
        process: The holder's process number.
        host: The machine's name.
        machine: Identifies the machine, its boot and its container.
        since: When it was acquired.
        lifetime: Seconds for which it is valid after a renewal.
        released: Whether the holder has released it.
        renewals: The number of renewals.
    """

    token: str
    process: PositiveInt
    host: str
    machine: str
    since: str
    lifetime: Annotated[float, Field(gt=0, le=_LONGEST)] = LIFETIME
    released: bool = False
    renewals: int = 0

    @property
    def name(self) -> str:
        """The holder, in messages."""
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
        """Renew it; a network error is retried at the next renewal."""
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
        """Renew it periodically, until it is released or lost."""
        while not self._ended.wait(_RENEW):
            self.renew()

    def release(self) -> None:
        """Release it, if it is still held, so that the next process need not wait."""
        self._ended.set()
        with self._changing:
            if self._lost:
                return
            try:
                _put(self.place, replace(self.owner, released=True), self.version)
            except ConflictError:
                self._lost = True
            except DatasetError as error:
                _logger.warning("the dataset's lock could not be released, and will expire: %s", error)


@contextmanager
def hold_lease(access: BucketAccess) -> Iterator[Lease]:
    """Hold a dataset in a bucket while the block runs.

    Raises:
        DatasetBusyError: Another process holds it; the message names it.
        DatasetError: There are no credentials, or the bucket refuses.
    """
    if access.anonymous:
        raise no_credentials(access.address)
    place = conditional_object(access, LEASE)
    lease = _acquire(access, place)
    thread = threading.Thread(target=lease.keep, name="harvester-lease", daemon=True)
    thread.start()
    try:
        yield lease
    finally:
        lease.release()
        thread.join(_MARGIN)


def confirm_lease(access: BucketAccess, token: str) -> None:
    """Check in the bucket that a lease is still this holder's.

    Raises:
        DatasetError: It is another process's, or has expired.
    """
    seen = conditional_object(access, LEASE).read()
    owner = None if seen is None else _owner(seen)
    if seen is None or owner is None or owner.token != token or owner.released:
        holder = "no process" if owner is None else owner.name
        raise DatasetError(
            f"{access.address.url}: this process has lost the dataset's lock ({holder} has it); what was "
            "committed stays: start the crawl again"
        )
    if seen.age > owner.lifetime - _MARGIN:
        raise DatasetError(
            f"{access.address.url}: the dataset's lock was not renewed for {seen.age:.0f} s and expires; "
            "what was committed stays: start the crawl again"
        )


def _acquire(access: BucketAccess, place: ConditionalObject) -> Lease:
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
                "end, or stop it, or crawl into another dataset; if that has died, it loses the lock in "
                f"{_left(seen, before):.0f} s"
            )
        try:
            version = _put(place, owner, None if seen is None else seen.version)
            return Lease(place, owner, _check_conditions(access, place, owner, version))
        except ConflictError:
            continue  # another process acquired or released it meanwhile
    raise DatasetBusyError(
        f"{access.address.url}: other processes acquire the dataset's lock all the time; try again"
    )


def _put(place: ConditionalObject, owner: Owner, seen: str | None) -> str:
    """Write it; a conflict with this process's own write, whose response was lost, is ignored."""
    try:
        return place.put(_text(owner), seen)
    except ConflictError:
        there = place.read()
        if there is not None and there.data == _text(owner):
            return there.version
        raise


def _check_conditions(access: BucketAccess, place: ConditionalObject, owner: Owner, version: str) -> str:
    """Check that the server enforces conditions: a false one must be refused."""
    try:
        version = place.put(_text(owner), None)
    except ConflictError:
        return version
    _logger.warning(
        "%s: this server ignores conditional writes, so two crawls can write one dataset at once; "
        "make sure that only one does",
        access.address.endpoint or access.address.url,
    )
    return version


def _is_free(seen: StoredVersion, owner: Owner) -> bool:
    if owner.released or seen.age > owner.lifetime:
        return True
    return owner.machine == _machine() and has_ended(owner.process)


def _left(seen: StoredVersion, owner: Owner) -> float:
    return max(1.0, owner.lifetime - seen.age)


def _owner(seen: StoredVersion) -> Owner | None:
    """The holder that the object names; None if it is invalid: the lease is free then."""
    try:
        return _OWNER.validate_json(seen.data)
    except ValidationError:
        return None


def _text(owner: Owner) -> bytes:
    return json.dumps(asdict(owner), indent=1).encode()


def _machine() -> str:
    """Host, boot and process namespace: process numbers are comparable only where all are equal."""
    return " ".join([socket.gethostname(), *map(_fact, ("boot", "namespace"))])


def _fact(what: str) -> str:
    try:
        if what == "boot":
            return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return token_hex(16)  # not Linux: no machine is recognised, and leases expire
