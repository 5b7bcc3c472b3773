"""The made-up bucket: every object once, each a header that pydicom reads, and a crawl of it counts right."""

from collections import Counter
from io import BytesIO
from pathlib import Path

import anyio
import pyarrow.parquet as pq
import pytest
from pydicom.filereader import dcmread

from harvester.config import CrawlConfig
from harvester.dataset import Dataset
from harvester.demo.synthetic_bucket import SyntheticBucket
from harvester.demo.synthetic_header import OBJECT_BYTES, instance_uid, synthetic_header
from harvester.demo.synthetic_server import synthetic_server, synthetic_server_process
from harvester.engine.crawl import crawl
from harvester.engine.shard import CrawlProgress
from harvester.model import ByteRange, ObjectRef
from harvester.store.open import open_store


def test_a_synthetic_header_is_one_that_pydicom_reads_whole() -> None:
    header = synthetic_header(123_456, 2204, 32)
    dataset = dcmread(BytesIO(header), stop_before_pixels=True)
    assert dataset.SOPInstanceUID == dataset.file_meta.MediaStorageSOPInstanceUID == instance_uid(123_456)
    assert (dataset.SeriesInstanceUID, dataset.InstanceNumber) == ("2.25.200000002204", 33)
    assert dataset.ImagePositionPatient[2] == dataset.SliceLocation == -1032.0
    assert len(synthetic_header(10**9, 10**7, 55)) == len(header)
    assert OBJECT_BYTES - len(header) == int.from_bytes(header[-4:], "little")


def test_keys_name_instances_and_are_spread_over_the_digits() -> None:
    bucket = SyntheticBucket(2000)
    assert [bucket.find(bucket.key(number)) for number in range(2000)] == list(range(2000))
    assert bucket.find(bucket.key(2000)) is None
    assert bucket.find("a/../b.dcm") is None
    assert len({bucket.key(series * 56)[0] for series in range(36)}) == 16


@pytest.mark.parametrize(
    "prefix", ["", "3", "a", SyntheticBucket(2000).key(0)[:37], "x", SyntheticBucket(9).key(0)]
)
def test_pages_of_keys_have_each_key_once_and_in_order(prefix: str) -> None:
    bucket = SyntheticBucket(2000)
    expected = sorted(key for key in map(bucket.key, range(2000)) if key.startswith(prefix))
    found: list[str] = []
    while page := bucket.keys(prefix, found[-1] if found else "", 100):
        found += page
    assert found == expected


def test_a_bucket_in_a_process_of_its_own_is_crawled_to_the_last_object(tmp_path: Path) -> None:
    bucket = SyntheticBucket(1500)
    bucket.write_catalog(tmp_path / "catalog.parquet")
    with synthetic_server_process(1500) as address:
        config = CrawlConfig.model_validate(
            {
                "dataset": str(tmp_path / "data"),
                "source": {"catalog": str(tmp_path / "catalog.parquet"), "endpoint": address.endpoint},
                "limits": {"processes": 1},
            }
        )
        result = anyio.run(crawl, config, CrawlProgress())
    assert (result.instances, result.failures) == (1500, 0)
    parts = Dataset.open(tmp_path / "data").parts("instances")
    uids = Counter(
        uid
        for part in parts
        for uid in pq.read_table(tmp_path / "data" / part.path)["SOPInstanceUID"].to_pylist()
    )
    assert uids == Counter(instance_uid(number) for number in range(1500))


def test_ranges_are_answered_and_what_is_not_there_is_refused() -> None:
    asked = []

    async def ask() -> None:
        async with (
            synthetic_server(10, on_request=lambda: asked.append(1)) as address,
            open_store(endpoint=address.endpoint) as store,
        ):
            ref = ObjectRef(address.bucket, SyntheticBucket(10).key(3))
            answer = await store.get_range(ref, ByteRange(OBJECT_BYTES - 5, OBJECT_BYTES + 100))
            assert (answer.data, answer.size, answer.etag) == (bytes(5), OBJECT_BYTES, f"{3:032x}")
            with pytest.raises(Exception, match="404"):
                await store.get_range(ObjectRef(address.bucket, "nothing.dcm"), ByteRange(0, 5))

    anyio.run(ask)
    assert len(asked) == 1
