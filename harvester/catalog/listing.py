"""Addresses that a user lists: objects (`select.urls`), or prefixes to list (`select.prefixes`)."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path

from harvester.catalog.base import Catalog
from harvester.catalog.clouds import is_idc_bucket, parse_prefix, series_uuid
from harvester.catalog.grouping import by_folder
from harvester.catalog.textfile import lines
from harvester.config import CrawlConfig, SelectConfig
from harvester.errors import ConfigError, SelectionError
from harvester.model import ListedObject, ObjectRef, Series, Summary


class ListingCatalog(Catalog):
    """Series made of listed addresses: a prefix is one series, objects go by folder.

    An address is read where it says, from no other provider.
    """

    def __init__(self, series: tuple[Series, ...], name: str) -> None:
        self._series = series
        self._name = name

    @classmethod
    def open(cls, config: CrawlConfig) -> "ListingCatalog":
        """Read the lists that `[select]` names.

        Raises:
            ConfigError: A list cannot be read, or an address in it is none; says the file and line.
            SelectionError: The lists are empty.
        """
        select = config.select
        prefixes = list(_of_prefixes(config.name, select))
        series = [*prefixes, *_of_urls(select, tuple(prefix.key for prefix in prefixes))]
        if not series:
            raise SelectionError(f"{config.name}: select.urls: {select.urls} names no object")
        return cls(tuple(series), select.urls or "prefixes")

    @property
    def name(self) -> str:
        """The list's file, or "prefixes"."""
        return self._name

    def summary(self) -> Summary:
        """Count the series; how much lies under a prefix is not known before it is listed."""
        return Summary.of(self._series)

    def series(self, limit: int | None = None) -> Iterator[Series]:
        """Prefixes first, then folders of objects, both by address."""
        return islice(self._series, limit)


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
            raise ConfigError(
                f"{name}: select.prefixes: {after.url} lies under {before.url}; keep one of them"
            )
    for prefix in ordered:
        uuid = series_uuid(prefix.key) if is_idc_bucket(prefix.bucket) else None
        yield Series(key=prefix.url, prefixes=(prefix,), crdc_series_uuid=uuid)


def _of_urls(select: SelectConfig, listed_anyway: tuple[str, ...]) -> Iterator[Series]:
    if select.urls is None:
        return
    path = Path(select.urls)
    objects: dict[str, ListedObject] = {}
    for number, text in lines(path):
        try:
            listed = ListedObject(_object(text, path.parent), size=None)
        except ConfigError as error:
            raise ConfigError(f"{path}:{number}: {error}") from None
        if not listed.ref.url.startswith(listed_anyway):
            objects[listed.ref.url] = listed
    yield from by_folder(objects.values())


def _object(text: str, folder: Path) -> ObjectRef:
    """One line of a URL list; a relative path is read from the list's folder, else from here."""
    if "\0" in text:
        raise ConfigError("an address cannot hold a NUL character")
    if "://" not in text:
        beside = folder / text
        return ObjectRef("", str(beside if beside.exists() else Path.cwd() / text), "file")
    ref = ObjectRef.parse(text)
    if ref.scheme in ("s3", "gs"):
        ref = replace(parse_prefix(f"{ref.scheme}://{ref.bucket}/"), key=ref.key)  # checks the bucket's name
    if ref.key.endswith(("/", "*")):
        raise ConfigError(f"{text!r} names a folder, not an object; put it in select.prefixes")
    return ref
