"""Types that packages share: objects, byte ranges, series, shards, plans and failures."""

import os
import re
import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from typing import Final, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from harvester.errors import ConfigError
from harvester.messages import without_secrets

VERSION: Final = "0.1.0"  # of this package, as in pyproject.toml

SCHEMES = ("s3", "gs", "https", "http", "file")
_AZURE_SCHEMES = ("az", "adl", "abfs", "abfss", "wasb", "wasbs")
PLAIN_KEY = re.compile(r"[A-Za-z0-9_.~/-]*")
"""Keys that need no quoting in a URL: almost all; this check is faster than quoting."""

BUCKET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,221}")
"""Valid names of S3 and GCS buckets; other characters could lead to another host."""

# Parameters of signed URLs (S3, GCS, CloudFront, Azure), tokens and keys; others can name the object.
_SECRET = re.compile(
    r"(?i)x-(amz|goog)-.*|awsaccesskeyid|googleaccessid|signature|expires|policy|key-pair-id|sig|se|st"
    r"|.*(token|secret|password|credential|api[_-]?key).*"
)
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class ByteRange:
    """A half-open byte range: `start` is included, `stop` is not."""

    start: int
    stop: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.stop:
            raise ValueError(f"not a byte range: [{self.start}, {self.stop})")

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """The location of one object: a bucket (a host, or empty for a local file) and a key in it.

    The key is decoded text, as in the store's listing. The key of an HTTP URL stays encoded: its
    percent-encoding and its query have a meaning (`%3F` is not `?`, a signature contains `%2B`).
    """

    bucket: str
    key: str
    scheme: str = "s3"

    def __reduce__(self) -> tuple[type["ObjectRef"], tuple[str, str, str]]:
        # A shard takes thousands of them to a worker; this form is pickled three times as fast.
        return ObjectRef, (self.bucket, self.key, self.scheme)

    @property
    def public(self) -> "ObjectRef":
        """The same object without what signs a URL and without user-info, which are secrets."""
        if self.scheme not in ("http", "https") or not ("?" in self.key or "@" in self.bucket):
            return self
        _, at, host = self.bucket.rpartition("@")
        path, _, query = self.key.partition("?")
        pairs = query.split("&")
        kept = [pair for pair in pairs if not _SECRET.fullmatch(unquote(pair.partition("=")[0]))]
        if kept == pairs and not at:
            return self
        key = f"{path}?{'&'.join(kept)}" if any(kept) else path
        return ObjectRef(f"...@{host}" if at else host, key, self.scheme)

    @property
    def url(self) -> str:
        """The object's URL without secrets, as in the column `instance_url` and in messages."""
        if self.scheme in ("s3", "gs"):
            return f"{self.scheme}://{self.bucket}/{self.key}"
        return self.public.address

    @property
    def address(self) -> str:
        """The object's whole URL, for a request; of a file with a relative path, that path."""
        if self.scheme == "file":
            if sys.platform == "win32" and self.key[1:2] == ":":
                return "file:///" + quote(self.key, safe="/:", errors="surrogateescape")
            if not self.key.startswith("/"):
                return self.key
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
        """Parse a URL (`s3://`, `gs://`, `https://`, `http://`, `file://`) or a path.

        Raises:
            ConfigError: The scheme is not supported, the bucket or the key is missing, or a file has a host.
        """
        if not url:
            raise ConfigError("'': expected a URL or a path")
        scheme, separator, rest = url.partition("://")
        if not separator:
            path = PureWindowsPath(url) if sys.platform == "win32" else PurePosixPath(url)
            return cls(bucket="", key=path.as_posix(), scheme="file")
        scheme = scheme.lower()
        if scheme not in SCHEMES:
            raise _unusable(url, scheme)
        if scheme == "file":
            host, slash, _ = rest.partition("/")
            if host not in ("", "localhost") or not slash:
                raise ConfigError(
                    f"{without_secrets(url)!r}: expected file:///PATH, or a path without file://"
                )
            key = unquote(urlsplit(url).path, errors="surrogateescape")
            if sys.platform == "win32" and key[2:3] == ":":  # /C:/folder
                key = key[1:]
            return cls(bucket="", key=key, scheme="file")
        bucket, _, key = rest.partition("/")
        if not bucket or not key:
            raise ConfigError(f"{without_secrets(url)!r}: expected {scheme}://BUCKET/KEY")
        if scheme in ("s3", "gs") and "@" in bucket:
            shown = without_secrets(url)
            raise ConfigError(f"{shown!r}: a bucket has no user; credentials come from the environment")
        return cls(bucket=bucket, key=key, scheme=scheme)


def _unusable(url: str, scheme: str) -> ConfigError:
    shown = without_secrets(url)
    if scheme in _AZURE_SCHEMES:
        return ConfigError(
            f"{shown!r}: Azure Blob Storage is not supported; use an S3 gateway in front of it as the"
            " endpoint, or https URLs"
        )
    return ConfigError(f"{shown!r}: scheme {scheme!r} is none of {', '.join(SCHEMES)}")


def endpoint_url(text: str) -> str:
    """Check an endpoint, `http://HOST[:PORT]` or `https://HOST[:PORT]`, and remove a trailing slash.

    Raises:
        ValueError: The text has another form.
    """
    shown = without_secrets(text)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(f"{shown!r} is not a URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or re.search(r"[^!-~]", text):
        raise ValueError(f"{shown!r} is not http://HOST[:PORT] or https://HOST[:PORT]")
    if parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError(f"{shown!r} says more than a host and a port; give {parts.scheme}://HOST:PORT")
    return f"{parts.scheme}://{parts.netloc}"


@dataclass(frozen=True, slots=True)
class ListedObject:
    """One object of a listing; `etag` is unquoted, and None if the store has none.

    `size` (bytes) is None for an object from a list of URLs: the first response gives it.
    """

    ref: ObjectRef
    size: int | None
    etag: str | None = None

    def __reduce__(self) -> tuple[type["ListedObject"], tuple[ObjectRef, int | None, str | None]]:
        # Pickled as arguments, as `ObjectRef` is.
        return ListedObject, (self.ref, self.size, self.etag)


def file_etag(status: os.stat_result) -> str:
    """The ETag of a local file, which changes when the file is written or replaced."""
    return f"{status.st_mtime_ns:x}-{status.st_size:x}-{status.st_ino:x}"


class RangeResponse(NamedTuple):
    """The bytes of one range request, and the size and ETag of the object.

    `data` starts at the requested byte and has the requested length, or ends at the object's end.
    `size` is the whole object's, in bytes; `etag` is unquoted (a weak one keeps its `W/`), and None if
    the store has none. `requests` includes retries and redirects; `discarded` is the number of bytes
    that were read and are not in `data`.
    """

    data: bytes
    size: int
    etag: str | None
    requests: int = 1
    discarded: int = 0

    @property
    def bytes_fetched(self) -> int:
        """The bytes of all bodies that were read for this response."""
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
    """One series to harvest, with the catalog's values.

    `prefixes` are the URL prefixes of its objects, one per provider's copy, in the order in which they
    are tried. If the catalog names the objects, `objects` has them and no listing is needed.
    `instance_count` and `size` (bytes) are the catalog's, None if it has no value.
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
    def locations(self) -> tuple[ObjectRef, ...]:
        """The prefixes, and the objects that the catalog names."""
        return (*self.prefixes, *(listed.ref for listed in self.objects))

    @property
    def outline(self) -> SeriesOutline:
        """The series without its location; the count is that of `objects` if the catalog has none."""
        count = self.instance_count
        count = len(self.objects) or None if count is None else count
        return SeriesOutline(self.key, self.collection_id, self.modality, count, self.size)


@dataclass(frozen=True, slots=True)
class Shard:
    """The unit of work and of commit: series for one worker, with a name derived from their keys."""

    name: str
    series: tuple[Series, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """The shards of a crawl: the same selection gives the same name and the same shards.

    `shards` can be iterated several times, but may be stored on disk: all of IDC is a million series.
    """

    name: str
    shards: Collection[Shard]


@dataclass(frozen=True, slots=True)
class Failure:
    """An object without a row in `instances`, or a series that could not be listed, and the reason."""

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
    """Numbers of series, instances and bytes.

    `uncounted` is the number of series without an instance count; if it is not 0, `instances` is a minimum.
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
    """Totals of a selection by collection and modality (None if the catalog has no value)."""

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
        """Count series one by one, for a catalog without a table."""
        groups: dict[tuple[str | None, str | None], SeriesTotals] = {}
        for one in series:
            names = (one.collection_id, one.modality)
            count = one.instance_count
            tally = SeriesTotals(1, count or 0, one.size or 0, uncounted=int(count is None))
            groups[names] = groups.get(names, SeriesTotals()) + tally
        return cls(groups)
