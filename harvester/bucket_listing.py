"""Lists most of a bucket at once, split over key prefixes, where one listing a series would ask more often.

IDC's keys begin with the series' UUID, so that hexadecimal digits split a bucket into even pieces. What
is kept is only what belongs to a selected series: about 50 bytes an object, 2.9 GB for all of IDC.
"""

import logging
import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

import anyio

from harvester.errors import StoreError
from harvester.expand import pages
from harvester.model import ListedObject, ObjectRef, Series
from harvester.store.address import PAGE_KEYS
from harvester.store.base import Store

_logger = logging.getLogger("harvester")

BucketName: TypeAlias = tuple[str, str]
"""A bucket's scheme and name."""

# Reading the entries of other series costs, too: 50 of them as much as one more request, measured with
# S3's XML, of which a page of 1,000 keys has 400 kB.
_KEYS_LIKE_A_REQUEST: Final = 50
_HEX_DIGITS: Final = "0123456789abcdef"
_MOST_DIGITS: Final = 2
_PACKED: Final = struct.Struct("<LQ")  # the length of the rest of the key, the object's size


@dataclass(frozen=True, slots=True)
class BucketListing:
    """Which pieces of a bucket to list.

    Args:
        bucket: Its address, with an empty key.
        pieces: The selected series by the beginning of their keys; each is one listing.
        most_objects: How many objects of one piece are looked at before it is given up.
    """

    bucket: ObjectRef
    pieces: Mapping[str, tuple[Series, ...]]
    most_objects: int


@dataclass(slots=True)
class FoundObjects:
    """The objects of series, as listings of whole buckets found them; packed.

    `requests` is how many pages were asked for.
    """

    requests: int = 0
    _packed: dict[str, tuple[ObjectRef, bytearray]] = field(default_factory=dict)

    def fill(self, series: Series) -> Series:
        """The series with its objects, if all that the catalog counts were found; else as it was.

        Whatever is missing or came twice is then left to a listing of the series' own.
        """
        if series.key not in self._packed:
            return series
        place, packed = self._packed.pop(series.key)
        objects = tuple(sorted(_unpacked(place, packed), key=lambda listed: listed.ref.key))
        keys = {listed.ref.key for listed in objects}
        if len(keys) < len(objects) or len(keys) < (series.instance_count or 1):
            return series
        return replace(series, objects=objects)

    def add(self, found: Mapping[str, tuple[ObjectRef, bytearray]]) -> None:
        """Take in what one piece's listing found, by the series' keys."""
        self._packed.update(found)


def choose_buckets(series: Iterable[Series], totals: Mapping[BucketName, int]) -> list[BucketListing]:
    """Say which buckets are better listed whole than series by series.

    That is where the pages of the whole bucket, and what reading the entries of other series costs, are
    less than one request a series.

    Args:
        series: What is still to be harvested; those whose objects are known need no listing.
        totals: How many objects each bucket holds, as far as the catalog knows.
    """
    selected: dict[ObjectRef, list[Series]] = defaultdict(list)
    for one in series:
        if not one.objects and one.prefixes and one.prefixes[0].key.endswith("/"):
            selected[replace(one.prefixes[0], key="")].append(one)
    chosen = (
        _choose(bucket, here, totals.get((bucket.scheme, bucket.bucket), 0))
        for bucket, here in selected.items()
    )
    return [listing for listing in chosen if listing is not None]


def _choose(bucket: ObjectRef, selected: list[Series], total: int) -> BucketListing | None:
    digits = _digits(total)
    pieces: dict[str, list[Series]] = defaultdict(list)
    for one in selected:
        start = one.prefixes[0].key[:digits]
        if all(letter in _HEX_DIGITS for letter in start):
            pieces[start].append(one)
    covered = [one for piece in pieces.values() for one in piece]
    others = max(0, total - sum(one.instance_count or 0 for one in covered))
    share = total / 16**digits
    asked = len(pieces) * (share / PAGE_KEYS + 1) + others / _KEYS_LIKE_A_REQUEST
    if not total or asked >= len(covered):
        return None
    return BucketListing(
        bucket,
        {start: tuple(piece) for start, piece in pieces.items()},
        # A catalog may know little of a bucket: no more than twice the guess, and some, is spent on it.
        most_objects=int(2 * share) + PAGE_KEYS,
    )


def _digits(total: int) -> int:
    """How many digits split a bucket so that each piece fills a page."""
    digits = 0
    while digits < _MOST_DIGITS and total >= PAGE_KEYS * 16 ** (digits + 1):
        digits += 1
    return digits


async def list_buckets(listings: Iterable[BucketListing], store: Store, *, concurrency: int) -> FoundObjects:
    """Find the selected series' objects; what cannot be listed so is left out, and never an error.

    Args:
        listings: Which buckets, in which pieces.
        store: Where they are.
        concurrency: How many pieces are listed at once.
    """
    found = FoundObjects()
    limiter = anyio.CapacityLimiter(concurrency)

    async def look(listing: BucketListing, start: str, series: tuple[Series, ...]) -> None:
        async with limiter:
            await _list_piece(listing, start, series, store, found)

    async with anyio.create_task_group() as tasks:
        for listing in listings:
            for start, series in listing.pieces.items():
                tasks.start_soon(look, listing, start, series)
    return found


async def _list_piece(
    listing: BucketListing, start: str, series: tuple[Series, ...], store: Store, found: FoundObjects
) -> None:
    place = replace(listing.bucket, key=start)
    wanted: dict[str, list[bytearray]] = defaultdict(list)
    packed: dict[str, tuple[ObjectRef, bytearray]] = {}
    for one in series:
        packed[one.key] = (one.prefixes[0], bytearray())
        wanted[one.prefixes[0].key].append(packed[one.key][1])
    seen = 0
    try:
        async for listed in store.list_objects(place):
            seen += 1
            if seen > listing.most_objects:
                _logger.info(
                    "%s*: more than the %d objects that were expected; listing its %d series one by one",
                    place.url,
                    listing.most_objects,
                    len(series),
                )
                break
            _pack(listed, wanted)
        else:
            found.add(packed)
    except StoreError as error:
        found.requests += error.requests
        _logger.warning("%s; listing its %d series one by one", error, len(series))
    found.requests += pages(seen)


def _pack(listed: ListedObject, wanted: Mapping[str, list[bytearray]]) -> None:
    key = listed.ref.key
    end = key.find("/")
    while end >= 0:
        for packed in wanted.get(key[: end + 1], ()):
            rest = key[end + 1 :].encode()
            packed.extend(_PACKED.pack(len(rest), listed.size or 0) + rest)
        end = key.find("/", end + 1)


def _unpacked(place: ObjectRef, packed: bytearray) -> Iterator[ListedObject]:
    at = 0
    while at < len(packed):
        length, size = _PACKED.unpack_from(packed, at)
        at += _PACKED.size
        rest = packed[at : at + length].decode()
        at += length
        yield ListedObject(replace(place, key=place.key + rest), size)
