"""Lists the objects of series, and compares their number with the catalog's count."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import ceil

from harvester.errors import EndpointUnreachableError, ListingError, StoreError
from harvester.model import Failure, ListedObject, ObjectRef, Series
from harvester.store.base import Store
from harvester.store.http.urls import PAGE_KEYS


@dataclass(frozen=True, slots=True)
class ListedSeries:
    """A series and its objects.

    Attributes:
        series: The series.
        objects: Its objects.
        failure: Why the listing is incomplete, if it is.
        requests: Number of list requests, computed from the number of objects; retries do not count.
    """

    series: Series
    objects: tuple[ListedObject, ...]
    failure: Failure | None = None
    requests: int = 0

    def copies(self, listed: ListedObject) -> tuple[ObjectRef, ...]:
        """The copies of one of the objects: the listed one, then those of the other providers."""
        ref = listed.ref
        if not self.series.prefixes:
            return (ref,)
        others = [prefix for prefix in self.series.prefixes if not _is_under(ref, prefix)]
        return (ref, *[ObjectRef(other.bucket, ref.key, other.scheme) for other in others])


def _is_under(ref: ObjectRef, prefix: ObjectRef) -> bool:
    return (ref.scheme, ref.bucket) == (prefix.scheme, prefix.bucket)


async def list_series(series: Series, store: Store) -> ListedSeries:
    """Find a series' objects: those that the catalog names, else by listing its prefixes in order.

    The first listing with all objects that the catalog counts is taken, else the longest one. An error is
    not an empty series: if no prefix can be listed, or fewer objects are found than the catalog counts,
    the result has a failure for the series.

    Raises:
        EndpointUnreachableError: No endpoint can be reached.
    """
    if series.objects:
        return _compared_with_count(series, series.objects, series.objects[0].ref.url)
    error: StoreError | None = None
    failed_last: StoreError | None = None
    found: ListedSeries | None = None
    requests = 0
    for prefix in series.prefixes:
        try:
            listed = _each_once([one async for one in store.list_objects(prefix)], prefix)
        except StoreError as failed:
            error, failed_last = error or failed, failed
            requests += failed.requests
            continue
        requests += pages(len(listed))
        here = _compared_with_count(series, listed, prefix.url)
        if found is None or len(here.objects) > len(found.objects):
            found = here
        if here.failure is None:
            break
    if found is None:
        if isinstance(failed_last, EndpointUnreachableError):
            raise failed_last
        found = ListedSeries(series, (), _unlisted(series, error))
    return replace(found, requests=requests)


def pages(objects: int) -> int:
    """Number of requests to list `objects` objects; an empty listing takes one, too."""
    return max(1, ceil(objects / PAGE_KEYS))


def surplus(listed: ListedSeries) -> int:
    """How many more objects were found than the catalog counts."""
    expected = listed.series.instance_count
    return 0 if expected is None else max(0, len(listed.objects) - expected)


def _each_once(listed: Iterable[ListedObject], prefix: ObjectRef) -> tuple[ListedObject, ...]:
    by_key: dict[str, ListedObject] = {}
    for one in listed:
        if by_key.setdefault(one.ref.key, one) is not one:
            raise ListingError(f"the listing names {one.ref.key[:200]!r} twice", url=prefix.url)
    return tuple(by_key.values())


def _compared_with_count(series: Series, listed: tuple[ListedObject, ...], url: str) -> ListedSeries:
    expected = series.instance_count
    if expected is not None and len(listed) < expected:
        message = f"{len(listed)} objects are there, the catalog counts {expected}"
        return ListedSeries(series, listed, _incomplete(series, url, message))
    if not listed:
        return ListedSeries(series, listed, _incomplete(series, url, "there are no objects"))
    return ListedSeries(series, listed)


def _incomplete(series: Series, url: str, message: str) -> Failure:
    return Failure(url=url, reason="incomplete_series", message=message, series=series)


def _unlisted(series: Series, error: StoreError | None) -> Failure:
    if error is None:
        return _incomplete(series, series.key, "the catalog gives no location for it")
    return Failure(
        url=error.url or series.prefixes[0].url,
        reason="listing",
        message=error.message,
        status=error.status,
        attempts=error.attempts,
        series=series,
    )
