"""From series to their objects, by listings that are held against the catalog's counts."""

from dataclasses import dataclass, replace

from harvester.errors import StoreError
from harvester.model import Failure, ListedObject, ObjectRef, Series
from harvester.store.base import Store


@dataclass(frozen=True, slots=True)
class ExpandedSeries:
    """A series, its objects, and what is wrong with the listing, if anything is."""

    series: Series
    objects: tuple[ListedObject, ...]
    failure: Failure | None = None

    def copies(self, listed: ListedObject) -> tuple[ObjectRef, ...]:
        """The places where one of the objects lies: the listed one, then the other providers'."""
        ref = listed.ref
        others = [prefix for prefix in self.series.prefixes if not _is_under(ref, prefix)]
        return (ref, *(replace(ref, bucket=other.bucket, scheme=other.scheme) for other in others))


def _is_under(ref: ObjectRef, prefix: ObjectRef) -> bool:
    return (ref.scheme, ref.bucket) == (prefix.scheme, prefix.bucket)


async def expand(series: Series, store: Store) -> ExpandedSeries:
    """Find a series' objects: those that the catalog names, else by listing its prefixes in order.

    An error is not an empty series: where no prefix can be listed, or where fewer objects are there
    than the catalog counts, the answer carries a failure for the series.
    """
    if series.objects:
        return _held_against_catalog(series, series.objects, series.objects[0].ref.url)
    error: StoreError | None = None
    for prefix in series.prefixes:
        try:
            listed = tuple([one async for one in store.list_objects(prefix)])
        except StoreError as failed:
            error = failed
            continue
        return _held_against_catalog(series, listed, prefix.url)
    if error is None:
        return ExpandedSeries(series, (), _failure(series, series.key, "the catalog names no place for it"))
    failure = Failure(
        url=error.url or series.prefixes[0].url,
        reason="listing",
        message=error.message,
        status=error.status,
        attempts=error.attempts,
        series=series,
    )
    return ExpandedSeries(series, (), failure)


def _held_against_catalog(series: Series, listed: tuple[ListedObject, ...], url: str) -> ExpandedSeries:
    expected = series.instance_count
    if expected is not None and len(listed) < expected:
        message = f"{len(listed)} objects are there, the catalog counts {expected}"
        return ExpandedSeries(series, listed, _failure(series, url, message))
    if not listed:
        return ExpandedSeries(series, listed, _failure(series, url, "there are no objects"))
    return ExpandedSeries(series, listed)


def _failure(series: Series, url: str, message: str) -> Failure:
    return Failure(url=url, reason="incomplete_series", message=message, series=series)


def surplus(expanded: ExpandedSeries) -> int:
    """How many more objects are there than the catalog counts."""
    expected = expanded.series.instance_count
    return 0 if expected is None else max(0, len(expanded.objects) - expected)
