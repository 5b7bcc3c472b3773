import pytest
from memory_store import MemoryStore
from retry_policies import NO_WAITING
from unkind_server import answering, http, partial

from harvester.errors import ConfigError, ListingError, RequestRejectedError, ServerFaultError
from harvester.model import ByteRange, ObjectRef
from harvester.store.base import Store
from harvester.store.open import SchemeStore, StoreSettings, open_store

pytestmark = pytest.mark.anyio


async def test_one_store_reads_every_scheme(s3_bucket, gcs_bucket, tmp_path):
    (tmp_path / "one.dcm").write_bytes(s3_bucket.objects["series/one.dcm"])
    for endpoint, address in (
        (s3_bucket.endpoint, "s3://scans/series/one.dcm"),
        (gcs_bucket.endpoint, "gs://scans/series/one.dcm"),
        (None, f"{gcs_bucket.endpoint}/scans/series/one.dcm"),
        (None, f"file://{tmp_path}/one.dcm"),
        (None, f"{tmp_path}/one.dcm"),
    ):
        async with open_store(StoreSettings(concurrency=2, retry=NO_WAITING), endpoint=endpoint) as store:
            answer = await store.get_range(ObjectRef.parse(address), ByteRange(5, 500))
        assert answer.data == s3_bucket.objects["series/one.dcm"][5:500]


async def test_one_store_lists_buckets_and_folders(s3_bucket, gcs_bucket, tmp_path):
    (tmp_path / "one.dcm").write_bytes(b"x")
    for endpoint, prefix in (
        (s3_bucket.endpoint, ObjectRef("scans", "series/one")),
        (gcs_bucket.endpoint, ObjectRef("scans", "series/one", "gs")),
        (None, ObjectRef("", str(tmp_path), "file")),
    ):
        async with open_store(StoreSettings(retry=NO_WAITING), endpoint=endpoint) as store:
            found = [listed.ref.key async for listed in store.list_objects(prefix)]
        assert [key.rpartition("/")[2] for key in found] == ["one.dcm"]


async def test_what_passes_is_asked_again():
    async with (
        answering(http(503), partial(0, b"ab", 2)) as server,
        open_store(StoreSettings(retry=NO_WAITING), endpoint=server.endpoint) as store,
    ):
        answer = await store.get_range(ObjectRef("scans", "one"), ByteRange(0, 2))
    assert (answer.data, answer.requests) == (b"ab", 2)


async def test_a_scheme_that_no_store_serves_is_refused():
    store = SchemeStore({"s3": MemoryStore()})
    with pytest.raises(RequestRejectedError, match="gs://"):
        await store.get_range(ObjectRef("scans", "one", "gs"), ByteRange(0, 2))
    with pytest.raises(ListingError, match="gs://"):
        [found async for found in store.list_objects(ObjectRef("scans", "one", "gs"))]


async def test_an_endpoint_that_is_no_address_is_refused():
    with pytest.raises(ConfigError):
        async with open_store(endpoint="localhost:9000"):
            pass


async def test_what_was_asked_is_told_by_endpoint():
    async with (
        answering(http(503), partial(0, b"ab", 2)) as server,
        open_store(StoreSettings(retry=NO_WAITING), endpoint=server.endpoint) as store,
    ):
        await store.get_range(ObjectRef("scans", "one"), ByteRange(0, 2))
        told = store.telemetry().endpoints
    assert set(told) == {"s3://scans"}
    assert (told["s3://scans"].requests, told["s3://scans"].throttles) == (2, 1)
    assert told["s3://scans"].retries == {"throttled": 1}


async def test_the_fail_fast_store_gives_up_sooner():
    async with (
        answering(http(500)) as server,
        open_store(StoreSettings(retry=NO_WAITING), endpoint=server.endpoint) as store,
    ):
        asked = []
        for one in (store.fail_fast, store):
            with pytest.raises(ServerFaultError):
                await one.get_range(ObjectRef("scans", "one"), ByteRange(0, 2))
            asked.append(len(server.heads))
    assert asked == [2, 2 + NO_WAITING.attempts]


async def test_an_object_that_one_bucket_lacks_is_read_from_the_other(s3_bucket):
    copies = (ObjectRef("nowhere", "series/one.dcm"), ObjectRef("scans", "series/one.dcm"))

    async def read(store: Store, ref: ObjectRef) -> bytes:
        return (await store.get_range(ref, ByteRange(5, 500))).data

    async with open_store(endpoint=s3_bucket.endpoint) as store:
        data = await store.copy_reader().read(copies, read)
        told = store.telemetry()
    assert data == s3_bucket.objects["series/one.dcm"][5:500]
    assert told.total.requests == 2


@pytest.mark.parametrize(
    ("endpoint", "processes", "rates"), [(None, 4, [2.5, 1250.0]), ("http://127.0.0.1:1", 1, [10.0])]
)
async def test_processes_share_the_rates_and_only_google_has_a_ramp(endpoint, processes, rates):
    settings = StoreSettings(requests_per_second=10.0, processes=processes)
    async with open_store(settings, endpoint=endpoint) as store:
        limiters = store.endpoints.of(ObjectRef("scans", "a", "gs")).rate_limiters
    assert [limiter.per_second for limiter in limiters] == rates
