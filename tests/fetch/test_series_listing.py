"""A series' objects by listings: an error is not an empty series, and a short listing is reported."""

from collections.abc import AsyncIterator, Mapping

import anyio
from memory_store import MemoryStore

from harvester.errors import ListingError
from harvester.fetch.series_listing import ListedSeries, list_series, surplus
from harvester.model import ListedObject, ObjectRef, Series

AWS = ObjectRef("aws", "series/", "s3")
GCS = ObjectRef("gcs", "series/", "gs")


class ListedStore(MemoryStore):
    """A memory store some of whose buckets cannot be listed, or are listed wrongly."""

    def __init__(self, objects: Mapping[str, int], broken: frozenset[str] = frozenset()) -> None:
        keys = [f"{place}{n}.dcm" for place, count in objects.items() for n in range(count)]
        super().__init__(dict.fromkeys(keys, b"x"))
        self.broken = broken
        self.listed: list[ObjectRef] = []

    async def list_objects(self, prefix: ObjectRef) -> AsyncIterator[ListedObject]:
        self.listed.append(prefix)
        async for one in super().list_objects(prefix):
            yield one
        if prefix.bucket in self.broken:  # after its first objects: nothing of it may be taken
            error = ListingError(
                "the listing failed: the server responded with 500", url=prefix.url, status=500
            )
            error.attempts = error.requests = 3
            raise error


def expanded(store: ListedStore, count: int | None, *prefixes: ObjectRef) -> ListedSeries:
    return anyio.run(list_series, Series("key", prefixes or (AWS, GCS), instance_count=count), store)


def names(found: ListedSeries) -> list[str]:
    return [listed.ref.url for listed in found.objects]


def test_a_listing_that_agrees_with_the_catalog_is_taken_from_the_first_copy() -> None:
    store = ListedStore({"s3://aws/series/": 2, "gs://gcs/series/": 2})
    found = expanded(store, 2)
    assert names(found) == ["s3://aws/series/0.dcm", "s3://aws/series/1.dcm"]
    assert found.failure is None
    assert surplus(found) == 0
    assert store.listed == [AWS]
    assert found.requests == 1


def test_fewer_objects_than_the_catalog_counts_are_a_failure_and_are_harvested() -> None:
    found = expanded(ListedStore({"s3://aws/series/": 2, "gs://gcs/series/": 1}), 3)
    assert names(found) == ["s3://aws/series/0.dcm", "s3://aws/series/1.dcm"]
    assert found.failure is not None
    assert found.failure.reason == "incomplete_series"
    assert found.failure.message == "2 objects are there, the catalog counts 3"
    assert found.failure.url == AWS.url
    assert found.requests == 2


def test_where_the_first_copy_lacks_objects_the_next_one_is_listed() -> None:
    found = expanded(ListedStore({"s3://aws/series/": 1, "gs://gcs/series/": 3}), 3)
    assert found.failure is None
    assert [listed.ref.scheme for listed in found.objects] == ["gs"] * 3


def test_more_objects_than_the_catalog_counts_are_no_failure() -> None:
    found = expanded(ListedStore({"s3://aws/series/": 5}), 3)
    assert found.failure is None
    assert len(found.objects) == 5
    assert surplus(found) == 2


def test_an_empty_series_is_a_failure_even_where_nothing_is_counted() -> None:
    for count, message in ((None, "there are no objects"), (4, "0 objects are there, the catalog counts 4")):
        found = expanded(ListedStore({}), count)
        assert found.objects == ()
        assert found.failure is not None
        assert (found.failure.reason, found.failure.message) == ("incomplete_series", message)


def test_an_error_is_no_empty_series() -> None:
    store = ListedStore({"s3://aws/series/": 2}, frozenset({"aws", "gcs"}))
    found = expanded(store, None)
    assert found.objects == ()
    assert found.failure is not None
    assert found.failure.reason == "listing"
    assert found.failure.status == 500
    assert found.failure.attempts == 3
    assert found.failure.url == AWS.url
    assert "500" in found.failure.message
    assert found.requests == 6


def test_the_next_copy_is_listed_where_the_first_cannot_be() -> None:
    store = ListedStore({"s3://aws/series/": 1, "gs://gcs/series/": 2}, frozenset({"aws"}))
    found = expanded(store, 2)
    assert names(found) == ["gs://gcs/series/0.dcm", "gs://gcs/series/1.dcm"]
    assert found.failure is None
    assert store.listed == [AWS, GCS]


def test_a_copy_that_cannot_be_listed_does_not_make_the_short_one_whole() -> None:
    found = expanded(ListedStore({"s3://aws/series/": 1}, frozenset({"gcs"})), 2)
    assert len(found.objects) == 1
    assert found.failure is not None
    assert found.failure.reason == "incomplete_series"


def test_a_listing_that_names_an_object_twice_is_not_trusted() -> None:
    class RepeatingStore(ListedStore):
        async def list_objects(self, prefix: ObjectRef) -> AsyncIterator[ListedObject]:
            for _ in range(2):
                async for one in super().list_objects(prefix):
                    yield one

    found = expanded(RepeatingStore({"s3://aws/series/": 2}), 2, AWS)
    assert found.objects == ()
    assert found.failure is not None
    assert found.failure.reason == "listing"
    assert "twice" in found.failure.message


def test_a_series_without_a_place_says_so() -> None:
    found = anyio.run(list_series, Series("key"), ListedStore({}))
    assert found.failure is not None
    assert found.failure.message == "the catalog gives no location for it"


def test_objects_that_the_catalog_names_are_not_listed() -> None:
    store = ListedStore({})
    objects = tuple(ListedObject(ObjectRef.parse(f"s3://aws/series/{n}"), 1) for n in range(2))
    found = anyio.run(list_series, Series("key", (AWS, GCS), objects, instance_count=2), store)
    assert (found.objects, found.failure, found.requests, store.listed) == (objects, None, 0, [])


def test_an_objects_copies_are_the_listed_one_and_then_the_other_providers() -> None:
    found = expanded(ListedStore({"gs://gcs/series/": 1}, frozenset({"aws"})), 1)
    copies = found.copies(found.objects[0])
    assert [ref.url for ref in copies] == ["gs://gcs/series/0.dcm", "s3://aws/series/0.dcm"]


def test_every_page_of_a_listing_counts_as_a_request() -> None:
    assert expanded(ListedStore({"s3://aws/series/": 2001}), 2001).requests == 3
