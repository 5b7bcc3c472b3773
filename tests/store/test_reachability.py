import pytest
from faulty_bucket import FaultyBucket, serving

from harvester.errors import ConfigError
from harvester.model import ObjectRef
from harvester.store.open import StoreSettings
from harvester.store.reachability import Reachability, check_reachability

pytestmark = pytest.mark.anyio

REF = ObjectRef("scans", "a/1")


async def test_an_object_that_can_be_read_has_no_cause():
    async with serving(FaultyBucket({"a/1": b"0123"})) as bucket:
        assert await check_reachability(REF, endpoint=bucket.endpoint) == Reachability(None, None)


async def test_what_fails_has_its_cause():
    found = await check_reachability(REF, endpoint="http://127.0.0.1:9")
    assert "127.0.0.1:9 refuses connections" in found.listing
    assert "127.0.0.1:9 refuses connections" in found.reading


async def test_settings_that_cannot_be_used_are_the_cause(tmp_path):
    found = await check_reachability(REF, StoreSettings(ca_bundle=str(tmp_path / "none.pem")))
    assert "no such file" in found.reading


@pytest.mark.parametrize("url", ["az://container/x", "abfss://container/x"])
async def test_azure_is_refused_by_name(url):
    with pytest.raises(ConfigError, match="Azure Blob Storage is not supported; use an S3 gateway"):
        ObjectRef.parse(url)
