"""Where a selection covers much of a bucket, the bucket is listed: fewer requests, the same objects."""

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from memory_store import MemoryStore

from harvester.catalog import open_catalog
from harvester.config import CrawlConfig
from harvester.engine.bucket_listing import BucketListing, FoundObjects, Piece, choose_buckets, list_buckets
from harvester.errors import ListingError
from harvester.model import ListedObject, ObjectRef, Series

BUCKET = ("s3", "b")
HEX = "0123456789abcdef"


def folder(number: int) -> str:
    """A series' folder; folders are spread evenly over the hexadecimal digits."""
    return f"{number % 16:x}{number // 16 % 16:x}{number:030x}/"


def series(number: int, count: int | None = 2, bucket: str = "b") -> Series:
    return Series(str(number), (ObjectRef(bucket, folder(number)),), instance_count=count)


class ListedStore(MemoryStore):
    """A memory store that records its listings, and fails at `broken`."""

    def __init__(self, numbers: range, broken: str | None = None) -> None:
        super().__init__({f"s3://b/{folder(number)}{n}.dcm": b"xy" for number in numbers for n in range(2)})
        self.listed: list[str] = []
        self.broken = broken

    async def list_objects(self, prefix: ObjectRef) -> AsyncIterator[ListedObject]:
        self.listed.append(prefix.key)
        async for one in super().list_objects(prefix):
            yield one
        if prefix.key == self.broken:
            raise ListingError("the listing failed", url=prefix.url)


def listed(listings: list[BucketListing], store: ListedStore) -> FoundObjects:
    found = FoundObjects()

    async def run() -> None:
        await list_buckets(listings, store, found, concurrency=4)

    anyio.run(run)
    return found


def piece(selected: list[Series]) -> Piece:
    return Piece(len(selected), sum(one.instance_count or 0 for one in selected))


def test_a_selection_of_a_whole_bucket_is_listed_whole() -> None:
    everything = [series(number) for number in range(300)]
    store = ListedStore(range(300))
    found = listed(choose_buckets(everything, {BUCKET: 600}), store)
    assert store.listed == [""]
    assert found.requests == 1
    for one in everything:
        filled = found.fill(one)
        assert [held.ref.key for held in filled.objects] == [
            f"{one.prefixes[0].key}{n}.dcm" for n in range(2)
        ]
        assert [held.size for held in filled.objects] == [2, 2]


def test_a_large_bucket_is_listed_in_pieces_by_hexadecimal_digits() -> None:
    selected = [series(number, 100) for number in range(400)]
    (listing,) = choose_buckets(selected, {BUCKET: 40_000})
    assert sorted(listing.pieces) == sorted(HEX)
    selected = [series(number, 1000) for number in range(2000)]
    (listing,) = choose_buckets(selected, {BUCKET: 300_000})
    assert len(listing.pieces) == 256
    assert sum(held.series for held in listing.pieces.values()) == 2000
    assert listing.pieces["00"].instances == 1000 * sum(folder(n).startswith("00") for n in range(2000))


def test_only_the_pieces_that_hold_selected_series_are_listed() -> None:
    selected = [series(16 * number, 100) for number in range(200)]  # all of them begin with 0
    (listing,) = choose_buckets(selected, {BUCKET: 20_000})
    assert list(listing.pieces) == ["0"]


@pytest.mark.parametrize(
    ("selected", "total"),
    [
        ([series(number) for number in range(3)], 100_000),
        ([series(number, 1000) for number in range(100)], 5_000_000),
        ([series(1)], 2),  # one request either way
        ([series(number) for number in range(300)], 100_000),  # reading 99,400 entries in vain costs more
    ],
    ids=["few series", "series of many objects", "one series", "a small part of the bucket"],
)
def test_a_selection_that_covers_little_of_a_bucket_is_listed_by_series(
    selected: list[Series], total: int
) -> None:
    assert choose_buckets(selected, {BUCKET: total}) == []


def test_buckets_of_which_nothing_is_known_are_listed_by_series() -> None:
    assert choose_buckets([series(number) for number in range(300)], {}) == []
    assert choose_buckets([series(number) for number in range(300)], {("gs", "b"): 600}) == []


def test_series_that_need_no_listing_or_have_other_names_are_left_alone() -> None:
    objects = (ListedObject(ObjectRef("b", folder(1) + "1.dcm"), 1),)
    known = [Series(f"known{n}", (ObjectRef("b", folder(n)),), objects) for n in range(300)]
    assert choose_buckets(known, {BUCKET: 600}) == []
    named = [Series(f"named{n}", (ObjectRef("b", f"patient{n}/"),), instance_count=100) for n in range(400)]
    assert choose_buckets(named, {BUCKET: 40_000}) == []
    half = [Series(f"half{n}", (ObjectRef("b", f"00{n}"),), instance_count=2) for n in range(300)]
    assert choose_buckets(half, {BUCKET: 600}) == []


def test_a_piece_that_fails_is_left_to_a_listing_of_each_series() -> None:
    store = ListedStore(range(32), broken="3")
    selected = {digit: [series(n) for n in range(32) if folder(n)[0] == digit] for digit in "34"}
    pieces = {digit: piece(here) for digit, here in selected.items()}
    found = listed([BucketListing(ObjectRef("b", ""), pieces, 1000)], store)
    assert sorted(store.listed) == ["3", "4"]
    assert [found.fill(one).objects for one in selected["3"]] == [(), ()]
    assert [len(found.fill(one).objects) for one in selected["4"]] == [2, 2]


def test_a_bucket_that_holds_far_more_than_expected_is_given_up() -> None:
    store = ListedStore(range(5000))
    found = listed([BucketListing(ObjectRef("b", ""), {"": piece([series(0), series(1)])}, 2500)], store)
    assert found.requests == 3
    assert found.fill(series(0)).objects == ()


def test_a_series_that_lacks_objects_is_left_to_a_listing_of_its_own() -> None:
    selected = [series(1, 3), series(9, None)]
    found = listed([BucketListing(ObjectRef("b", ""), {"": piece(selected)}, 99)], ListedStore(range(3)))
    assert found.fill(series(1, 3)).objects == ()
    assert found.fill(series(9, None)).objects == ()


def test_keys_of_any_form_come_back_as_they_are() -> None:
    store = ListedStore(range(1))
    odd = ["Grüße/日本\n.dcm", "a", "b" * 900, "00/0/1"]
    for name in odd:
        store.put(f"s3://b/{folder(0)}{name}", b"123")
    found = listed([BucketListing(ObjectRef("b", ""), {"": piece([series(0)])}, 99)], store)
    keys = {held.ref.key for held in found.fill(series(0)).objects}
    assert keys == {folder(0) + name for name in (*odd, "0.dcm", "1.dcm")}


def test_folders_whose_names_begin_alike_are_kept_apart() -> None:
    store = ListedStore(range(0))
    for key in ("a/1.dcm", "a/b/2.dcm", "a0/3.dcm", "a-/4.dcm", "aa/5.dcm"):
        store.put(f"s3://b/{key}", b"x")
    found = listed([BucketListing(ObjectRef("b", ""), {"": Piece(1, 2)}, 99)], store)
    filled = found.fill(Series("s", (ObjectRef("b", "a/"),), instance_count=2))
    assert [one.ref.key for one in filled.objects] == ["a/1.dcm", "a/b/2.dcm"]


def test_what_was_found_of_a_bucket_lies_on_a_disk_and_leaves_no_file(tmp_path: Path) -> None:
    found = FoundObjects(tmp_path / "spill")
    bucket = ObjectRef("b", "")
    page = [ListedObject(ObjectRef("b", f"{folder(1)}{number}.dcm"), number) for number in range(1000)]
    found.add(bucket, page[:600])
    found.add(bucket, page[600:])
    assert found.fill(series(1, 1000)).objects == ()  # the piece is not listed to its end yet
    found.complete(bucket, "")
    assert {one.size for one in found.fill(series(1, 1000)).objects} == set(range(1000))
    assert list((tmp_path / "spill").iterdir()) == []
    found.close()
    assert found.fill(series(1, 1000)).objects == ()


def test_a_catalog_knows_how_much_lies_in_each_bucket_and_its_copies(tmp_path: Path) -> None:
    uuid, other = "0" * 8 + "-0000-0000-0000-" + "0" * 12, "1" * 8 + "-0000-0000-0000-" + "0" * 12
    table = pa.table(
        {
            "series_aws_url": [
                f"s3://idc-open-data-two/{uuid}/*",
                f"s3://idc-open-data-two/{other}/*",
                "s3://own/x/*",
            ],
            "crdc_series_uuid": [uuid, other, "x"],
            "Modality": ["CT", "MR", "MR"],
            "instanceCount": [30, None, 4],
        }
    )
    pq.write_table(table, tmp_path / "catalog.parquet")
    source = {"catalog": str(tmp_path / "catalog.parquet"), "provider": ["aws", "gcs"]}
    config = {"dataset": "d", "source": source, "select": {"Modality": "MR"}}
    with open_catalog(CrawlConfig.model_validate(config)) as catalog:
        assert catalog.bucket_totals() == {
            ("s3", "idc-open-data-two"): 60,  # one of them is not counted: the mean
            ("gs", "idc-open-idc1"): 60,
            ("s3", "own"): 4,
        }
