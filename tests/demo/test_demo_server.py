import re
import xml.etree.ElementTree as ET
from pathlib import Path
from urllib.parse import quote

import aiohttp
import anyio
import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from demo_requests import BIG, SECRET, ask, error_code

from harvester.demo import DemoAddress


def test_the_address_says_what_is_served(address: DemoAddress, keys: dict[str, str]) -> None:
    assert address.bucket == "idc-open-data"
    assert address.instances == len(keys) == 5
    assert address.series == 4
    assert address.endpoint.startswith("http://127.0.0.1:")


def test_boto3_gets_every_object_whole(client: BaseClient, root: Path, keys: dict[str, str]) -> None:
    for name, key in keys.items():
        answer = client.get_object(Bucket="idc-open-data", Key=key)
        content = (root / "study" / name).read_bytes()
        assert answer["Body"].read() == content
        assert answer["ContentLength"] == len(content)


@pytest.mark.parametrize(
    ("field", "start", "stop"),
    [
        ("bytes=0-131", 0, 132),
        ("bytes=300000-900000", 300_000, 900_001),
        ("bytes=-5", BIG - 5, BIG),
        ("bytes=7-", 7, BIG),
    ],
)
def test_boto3_gets_a_range(
    client: BaseClient, root: Path, keys: dict[str, str], field: str, start: int, stop: int
) -> None:
    answer = client.get_object(Bucket="idc-open-data", Key=keys["big"], Range=field)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert answer["ContentRange"] == f"bytes {start}-{stop - 1}/{BIG}"
    assert answer["Body"].read() == (root / "study" / "big").read_bytes()[start:stop]


def test_head_says_what_get_says(client: BaseClient, keys: dict[str, str]) -> None:
    head = client.head_object(Bucket="idc-open-data", Key=keys["big"])
    get = client.get_object(Bucket="idc-open-data", Key=keys["big"], Range="bytes=0-0")
    assert head["ContentLength"] == BIG
    assert head["AcceptRanges"] == "bytes"
    assert (head["ETag"], head["LastModified"]) == (get["ETag"], get["LastModified"])
    assert re.fullmatch('"[^"]+"', head["ETag"])


def test_head_of_a_range_says_what_its_get_says(address: DemoAddress, keys: dict[str, str]) -> None:
    answer = ask(address, f"/idc-open-data/{keys['big']}", "HEAD", Range="bytes=0-9")
    assert (answer.status, answer.body) == (206, b"")
    assert (answer.headers["Content-Range"], answer.headers["Content-Length"]) == (f"bytes 0-9/{BIG}", "10")


def test_a_range_behind_the_end_is_416_and_says_the_size(address: DemoAddress, keys: dict[str, str]) -> None:
    answer = ask(address, f"/idc-open-data/{keys['big']}", Range=f"bytes={BIG}-")
    assert (answer.status, error_code(answer)) == (416, "InvalidRange")
    assert answer.headers["Content-Range"] == f"bytes */{BIG}"
    assert ET.fromstring(answer.body).findtext("ActualObjectSize") == str(BIG)


def test_an_empty_object_is_served_whole_but_has_no_range(address: DemoAddress, keys: dict[str, str]) -> None:
    target = f"/idc-open-data/{keys['empty']}"
    whole, part = ask(address, target), ask(address, target, Range="bytes=0-65535")
    assert (whole.status, whole.body, whole.headers["Content-Length"]) == (200, b"", "0")
    assert (part.status, part.headers["Content-Range"]) == (416, "bytes */0")


@pytest.mark.parametrize("field", ["bytes=a-b", "bytes=0-1,5-6", "lines=1-2"])
def test_a_range_that_s3_ignores_gives_the_whole_object(
    address: DemoAddress, root: Path, keys: dict[str, str], field: str
) -> None:
    answer = ask(address, f"/idc-open-data/{keys['MR_small.dcm']}", Range=field)
    assert answer.status == 200
    assert answer.body == (root / "study" / "MR_small.dcm").read_bytes()


def test_if_match_holds_a_read_to_one_content(client: BaseClient, keys: dict[str, str]) -> None:
    key = keys["CT_small.dcm"]
    etag = client.head_object(Bucket="idc-open-data", Key=key)["ETag"]
    assert client.get_object(Bucket="idc-open-data", Key=key, IfMatch=etag)["ContentLength"] > 0
    with pytest.raises(ClientError, match="PreconditionFailed"):
        client.get_object(Bucket="idc-open-data", Key=key, IfMatch='"another"')


def test_if_none_match_saves_a_read(address: DemoAddress, keys: dict[str, str]) -> None:
    target = f"/idc-open-data/{keys['CT_small.dcm']}"
    etag = ask(address, target, "HEAD").headers["ETag"]
    answer = ask(address, target, If_None_Match=etag)
    assert (answer.status, answer.body, answer.headers["ETag"]) == (304, b"", etag)


@pytest.mark.anyio
async def test_many_readers_of_ranges_at_once_get_their_own(
    address: DemoAddress, root: Path, keys: dict[str, str]
) -> None:
    content = (root / "study" / "big").read_bytes()
    wrong: list[int] = []

    async def read(session: aiohttp.ClientSession, start: int) -> None:
        headers = {"Range": f"bytes={start}-{start + 4095}"}
        async with session.get(f"{address.endpoint}/idc-open-data/{keys['big']}", headers=headers) as answer:
            if answer.status != 206 or await answer.read() != content[start : start + 4096]:
                wrong.append(start)

    async with aiohttp.ClientSession() as session, anyio.create_task_group() as readers:
        for start in range(0, 300 * 4096, 4096):
            readers.start_soon(read, session, start)
    assert wrong == []


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH", "OPTIONS"])
def test_no_method_but_reading_is_allowed(address: DemoAddress, keys: dict[str, str], method: str) -> None:
    answer = ask(address, f"/idc-open-data/{keys['big']}", method, Content_Length="0")
    assert (answer.status, error_code(answer), answer.headers["Allow"]) == (
        405,
        "MethodNotAllowed",
        "GET, HEAD",
    )


def test_missing_keys_and_buckets_are_named_as_s3_names_them(client: BaseClient) -> None:
    with pytest.raises(ClientError, match="NoSuchKey"):
        client.get_object(Bucket="idc-open-data", Key="missing")
    with pytest.raises(ClientError, match="NoSuchBucket"):
        client.get_object(Bucket="no-such-bucket", Key="missing")
    with pytest.raises(ClientError, match="404"):
        client.head_object(Bucket="idc-open-data", Key="missing")


@pytest.mark.parametrize(
    "target",
    [
        "/idc-open-data/../secret",
        "/idc-open-data/../../secret",
        "/../secret",
        "/idc-open-data/%2e%2e/secret",
        "/idc-open-data/%2e%2e%2fsecret",
        "/idc-open-data/..%2fsecret",
        "/idc-open-data/..%5csecret",
        "/idc-open-data/%252e%252e%252fsecret",
        "/idc-open-data/study/../../secret",
        "/idc-open-data/study/link",
        "/idc-open-data/study/big",
        "/idc-open-data//SECRET",
        "//SECRET",
        "/SECRET",
        "/idc-open-data/SECRET",
        "/idc-open-data/%2fSECRET",
        "/idc-open-data/SECRET%00.dcm",
        "/idc-open-data/%00",
        "/idc-open-data/%ff%fe",
        "/idc-open-data/%",
        "/storage/v1/b/idc-open-data/o/..%2Fsecret?alt=media",
        "/storage/v1/b/..%2Fabove/o/secret?alt=media",
        "/storage/v1/b/idc-open-data/o/SECRET?alt=media",
        "/download/storage/v1/b/idc-open-data/o/%2e%2e/secret?alt=media",
        "http://other.example/idc-open-data/../secret",
    ],
)
def test_nothing_above_the_root_can_be_read(address: DemoAddress, root: Path, target: str) -> None:
    secret = root.parent / "secret"
    answer = ask(address, target.replace("SECRET", quote(str(secret))))
    assert answer.status in (400, 403, 404)
    assert SECRET not in answer.body


def test_a_url_never_names_a_file_by_its_own_name(address: DemoAddress) -> None:
    assert ask(address, "/idc-open-data/study/CT_small.dcm").status == 404


def test_the_list_of_buckets_is_not_public(address: DemoAddress) -> None:
    answer = ask(address, "/")
    assert (answer.status, error_code(answer)) == (403, "AccessDenied")


def test_an_error_names_a_hostile_key_in_xml_that_parses(address: DemoAddress) -> None:
    answer = ask(address, "/idc-open-data/" + quote("<a>&\"'\0\x1b\r]]>\u20ac"))
    assert ET.fromstring(answer.body).findtext("Key") == "<a>&\"'\ufffd\ufffd\r]]>\u20ac"
