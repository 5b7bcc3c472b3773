from pathlib import Path

import pytest

from harvester.demo import DemoAddress
from harvester.errors import NotFoundError, ObjectChangedError
from harvester.model import ByteRange, ObjectRef
from harvester.store.http.store import open_http_store


@pytest.mark.anyio
@pytest.mark.parametrize("scheme", ["s3", "gs"])
async def test_the_http_store_lists_and_reads_either_provider(
    address: DemoAddress, root: Path, keys: dict[str, str], scheme: str
) -> None:
    read = {}
    async with open_http_store(endpoint=address.endpoint) as store:
        async for listed in store.list_objects(ObjectRef(address.bucket, "", scheme)):
            answer = await store.get_range(listed.ref, ByteRange(0, 65536), etag=listed.etag)
            assert answer.size == listed.size
            read[listed.ref.key] = answer.data
    assert read == {key: (root / "study" / name).read_bytes()[:65536] for name, key in keys.items()}


@pytest.mark.anyio
@pytest.mark.parametrize("scheme", ["s3", "gs"])
async def test_the_http_store_is_told_what_is_wrong(
    address: DemoAddress, keys: dict[str, str], scheme: str
) -> None:
    async with open_http_store(endpoint=address.endpoint) as store:
        with pytest.raises(NotFoundError):
            await store.get_range(ObjectRef(address.bucket, "missing", scheme), ByteRange(0, 1))
        ref = ObjectRef(address.bucket, keys["big"], scheme)
        with pytest.raises(ObjectChangedError):
            await store.get_range(ref, ByteRange(0, 1), etag="another")
