"""Lists a whole bucket by key prefixes where that takes fewer requests than a listing of each series.

IDC's keys begin with the series' UUID, so hexadecimal digits split a bucket into even pieces. Found objects
are kept on disk until their shard is harvested: about 30 bytes an object, 1.8 GB for all of IDC.
"""

import logging
import sqlite3
import struct
import tempfile
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeAlias

import anyio

from harvester.errors import StoreError
from harvester.fetch.series_listing import pages
from harvester.model import ListedObject, ObjectRef, Series
from harvester.store.base import Store
from harvester.store.http.urls import PAGE_KEYS

_logger = logging.getLogger("harvester")

BucketName: TypeAlias = tuple[str, str]
"""A bucket's scheme and name."""

# Parsing 50 entries of other series costs as much as one more request (measured with S3's XML, 400 kB for a
# page of 1,000 keys).
_ENTRIES_PER_REQUEST: Final = 50
_HEX_DIGITS: Final = "0123456789abcdef"
_MOST_DIGITS: Final = 2
_PACKED: Final = struct.Struct("<LQ")  # the length of a name, the object's size
_CACHE_KIB: Final = 32 * 1024


@dataclass(slots=True)
class Piece:
    """The number of selected series with one key prefix, and of their instances."""

    series: int = 0
    instances: int = 0


@dataclass(frozen=True, slots=True)
class BucketListing:
    """Which pieces of a bucket to list.

    Args:
        bucket: Its address, with an empty key.
        pieces: The selection by key prefix; each prefix is one listing.
        most_objects: A piece with more objects is given up.
    """

    bucket: ObjectRef
    pieces: Mapping[str, Piece]
    most_objects: int


class FoundObjects:
    """The objects of listed buckets by folder, packed, in an unnamed temporary file.

    Args:
        folder: Folder for the file; None: the system's folder for temporary files.

    Attributes:
        requests: Number of list requests.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.requests = 0
        self._folder = folder
        self._whole: set[tuple[ObjectRef, str]] = set()
        self._database: sqlite3.Connection | None = None

    def fill(self, series: Series) -> Series:
        """The series with its objects, if all that the catalog counts were found; else unchanged.

        A series with missing or repeated objects is listed by itself later.
        """
        if series.objects or not series.prefixes or not self._was_listed(series.prefixes[0]):
            return series
        prefix = series.prefixes[0]
        objects = tuple(sorted(self._below(prefix), key=lambda listed: listed.ref.key))
        keys = {listed.ref.key for listed in objects}
        if len(keys) < len(objects) or len(keys) < (series.instance_count or 1):
            return series
        return replace(series, objects=objects)

    def add(self, bucket: ObjectRef, page: Iterable[ListedObject]) -> None:
        """Store some objects of a piece's listing."""
        folders: dict[str, bytearray] = defaultdict(bytearray)
        for listed in page:
            folder, slash, name = listed.ref.key.rpartition("/")
            raw = name.encode()
            folders[folder + slash].extend(_PACKED.pack(len(raw), listed.size or 0) + raw)
        rows = [(bucket.url, folder, zlib.compress(packed, 1)) for folder, packed in folders.items()]
        self._opened().executemany("INSERT INTO found VALUES (?, ?, ?)", rows)

    def complete(self, bucket: ObjectRef, start: str) -> None:
        """Declare a piece as completely listed; only then `fill` uses it."""
        self._whole.add((bucket, start))

    def close(self) -> None:
        """Delete the file."""
        if self._database is not None:
            self._database.close()
            self._database = None
        self._whole.clear()

    def _was_listed(self, prefix: ObjectRef) -> bool:
        bucket = replace(prefix, key="")
        return any((bucket, prefix.key[:digits]) in self._whole for digits in range(_MOST_DIGITS + 1))

    def _below(self, prefix: ObjectRef) -> Iterator[ListedObject]:
        bucket = replace(prefix, key="").url
        # A folder's key ends in "/"; "0" is the next character.
        rows = self._opened().execute(
            "SELECT folder, packed FROM found WHERE bucket = ? AND folder >= ? AND folder < ?",
            (bucket, prefix.key, prefix.key[:-1] + "0"),
        )
        for folder, packed in rows:
            yield from _unpacked(replace(prefix, key=folder), zlib.decompress(packed))

    def _opened(self) -> sqlite3.Connection:
        if self._database is None:
            folder = Path(tempfile.gettempdir()) if self._folder is None else self._folder
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(prefix="harvester-listing-", dir=folder) as file:
                self._database = sqlite3.connect(file.name, isolation_level=None, check_same_thread=False)
                for pragma in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{_CACHE_KIB}"):
                    self._database.execute(f"PRAGMA {pragma}")
                self._database.execute("CREATE TABLE found (bucket TEXT, folder TEXT, packed BLOB)")
                self._database.execute("CREATE INDEX by_folder ON found (bucket, folder)")
        return self._database


def choose_buckets(series: Iterable[Series], totals: Mapping[BucketName, int]) -> list[BucketListing]:
    """Choose the buckets to list whole: where that costs less than one request a series.

    The cost is the pages of the bucket and the parsing of entries of other series.

    Args:
        series: The series to harvest; those whose objects are known need no listing.
        totals: The number of objects in each bucket, as far as the catalog knows.
    """
    pieces: dict[ObjectRef, dict[str, Piece]] = defaultdict(lambda: defaultdict(Piece))
    for one in series:
        if one.objects or not one.prefixes or not one.prefixes[0].key.endswith("/"):
            continue
        bucket = replace(one.prefixes[0], key="")
        start = one.prefixes[0].key[: _digits(totals.get((bucket.scheme, bucket.bucket), 0))]
        if all(letter in _HEX_DIGITS for letter in start):
            piece = pieces[bucket][start]
            piece.series += 1
            piece.instances += one.instance_count or 0
    chosen = (
        _choose(bucket, here, totals.get((bucket.scheme, bucket.bucket), 0))
        for bucket, here in pieces.items()
    )
    return [listing for listing in chosen if listing is not None]


def _choose(bucket: ObjectRef, pieces: Mapping[str, Piece], total: int) -> BucketListing | None:
    others = max(0, total - sum(piece.instances for piece in pieces.values()))
    share = total / 16 ** _digits(total)
    cost = len(pieces) * (share / PAGE_KEYS + 1) + others / _ENTRIES_PER_REQUEST
    if not total or cost >= sum(piece.series for piece in pieces.values()):
        return None
    return BucketListing(
        bucket,
        dict(pieces),
        # The catalog may not know all of a bucket: list at most about twice the expected number.
        most_objects=int(2 * share) + PAGE_KEYS,
    )


def _digits(total: int) -> int:
    """How many hexadecimal digits split a bucket into pieces of at least a page."""
    digits = 0
    while digits < _MOST_DIGITS and total >= PAGE_KEYS * 16 ** (digits + 1):
        digits += 1
    return digits


async def list_buckets(
    listings: Iterable[BucketListing], store: Store, found: FoundObjects, *, concurrency: int
) -> None:
    """List the objects of the selected series; a piece that cannot be listed is left out, without an error.

    Args:
        listings: Which buckets, in which pieces.
        store: Lists the buckets.
        found: Receives the objects.
        concurrency: How many pieces are listed at the same time.
    """
    limiter = anyio.CapacityLimiter(concurrency)

    async def run(listing: BucketListing, start: str, piece: Piece) -> None:
        async with limiter:
            await _list_piece(listing, start, piece, store, found)

    async with anyio.create_task_group() as tasks:
        for listing in listings:
            for start, piece in listing.pieces.items():
                tasks.start_soon(run, listing, start, piece)


async def _list_piece(
    listing: BucketListing, start: str, piece: Piece, store: Store, found: FoundObjects
) -> None:
    place = replace(listing.bucket, key=start)
    seen = 0
    page: list[ListedObject] = []
    try:
        async for listed in store.list_objects(place):
            seen += 1
            if seen > listing.most_objects:
                _logger.info(
                    "%s*: more than the %d expected objects; listing its %d series one by one",
                    place.url,
                    listing.most_objects,
                    piece.series,
                )
                break
            page.append(listed)
            if len(page) == PAGE_KEYS:
                found.add(listing.bucket, page)
                page = []
        else:
            found.add(listing.bucket, page)
            found.complete(listing.bucket, start)
    except StoreError as error:
        found.requests += error.requests
        _logger.warning("%s; listing its %d series one by one", error, piece.series)
    found.requests += pages(seen)


def _unpacked(place: ObjectRef, packed: bytes) -> Iterator[ListedObject]:
    at = 0
    while at < len(packed):
        length, size = _PACKED.unpack_from(packed, at)
        at += _PACKED.size
        rest = packed[at : at + length].decode()
        at += length
        yield ListedObject(ObjectRef(place.bucket, place.key + rest, place.scheme), size)
