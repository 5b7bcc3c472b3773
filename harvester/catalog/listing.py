"""The catalog of listed URLs (`select.urls`) and prefixes (`select.prefixes`)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Self

from harvester.catalog.base import Catalog
from harvester.catalog.clouds import is_idc_bucket, parse_prefix, series_uuid
from harvester.catalog.grouping import OBJECTS_PER_SERIES, series_key, series_of
from harvester.catalog.textfile import lines
from harvester.config import CrawlConfig, SelectConfig
from harvester.errors import ConfigError, SelectionError
from harvester.model import ListedObject, ObjectRef, Series, SeriesTotals, Summary


@dataclass(frozen=True, slots=True)
class _Listed:
    """Listed objects of one folder, in a tenth of the memory of a `Series`."""

    key: str
    folder: str
    names: str
    count: int

    @classmethod
    def of(cls, folder: str, names: Sequence[str], addresses: Mapping[str, str]) -> Self:
        key = series_key(folder, ((folder + name, None, None) for name in names))
        return cls(key, folder, "\n".join(addresses[name] for name in names), len(names))

    def series(self) -> Series:
        names = self.names.split("\n")
        scheme, _, rest = self.folder.partition("://")
        if scheme == "file":
            refs = [ObjectRef.parse(self.folder + name) for name in names]
        else:
            bucket, _, path = rest.partition("/")
            refs = [ObjectRef(bucket, path + name, scheme) for name in names]
        return series_of(self.folder, [ListedObject(ref, size=None) for ref in refs], self.key)


class ListingCatalog(Catalog):
    """Series of listed URLs: a prefix is one series, single objects are grouped by folder.

    An object is read from its own URL, not from another provider.
    """

    def __init__(self, prefixes: Sequence[Series], listed: Sequence[_Listed], name: str) -> None:
        self._prefixes = prefixes
        self._listed = listed
        self._name = name

    @classmethod
    def open(cls, config: CrawlConfig) -> "ListingCatalog":
        """Read the lists of `[select]`.

        Raises:
            ConfigError: A list cannot be read, or a URL is invalid; the message has file and line.
            SelectionError: The lists are empty.
        """
        select = config.select
        prefixes = tuple(_of_prefixes(config.name, select))
        listed = tuple(_of_urls(select, tuple(prefix.key for prefix in prefixes)))
        if not prefixes and not listed:
            raise SelectionError(f"{config.name}: select.urls: {select.urls} names no object")
        return cls(prefixes, listed, select.urls or "prefixes")

    @property
    def name(self) -> str:
        """The list's file, or "prefixes"."""
        return self._name

    @property
    def is_ordered(self) -> bool:
        """True: they are sorted by key, and have neither collection nor modality."""
        return True

    def summary(self) -> Summary:
        """Counts of the series; the objects below a prefix are unknown before it is listed."""
        objects = SeriesTotals(len(self._listed), sum(one.count for one in self._listed))
        return Summary({(None, None): Summary.of(self._prefixes).total + objects})

    def series(self, limit: int | None = None) -> Iterator[Series]:
        """Prefixes and folders by key; with `limit`, the first ones are prefixes."""
        every: Iterator[Series | _Listed] = chain(self._prefixes, self._listed)
        chosen = sorted(islice(every, limit), key=lambda one: one.key)
        return (one if isinstance(one, Series) else one.series() for one in chosen)


def _of_prefixes(name: str, select: SelectConfig) -> Iterator[Series]:
    prefixes: set[ObjectRef] = set()
    for address in select.prefixes:
        try:
            prefixes.add(parse_prefix(address))
        except ConfigError as error:
            raise ConfigError(f"{name}: select.prefixes: {error}") from None
    ordered = sorted(prefixes, key=lambda prefix: prefix.url)
    for before, after in pairwise(ordered):
        if after.url.startswith(before.url):
            raise ConfigError(f"{name}: select.prefixes: {after.url} is below {before.url}; keep one of them")
    for prefix in ordered:
        uuid = series_uuid(prefix.key) if is_idc_bucket(prefix.bucket) else None
        yield Series(key=prefix.url, prefixes=(prefix,), crdc_series_uuid=uuid)


def _of_urls(select: SelectConfig, prefixes: tuple[str, ...]) -> Iterator[_Listed]:
    if select.urls is None:
        return
    path = Path(select.urls)
    beside = path.parent
    folders: dict[str, dict[str, str]] = {}
    for number, text in lines(path):
        try:
            ref = _object(text, beside)
        except ConfigError as error:
            raise ConfigError(f"{path}:{number}: {error}") from None
        public = ref.public
        url = public.url
        if not url.startswith(prefixes):
            folder, slash, name = url.rpartition("/")
            # A signed URL has its signature behind the name.
            address = name if public is ref else ref.address.removeprefix(folder + slash)
            folders.setdefault(folder + slash, {})[name] = address
    for folder in sorted(folders):
        addresses = folders.pop(folder)
        names = sorted(addresses)
        for start in range(0, len(names), OBJECTS_PER_SERIES):
            yield _Listed.of(folder, names[start : start + OBJECTS_PER_SERIES], addresses)


def _object(text: str, folder: Path) -> ObjectRef:
    """The object of one line; a relative path is relative to the list's folder, else to the current one."""
    if "\0" in text:
        raise ConfigError("a URL cannot contain a NUL character")
    if "://" not in text:
        beside = folder / text
        return ObjectRef("", str(beside if beside.exists() else Path.cwd() / text), "file")
    ref = ObjectRef.parse(text)
    if ref.scheme in ("s3", "gs"):
        ref = replace(parse_prefix(f"{ref.scheme}://{ref.bucket}/"), key=ref.key)  # checks the bucket name
    if "@" in ref.bucket:
        raise ConfigError(f"{ref.url!r}: a URL cannot hold a user and a password")
    if ref.key.endswith(("/", "*")):
        way_out = (
            "put it in select.prefixes" if ref.scheme in ("s3", "gs") else "list the URLs of its objects"
        )
        raise ConfigError(f"{ref.url!r} names a folder, not an object; {way_out}")
    return ref
