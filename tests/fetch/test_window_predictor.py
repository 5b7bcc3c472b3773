import anyio
import pytest
from made_part10 import element, item, part10, sequence
from memory_store import MemoryStore

from harvester.errors import NotDicomError
from harvester.fetch.headers import FetchedHeader, HeaderFetcher, Windows
from harvester.fetch.window_predictor import ObjectTraits, WindowPredictor
from harvester.model import ObjectRef
from harvester.store.cost import RequestCost

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


KiB = 1024
PIXELS = 500_000


def instance(number: int, *, history: int = 3000, icc_profile: int = 0) -> bytes:
    optical_path = sequence(0x00480105, item(element(0x00282000, "OB", bytes(icc_profile))))
    return part10(
        element(0x00080018, "UI", f"1.2.3.{number}".encode()),
        element(0x00200013, "IS", str(number).encode()),
        element(0x00204000, "UT", b"x" * history),
        optical_path + element(0x00480300, "UT", b"y" * 900) if icc_profile else b"",
        element(0x7FE00010, "OW", bytes(PIXELS)),
    )


def report(length: int) -> bytes:
    return part10(element(0x00080018, "UI", b"1.2.3"), element(0x0040A160, "UT", b"x" * length))


async def harvested(
    objects: dict[str, bytes], fetcher: HeaderFetcher, modality: str | None = "CT"
) -> list[RequestCost]:
    """Read all objects at once; the folder of an object is its series."""
    costs = [RequestCost() for _ in objects]

    async def read(url: str, cost: RequestCost) -> None:
        kind = ObjectTraits(url.rpartition("/")[0], modality, len(objects[url]))
        fetched = await fetcher.fetch([ObjectRef.parse(url)], cost, kind)
        assert isinstance(fetched, FetchedHeader)

    async with anyio.create_task_group() as tasks:
        for url, cost in zip(objects, costs, strict=True):
            tasks.start_soon(read, url, cost)
    return costs


def header_bytes(content: bytes) -> int:
    return len(content) - PIXELS


def fetcher_of(store: MemoryStore) -> HeaderFetcher:
    return HeaderFetcher(store, Windows(), predictor=WindowPredictor(Windows().first_bytes))


@pytest.mark.parametrize("history", [300, 3000, 30_000, 200_000])
async def test_a_series_costs_one_request_an_instance_and_little_more_than_its_headers(history):
    objects = {f"s3://b/series/{n}.dcm": instance(n, history=history) for n in range(40)}
    store = MemoryStore(objects)
    costs = await harvested(objects, fetcher_of(store))
    first, *others = costs  # the first one asks for what a CT header may need, or for more and more
    assert sum(cost.requests for cost in others) == len(others)
    assert sum(cost.bytes_fetched for cost in others) <= 1.3 * sum(map(header_bytes, objects.values()))
    assert first.bytes_fetched <= 8 * KiB + 64 * KiB + 2 * history


async def test_what_was_learnt_of_a_modality_serves_its_next_series():
    objects = {f"s3://b/{series}/{n}.dcm": instance(n) for series in range(30) for n in range(12)}
    store = MemoryStore(objects)
    fetcher = fetcher_of(store)
    first = dict(list(objects.items())[:120])
    rest = dict(list(objects.items())[120:])
    await harvested(first, fetcher)
    costs = await harvested(rest, fetcher)
    assert sum(cost.requests for cost in costs) <= 1.05 * len(rest)
    assert sum(cost.bytes_fetched for cost in costs) <= 1.3 * sum(map(header_bytes, rest.values()))


async def test_the_window_behind_a_long_value_is_learnt_too():
    objects = {f"s3://b/series/{n}.dcm": instance(n, icc_profile=150_000) for n in range(20)}
    costs = await harvested(objects, fetcher_of(MemoryStore(objects)))
    fetched = sum(cost.bytes_fetched for cost in costs[1:])
    assert max(cost.requests for cost in costs[1:]) == 2
    assert fetched <= 1.3 * sum(header_bytes(content) - 150_000 for content in objects.values())


async def test_reports_are_read_whole_because_they_have_no_pixel_data():
    objects = {f"s3://b/{n}/report.dcm": report(60_000 + 1000 * n) for n in range(12)}
    costs = await harvested(objects, fetcher_of(MemoryStore(objects)), "SR")
    assert [cost.requests for cost in costs] == [1] * len(objects)
    assert sum(cost.bytes_fetched for cost in costs) == sum(map(len, objects.values()))


async def test_a_series_whose_first_object_fails_does_not_wait_for_ever():
    objects = {f"s3://b/series/{n}.dcm": instance(n) for n in range(5)}
    store = MemoryStore(
        {"s3://b/series/0.dcm": b"no DICOM"} | {k: v for k, v in objects.items() if "/0." not in k}
    )
    fetcher = fetcher_of(store)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            for n in range(5):
                tasks.start_soon(_ignore_errors, fetcher, f"s3://b/series/{n}.dcm")


async def _ignore_errors(fetcher: HeaderFetcher, url: str) -> None:
    try:
        await fetcher.fetch([ObjectRef.parse(url)], RequestCost(), ObjectTraits("series", "CT", None))
    except NotDicomError:
        assert url.endswith("/0.dcm")
