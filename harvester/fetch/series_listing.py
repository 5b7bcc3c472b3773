"""From series to their objects, by listings that are held against the catalog's counts."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import ceil

from harvester.errors import ListingError, StoreError
from harvester.model import Failure, ListedObject, ObjectRef, Series
from harvester.store.base import Store
from harvester.store.http.urls import PAGE_KEYS


@dataclass(frozen=True, slots=True)
class ExpandedSeries:
    """A series, its objects, and what is wrong with the listing, if anything is.

    `requests` is how many pages were asked for, as the number of objects tells: a store does not say how
    often it had to repeat one.
    """

    series: Series
    objects: tuple[ListedObject, ...]
    failure: Failure | None = None
    requests: int = 0

    def copies(self, listed: ListedObject) -> tuple[ObjectRef, ...]:
        """The places where one of the objects lies: the listed one, then the other providers'."""
        ref = listed.ref
        others = [prefix for prefix in self.series.prefixes if not _is_under(ref, prefix)]
        return (ref, *(replace(ref, bucket=other.bucket, scheme=other.scheme) for other in others))


def _is_under(ref: ObjectRef, prefix: ObjectRef) -> bool:
    return (ref.scheme, ref.bucket) == (prefix.scheme, prefix.bucket)


async def expand(series: Series, store: Store) -> ExpandedSeries:
    """Find a series' objects: those that the catalog names, else by listing its prefixes in order.

    The first listing that has all that the catalog counts is taken, else the longest. An error is not
    an empty series: where no prefix can be listed, or where fewer objects are there than the catalog
    counts, the answer carries a failure for the series.
    """
    if series.objects:
        return _held_against_catalog(series, series.objects, series.objects[0].ref.url)
    error: StoreError | None = None
    found: ExpandedSeries | None = None
    requests = 0
    for prefix in series.prefixes:
        try:
            listed = _each_once([one async for one in store.list_objects(prefix)], prefix)
        except StoreError as failed:
            error = error or failed
            requests += failed.requests
            continue
        requests += pages(len(listed))
        here = _held_against_catalog(series, listed, prefix.url)
        if found is None or len(here.objects) > len(found.objects):
            found = here
        if here.failure is None:
            break
    if found is None:
        found = ExpandedSeries(series, (), _unlisted(series, error))
    return replace(found, requests=requests)


def pages(objects: int) -> int:
    """How many requests a listing of so many objects takes; an empty one takes one, too."""
    return max(1, ceil(objects / PAGE_KEYS))


def surplus(expanded: ExpandedSeries) -> int:
    """How many more objects are there than the catalog counts."""
    expected = expanded.series.instance_count
    return 0 if expected is None else max(0, len(expanded.objects) - expected)


def _each_once(listed: Iterable[ListedObject], prefix: ObjectRef) -> tuple[ListedObject, ...]:
    by_key: dict[str, ListedObject] = {}
    for one in listed:
        if by_key.setdefault(one.ref.key, one) is not one:
            raise ListingError(f"the listing names {one.ref.key[:200]!r} twice", url=prefix.url)
    return tuple(by_key.values())


def _held_against_catalog(series: Series, listed: tuple[ListedObject, ...], url: str) -> ExpandedSeries:
    expected = series.instance_count
    if expected is not None and len(listed) < expected:
        message = f"{len(listed)} objects are there, the catalog counts {expected}"
        return ExpandedSeries(series, listed, _incomplete(series, url, message))
    if not listed:
        return ExpandedSeries(series, listed, _incomplete(series, url, "there are no objects"))
    return ExpandedSeries(series, listed)


def _incomplete(series: Series, url: str, message: str) -> Failure:
    return Failure(url=url, reason="incomplete_series", message=message, series=series)


def _unlisted(series: Series, error: StoreError | None) -> Failure:
    if error is None:
        return _incomplete(series, series.key, "the catalog names no place for it")
    return Failure(
        url=error.url or series.prefixes[0].url,
        reason="listing",
        message=error.message,
        status=error.status,
        attempts=error.attempts,
        series=series,
    )
