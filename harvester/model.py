"""The nouns of a harvest: objects, ranges, series, shards, plans and failures."""

import os
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from harvester.errors import ConfigError

VERSION: Final = "0.1.0"  # of this package, as in pyproject.toml

SCHEMES = ("s3", "gs", "https", "http", "file")
_AZURE_SCHEMES = ("az", "adl", "abfs", "abfss", "wasb", "wasbs")
PLAIN_KEY = re.compile(r"[A-Za-z0-9_.~/-]*")
"""What stands in an address as it is: almost every key, and quoting takes longer than looking."""

BUCKET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,221}")
"""What a bucket of S3 or GCS may be called; other characters could name another host."""

_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Half-open: the bytes from `start` up to, but not including, `stop`."""

    start: int
    stop: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.stop:
            raise ValueError(f"not a byte range: [{self.start}, {self.stop})")

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """Where one object lies: a bucket (or host, or nothing for a local file) and a key in it.

    The key is decoded text, as the store's listing names it. An HTTP address's key stays as it was
    written: its percent-encoding and its query carry meaning (`%3F` is no `?`, a signature has `%2B`).
    """

    bucket: str
    key: str
    scheme: str = "s3"

    def __reduce__(self) -> tuple[type["ObjectRef"], tuple[str, str, str]]:
        # Thousands go to a worker with each shard: as arguments they are pickled three times as fast.
        return ObjectRef, (self.bucket, self.key, self.scheme)

    @property
    def url(self) -> str:
        """The object's address, as `instance_url` keeps it."""
        if self.scheme == "file":
            return "file://" + quote(self.key, errors="surrogateescape")
        if self.scheme in ("s3", "gs") or PLAIN_KEY.fullmatch(self.key):
            return f"{self.scheme}://{self.bucket}/{self.key}"
        key = quote(_STRAY_PERCENT.sub("%25", self.key), safe="%/?=&;~@:+,$!*()'[]", errors="surrogatepass")
        return f"{self.scheme}://{self.bucket}/{key}"

    @property
    def stem(self) -> str:
        """The key's last part without its extension: IDC's `crdc_instance_uuid`."""
        name = self.key.rpartition("/")[2]
        return name.rpartition(".")[0] or name

    @classmethod
    def parse(cls, url: str) -> "ObjectRef":
        """Read an address: `s3://`, `gs://`, `https://`, `http://`, `file://` or a path.

        Raises:
            ConfigError: The scheme is another one, or the bucket or the key is missing.
        """
        scheme, separator, rest = url.partition("://")
        if not separator:
            return cls(bucket="", key=str(PurePosixPath(url)), scheme="file")
        scheme = scheme.lower()
        if scheme not in SCHEMES:
            if scheme in _AZURE_SCHEMES:
                raise ConfigError(
                    f"{url!r}: Azure Blob Storage is not supported; use an S3 gateway in front of it as the"
                    " endpoint, or https URLs"
                )
            raise ConfigError(f"{url!r}: scheme {scheme!r} is none of {', '.join(SCHEMES)}")
        if scheme == "file":
            return cls(bucket="", key=unquote(urlsplit(url).path, errors="surrogateescape"), scheme="file")
        bucket, _, key = rest.partition("/")
        if not bucket or not key:
            raise ConfigError(f"{url!r}: expected {scheme}://BUCKET/KEY")
        return cls(bucket=bucket, key=key, scheme=scheme)


def endpoint_url(text: str) -> str:
    """An endpoint, `http://HOST[:PORT]` or `https://HOST[:PORT]`, without a trailing slash.

    Raises:
        ValueError: It is something else.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{text!r} is not a URL: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or re.search(r"[^!-~]", text):
        raise ValueError(f"{text!r} is not http://HOST[:PORT] or https://HOST[:PORT]")
    if parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError(f"{text!r} says more than a host and a port; give {parts.scheme}://HOST:PORT")
    return f"{parts.scheme}://{parts.netloc}"


@dataclass(frozen=True, slots=True)
class ListedObject:
    """What a listing says of one object; `etag` is unquoted and None where the store has none.

    `size` (bytes) is None where a list of addresses names the object: its first window will say.
    """

    ref: ObjectRef
    size: int | None
    etag: str | None = None

    def __reduce__(self) -> tuple[type["ListedObject"], tuple[ObjectRef, int | None, str | None]]:
        # As an `ObjectRef`'s.
        return ListedObject, (self.ref, self.size, self.etag)


def file_etag(status: os.stat_result) -> str:
    """The ETag of a file on this machine: another one when it was written to, or replaced."""
    return f"{status.st_mtime_ns:x}-{status.st_size:x}-{status.st_ino:x}"


@dataclass(frozen=True, slots=True)
class RangeResponse:
    """The bytes of one range request, and what its answer said of the whole object.

    `data` starts at the byte that was asked for and is as long as was asked for, or reaches the
    object's end. `size` is the whole object's, `etag` is unquoted (a weak one keeps its `W/`) and None
    where the store has none. `requests` counts what the answer cost, retries and redirects included;
    `discarded` are bytes that were read for it and are not in `data`.
    """

    data: bytes
    size: int
    etag: str | None
    requests: int = 1
    discarded: int = 0

    @property
    def bytes_fetched(self) -> int:
        """The bytes of all bodies that were read for this answer."""
        return len(self.data) + self.discarded


class SeriesOutline(NamedTuple):
    """The fields of a series that determine its shard."""

    key: str
    collection_id: str | None
    modality: str | None
    instance_count: int | None
    size: int | None


@dataclass(frozen=True, slots=True)
class Series:
    """One series to harvest, as the catalog knows it.

    `prefixes` are the places its objects lie under, in the order they are tried (one for each
    provider's copy); `objects`, where the catalog names them one by one, makes a listing needless.
    `instance_count` and `size` (bytes) are the catalog's, None where it does not say.
    """

    key: str
    prefixes: tuple[ObjectRef, ...] = ()
    objects: tuple[ListedObject, ...] = ()
    series_instance_uid: str | None = None
    crdc_series_uuid: str | None = None
    collection_id: str | None = None
    modality: str | None = None
    instance_count: int | None = None
    size: int | None = None
    idc_version: int | None = None

    @property
    def outline(self) -> SeriesOutline:
        """The series without its location; named objects are its count if the catalog gives none."""
        count = self.instance_count
        count = len(self.objects) or None if count is None else count
        return SeriesOutline(self.key, self.collection_id, self.modality, count, self.size)


@dataclass(frozen=True, slots=True)
class Shard:
    """The unit of work and of commit: some series, harvested by one worker, named for their keys."""

    name: str
    series: tuple[Series, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a crawl will do: the same selection gives the same name and the same shards.

    `shards` can be gone through again and again, but may lie on a disk: all of IDC is a million series.
    """

    name: str
    shards: Collection[Shard]


@dataclass(frozen=True, slots=True)
class Failure:
    """One object, or one series that could not be listed, that gave no row in `instances`, and why."""

    url: str
    reason: str
    message: str
    status: int | None = None
    offset: int | None = None
    attempts: int = 1
    series: Series | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class SeriesTotals:
    """How much: series, the instances and bytes that are known of them, and what is not known.

    `uncounted` is how many of the series have no instance count: then `instances` is a floor.
    """

    series: int = 0
    instances: int = 0
    size: int = 0
    uncounted: int = 0

    def __add__(self, other: "SeriesTotals") -> "SeriesTotals":
        return SeriesTotals(
            self.series + other.series,
            self.instances + other.instances,
            self.size + other.size,
            self.uncounted + other.uncounted,
        )


@dataclass(frozen=True, slots=True)
class Summary:
    """What a selection holds, by collection and modality (None where the catalog does not say)."""

    groups: Mapping[tuple[str | None, str | None], SeriesTotals]

    @property
    def total(self) -> SeriesTotals:
        """The whole selection."""
        return sum(self.groups.values(), SeriesTotals())

    @property
    def by_collection(self) -> dict[str | None, SeriesTotals]:
        """The selection by collection, in the groups' order."""
        return self._by(0)

    @property
    def by_modality(self) -> dict[str | None, SeriesTotals]:
        """The selection by modality, in the groups' order."""
        return self._by(1)

    def _by(self, place: int) -> dict[str | None, SeriesTotals]:
        tallies: dict[str | None, SeriesTotals] = {}
        for names, tally in self.groups.items():
            tallies[names[place]] = tallies.get(names[place], SeriesTotals()) + tally
        return tallies

    @classmethod
    def of(cls, series: Iterable[Series]) -> "Summary":
        """Count series one by one, for a catalog that has no table to ask."""
        groups: dict[tuple[str | None, str | None], SeriesTotals] = {}
        for one in series:
            names = (one.collection_id, one.modality)
            count = one.instance_count
            tally = SeriesTotals(1, count or 0, one.size or 0, uncounted=int(count is None))
            groups[names] = groups.get(names, SeriesTotals()) + tally
        return cls(groups)
