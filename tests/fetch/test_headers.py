"""Headers are read from a store that counts: which bytes are asked for, how often, and what may go wrong."""

import struct
from collections import Counter
from collections.abc import Sequence

import anyio
import pytest
from made_part10 import ITEM, SEQUENCE_END, UNDEFINED, element, part10
from memory_store import MemoryStore

from harvester.dicom.header_limits import MAX_HEADER_BYTES
from harvester.errors import (
    AccessDeniedError,
    HarvestError,
    HeaderLimitError,
    NotDicomError,
    NotFoundError,
    ObjectChangedError,
    StoreError,
    TruncatedError,
)
from harvester.fetch.headers import FetchedHeader, HeaderFetcher, Windows
from harvester.model import ByteRange, ObjectRef, RangeResponse
from harvester.store.cost import RequestCost
from harvester.store.replicas import CopyReader, ReplicaOrder
from harvester.store.resilience.endpoints import Endpoints

URL = "s3://bucket/series/instance.dcm"
KiB = 1024
SMALL = Windows(first_bytes=1 * KiB, read_ahead_bytes=2 * KiB)


def pixel_data(size: int) -> bytes:
    return element(0x7FE00010, "OW", bytes(size))


def with_text(length: int, *more: bytes) -> bytes:
    """An object with so much text in front of what follows, in values of at most 32 KiB."""
    uid = element(0x00080018, "UI", b"1.2.3\0")
    values = [
        element(0x00091000 + number, "LT", b"x" * min(32 * KiB, length - start))
        for number, start in enumerate(range(0, length, 32 * KiB))
    ]
    return part10(uid, element(0x00090010, "LO", b"TEST"), *values, *more)


def fetch(
    store: MemoryStore,
    *urls: str,
    windows: Windows | None = None,
    max_header_bytes: int = MAX_HEADER_BYTES,
    cost: RequestCost | None = None,
) -> FetchedHeader:
    fetcher = HeaderFetcher(store, windows or Windows(), max_header_bytes)
    copies: Sequence[ObjectRef] = [ObjectRef.parse(url) for url in urls or (URL,)]
    return anyio.run(fetcher.fetch, copies, RequestCost() if cost is None else cost)


def ranges(store: MemoryStore) -> list[tuple[int, int]]:
    return [(wanted.start, wanted.stop) for _, wanted in store.ranges]


def test_a_small_header_takes_one_request() -> None:
    store = MemoryStore({URL: with_text(100, pixel_data(1 << 20))})
    cost = RequestCost()
    fetched = fetch(store, cost=cost)
    assert ranges(store) == [(0, 16 * KiB)]
    assert (cost.requests, cost.bytes_fetched) == (1, 16 * KiB)
    assert fetched.ref == ObjectRef.parse(URL)
    assert fetched.header.pixel_data_length == 1 << 20
    assert fetched.size == len(with_text(100, pixel_data(1 << 20)))
    assert fetched.etag is not None


def test_each_further_window_doubles_up_to_a_mebibyte() -> None:
    store = MemoryStore({URL: with_text(3 << 20, pixel_data(8 << 20))})
    fetch(store)
    lengths = [stop - start for start, stop in ranges(store)]
    assert lengths == [n * KiB for n in (16, 64, 128, 256, 512, 1024, 1024, 1024)]


def test_windows_follow_each_other_and_none_passes_the_object() -> None:
    raw = with_text(40 * KiB)
    store = MemoryStore({URL: raw})
    fetched = fetch(store, windows=SMALL)
    asked = ranges(store)
    assert [start for start, _ in asked[1:]] == [stop for _, stop in asked[:-1]]
    assert asked[-1][1] == len(raw) == store.bytes_fetched == fetched.header.header_bytes


def test_what_is_read_ahead_is_bounded_by_the_last_window() -> None:
    for length in range(100, 40 * KiB, 1111):
        store = MemoryStore({URL: with_text(length, pixel_data(1 << 20))})
        header = fetch(store, windows=SMALL).header
        last_start, last_stop = ranges(store)[-1]
        assert last_start < header.header_bytes + 12
        assert store.bytes_fetched <= header.header_bytes + 12 + (last_stop - last_start)
        assert store.bytes_fetched <= max(1 * KiB, 2 * header.header_bytes + 2 * KiB)


def test_bulk_values_are_hopped_over() -> None:
    bulk = element(0x00660023, "OF", bytes(10 << 20))
    raw = with_text(100, bulk, element(0x00700001, "SQ", b""), pixel_data(1 << 20))
    store = MemoryStore({URL: raw})
    fetched = fetch(store)
    assert store.requests == 2
    assert store.bytes_fetched == 2 * 16 * KiB
    behind = raw.index(struct.pack("<HH", 0x0070, 0x0001), 10 << 20)
    assert ranges(store)[1][0] == behind
    assert fetched.header.header_bytes > 10 << 20


def encapsulated(items: bytes, text: int) -> bytes:
    pixel = element(0x7FE00010, "OB", b"", UNDEFINED) + items + SEQUENCE_END
    return with_text(text, pixel)


def test_the_eight_bytes_of_the_basic_offset_table_are_asked_for_exactly() -> None:
    items = ITEM + struct.pack("<L", 4) + bytes(4) + ITEM + struct.pack("<L", 1 << 20) + bytes(1 << 20)
    first_item = encapsulated(b"", 500).index(b"OB\0\0\xff\xff\xff\xff") + 8
    raw = encapsulated(items, 500)
    # The first window ends with the header of the pixel data element: just the item's header is missing.
    store = MemoryStore({URL: raw})
    header = fetch(store, windows=Windows(first_item, 4 * KiB)).header
    assert ranges(store) == [(0, first_item), (first_item, first_item + 8)]
    assert header.basic_offset_table is True
    # In the middle of it, only the rest.
    store = MemoryStore({URL: raw})
    assert fetch(store, windows=Windows(first_item + 5, 4 * KiB)).header == header
    assert ranges(store)[1:] == [(first_item + 5, first_item + 8)]


def test_every_first_window_gives_the_same_header() -> None:
    items = ITEM + struct.pack("<L", 0) + ITEM + struct.pack("<L", 64) + bytes(64)
    raw = encapsulated(items, 200)
    whole = fetch(MemoryStore({URL: raw})).header
    for first in range(1, len(raw) + 1):
        assert fetch(MemoryStore({URL: raw}), windows=Windows(first, 16)).header == whole


@pytest.mark.parametrize(
    ("raw", "error"),
    [(b"", NotDicomError), (b"D", NotDicomError), (bytes(128) + b"DICM", NotDicomError)],
    ids=["empty", "one byte", "nothing but a prefix"],
)
def test_objects_without_a_header_say_so_in_one_request(raw: bytes, error: type[HarvestError]) -> None:
    store = MemoryStore({URL: raw})
    with pytest.raises(error) as caught:
        fetch(store)
    assert store.requests == 1
    assert caught.value.url == URL


def test_an_object_cut_anywhere_in_its_header_fails_with_its_url_and_offset() -> None:
    raw = with_text(500, pixel_data(100))
    end = len(raw) - 112
    whole = 0
    for cut in range(133, end):
        store = MemoryStore({URL: raw[:cut]})
        try:
            fetch(store, windows=Windows(200, 16))
        except (TruncatedError, NotDicomError) as error:
            assert error.url == URL  # noqa: PT017  a cut between two elements is no error
            assert error.offset is not None  # noqa: PT017
            assert error.offset <= cut  # noqa: PT017
        else:
            whole += 1
        assert all(stop <= max(cut, 200) for _, stop in ranges(store))
    assert whole < 10


def test_a_header_beyond_the_bound_is_given_up_after_the_bound() -> None:
    store = MemoryStore({URL: with_text(4 << 20)})
    with pytest.raises(HeaderLimitError) as caught:
        fetch(store, max_header_bytes=256 * KiB)
    assert caught.value.url == URL
    assert store.bytes_fetched < 1 << 20


class ReplacedStore(MemoryStore):
    """Replaces the object by the next version when its second window is asked for."""

    def __init__(self, versions: list[bytes], *, with_etag: bool = True) -> None:
        super().__init__({URL: versions[0]})
        self.versions = versions[1:]
        self.with_etag = with_etag

    async def get_range(self, ref: ObjectRef, wanted: ByteRange, *, etag: str | None = None) -> RangeResponse:
        if wanted.start and self.versions:
            self.put(ref, self.versions.pop(0))
        answer = await super().get_range(ref, wanted, etag=etag)
        return answer if self.with_etag else RangeResponse(answer.data, answer.size, None)


def versions(count: int) -> list[bytes]:
    return [with_text(5 * KiB + 100 * number) for number in range(count)]


def test_an_object_replaced_between_two_windows_is_read_once_more_from_the_start() -> None:
    store = ReplacedStore(versions(2))
    fetched = fetch(store, windows=SMALL)
    assert fetched.size == len(versions(2)[1])
    assert [start for start, _ in ranges(store)] == [0, KiB, 0, KiB]


def test_an_object_that_keeps_being_replaced_fails() -> None:
    store = ReplacedStore(versions(5))
    with pytest.raises(ObjectChangedError) as caught:
        fetch(store, windows=SMALL)
    assert caught.value.url == URL
    assert [start for start, _ in ranges(store)] == [0, KiB, 0, KiB]


class ChangingStore(MemoryStore):
    """Another object from the second window on, and no ETag to tell."""

    def __init__(self, first: bytes, other: bytes) -> None:
        super().__init__()
        self.first, self.other = first, other

    async def get_range(self, ref: ObjectRef, wanted: ByteRange, *, etag: str | None = None) -> RangeResponse:
        self.put(ref, self.other if wanted.start else self.first)
        answer = await super().get_range(ref, wanted, etag=etag)
        return RangeResponse(answer.data, answer.size, None)


@pytest.mark.parametrize("size", [0, 10, KiB, 2 * KiB, 9 * KiB])
def test_without_an_etag_another_size_shows_that_the_object_was_replaced(size: int) -> None:
    raw = with_text(5 * KiB)
    store = ChangingStore(raw, (raw * 2)[:size])
    with pytest.raises(ObjectChangedError) as caught:
        fetch(store, windows=SMALL)
    assert caught.value.url == URL
    assert store.requests == 4


class RefusingStore(MemoryStore):
    """Says of some buckets what a server says."""

    def __init__(self, errors: dict[str, type[StoreError]]) -> None:
        super().__init__({f"{scheme}://good/k": with_text(10) for scheme in ("s3", "gs")})
        self.errors = errors

    async def get_range(self, ref: ObjectRef, wanted: ByteRange, *, etag: str | None = None) -> RangeResponse:
        if ref.bucket in self.errors:
            self.ranges.append((ref, wanted))
            raise self.errors[ref.bucket]("refused", url=ref.url)
        return await super().get_range(ref, wanted, etag=etag)


def test_the_next_copy_is_read_where_the_first_is_missing() -> None:
    store, cost = RefusingStore({"denied": AccessDeniedError}), RequestCost()
    fetched = fetch(store, "s3://missing/k", "s3://denied/k", "gs://good/k", cost=cost)
    assert fetched.ref == ObjectRef.parse("gs://good/k")
    assert cost.requests == 3


def test_no_further_copy_is_read_than_the_first_good_one() -> None:
    store = RefusingStore({})
    fetch(store, "s3://good/k", "gs://good/k")
    assert [ref.scheme for ref, _ in store.ranges] == ["s3"]


def test_no_other_copy_is_asked_for_what_is_the_objects_own_fault() -> None:
    store = MemoryStore({"s3://one/k": b"text " * 100, "gs://two/k": with_text(10)})
    with pytest.raises(NotDicomError):
        fetch(store, "s3://one/k", "gs://two/k")
    assert store.requests == 1


def test_a_missing_copy_does_not_hide_why_the_other_could_not_be_read() -> None:
    store = RefusingStore({"denied": AccessDeniedError})
    with pytest.raises(AccessDeniedError) as caught:
        fetch(store, "s3://denied/k", "gs://missing/k")
    assert caught.value.url == "s3://denied/k"
    with pytest.raises(NotFoundError):
        fetch(store, "s3://missing/k", "gs://missing/k")


def test_objects_in_both_clouds_are_divided_between_them() -> None:
    raw = part10(element(0x00080018, "UI", b"1.2.3\0"), pixel_data(100))
    keys = [f"series/{number}.dcm" for number in range(60)]
    objects = {f"{scheme}://bucket/{key}": raw for key in keys for scheme in ("s3", "gs")}
    store = MemoryStore(objects)

    async def read_all() -> Counter[str]:
        order = ReplicaOrder(Endpoints(), ("gs", "s3"))
        fetcher = HeaderFetcher(store, copy_reader=CopyReader(order, store, store))
        read = Counter[str]()
        for key in keys:
            copies = [ObjectRef("bucket", key, scheme) for scheme in ("gs", "s3")]
            read[(await fetcher.fetch(copies, RequestCost())).ref.scheme] += 1
        return read

    read = anyio.run(read_all)
    assert read.total() == store.requests == 60
    assert min(read["gs"], read["s3"]) >= 15
