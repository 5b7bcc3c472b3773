from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest
from demo_requests import ask

from harvester.demo import DemoAddress


@pytest.mark.anyio
async def test_gcs_listings_page_by_page_hold_every_object(
    address: DemoAddress, root: Path, keys: dict[str, str]
) -> None:
    sizes: dict[str, int] = {}
    token = ""
    async with aiohttp.ClientSession(address.endpoint) as session:
        for _ in range(3):
            params = {"maxResults": "2", "pageToken": token}
            async with session.get("/storage/v1/b/idc-open-data/o", params=params) as answer:
                page = await answer.json()
            sizes |= {item["name"]: int(item["size"]) for item in page["items"]}
            token = page.get("nextPageToken", "")
    assert token == ""
    assert sizes == {key: (root / "study" / name).stat().st_size for name, key in keys.items()}


@pytest.mark.anyio
async def test_gcs_prefixes_metadata_and_media(
    address: DemoAddress, root: Path, keys: dict[str, str]
) -> None:
    key = keys["MR_small.dcm"]
    async with aiohttp.ClientSession(address.endpoint) as session:
        async with session.get("/storage/v1/b/idc-open-data/o", params={"delimiter": "/"}) as answer:
            assert (await answer.json())["prefixes"] == sorted(
                {key.split("/")[0] + "/" for key in keys.values()}
            )
        async with session.get("/storage/v1/b/idc-open-data/o", params={"prefix": "zzz"}) as answer:
            assert "items" not in await answer.json()
        async with session.get("/storage/v1/b/idc-open-data") as answer:
            assert (await answer.json())["name"] == "idc-open-data"
    content = (root / "study" / "MR_small.dcm").read_bytes()
    encoded = f"/storage/v1/b/idc-open-data/o/{quote(key, safe='')}"
    metadata = ask(address, encoded)
    assert f'"size": "{len(content)}"'.encode() in metadata.body
    for target in (f"{encoded}?alt=media", f"/download{encoded}?alt=media"):
        answer = ask(address, target, Range="bytes=128-131")
        assert (answer.status, answer.body) == (206, b"DICM")


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/storage/v1/b/no-such-bucket/o", 404),
        ("/storage/v1/b/idc-open-data/o/missing", 404),
        ("/storage/v1/b/idc-open-data/o?pageToken=x", 400),
        ("/storage/v1/b/idc-open-data/o?maxResults=x", 400),
        ("/storage/v1/b", 404),
    ],
)
def test_gcs_errors_are_json(address: DemoAddress, target: str, status: int) -> None:
    answer = ask(address, target)
    assert answer.status == status
    assert f'"code": {status}'.encode() in answer.body
