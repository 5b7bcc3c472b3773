import socket
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from anyio.from_thread import start_blocking_portal
from botocore.client import BaseClient
from demo_requests import ask, error_code
from pydicom.data import get_testdata_file

from harvester.demo import DemoAddress, demo_bucket

S5CMD = Path(sys.executable).with_name("s5cmd")
S3 = "{http://s3.amazonaws.com/doc/2006-03-01/}"


def test_boto3_lists_every_object_page_by_page(client: BaseClient, root: Path, keys: dict[str, str]) -> None:
    pages = client.get_paginator("list_objects_v2").paginate(
        Bucket="idc-open-data", PaginationConfig={"PageSize": 2}
    )
    pages = list(pages)
    listed = [entry for page in pages for entry in page["Contents"]]
    assert [len(page["Contents"]) for page in pages] == [2, 2, 1]
    assert [entry["Key"] for entry in listed] == sorted(keys.values())
    sizes = {entry["Key"]: entry["Size"] for entry in listed}
    assert sizes == {key: (root / "study" / name).stat().st_size for name, key in keys.items()}


def test_a_listings_etag_is_the_objects(client: BaseClient, keys: dict[str, str]) -> None:
    for entry in client.list_objects_v2(Bucket="idc-open-data")["Contents"]:
        head = client.head_object(Bucket="idc-open-data", Key=entry["Key"])
        assert (head["ETag"], head["LastModified"]) == (entry["ETag"], entry["LastModified"])
    assert len(keys) == 5


def test_boto3_lists_series_by_the_delimiter(client: BaseClient, keys: dict[str, str]) -> None:
    pages = client.get_paginator("list_objects_v2").paginate(
        Bucket="idc-open-data", Delimiter="/", PaginationConfig={"PageSize": 1}
    )
    pages = list(pages)
    found = [entry["Prefix"] for page in pages for entry in page["CommonPrefixes"]]
    assert found == sorted({key.split("/")[0] + "/" for key in keys.values()})
    assert not any("Contents" in page for page in pages)


def test_boto3_lists_one_series_by_its_prefix(client: BaseClient, keys: dict[str, str]) -> None:
    prefix = keys["MR_small.dcm"].split("/")[0] + "/"
    answer = client.list_objects_v2(Bucket="idc-open-data", Prefix=prefix, Delimiter="/")
    assert [entry["Key"] for entry in answer["Contents"]] == [keys["MR_small.dcm"]]
    assert (answer["KeyCount"], answer["IsTruncated"], answer["Prefix"]) == (1, False, prefix)


def test_a_listing_starts_after_a_key(client: BaseClient, keys: dict[str, str]) -> None:
    ordered = sorted(keys.values())
    answer = client.list_objects_v2(Bucket="idc-open-data", StartAfter=ordered[2])
    assert [entry["Key"] for entry in answer["Contents"]] == ordered[3:]


@pytest.mark.parametrize("encoding", ["", "&encoding-type=url"])
@pytest.mark.parametrize("field", ["prefix", "delimiter", "start-after"])
def test_hostile_arguments_come_back_as_text_in_xml_that_parses(
    address: DemoAddress, keys: dict[str, str], field: str, encoding: str
) -> None:
    hostile = "</Prefix><Contents>&x;<![CDATA[ \0\x1b\ufffe\U0001f480"
    answer = ask(address, f"/idc-open-data?list-type=2&{field}={quote(hostile)}{encoding}")
    assert answer.status == 200
    document = ET.fromstring(answer.body)
    name = {"prefix": "Prefix", "delimiter": "Delimiter", "start-after": "StartAfter"}[field]
    readable = hostile.replace("\0", "\ufffd").replace("\x1b", "\ufffd").replace("\ufffe", "\ufffd")
    assert document.findtext(S3 + name) == (quote(hostile) if encoding else readable)
    expected = {
        "prefix": [],
        "delimiter": keys.values(),
        "start-after": [key for key in keys.values() if key > "<"],
    }
    found = [key.text for key in document.iterfind(f"{S3}Contents/{S3}Key")]
    assert found == sorted(expected[field])


def test_a_request_line_of_raw_bytes_is_answered(address: DemoAddress) -> None:
    parts = urlsplit(address.endpoint)
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as connection:
        connection.sendall(b"GET /idc-open-data?list-type=2&prefix=\xff\xfe HTTP/1.0\r\nHost: x\r\n\r\n")
        answer = connection.recv(4096)
    assert answer.startswith((b"HTTP/1.0 200", b"HTTP/1.0 400", b"HTTP/1.1 400"))


@pytest.mark.parametrize(
    "query",
    [
        "max-keys=-1",
        "max-keys=many",
        "max-keys=%D9%A1",
        "continuation-token=x",
        "continuation-token=",
        "encoding-type=x",
    ],
)
def test_arguments_that_s3_refuses_are_refused(address: DemoAddress, query: str) -> None:
    answer = ask(address, f"/idc-open-data?list-type=2&{query}")
    assert (answer.status, error_code(answer)) == (400, "InvalidArgument")


def test_more_than_a_thousand_keys_take_more_than_one_page(tmp_path: Path) -> None:
    for number in range(1001):
        (tmp_path / str(number)).touch()
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(demo_bucket(tmp_path)) as address,
    ):
        first = ET.fromstring(ask(address, "/idc-open-data/?list-type=2&max-keys=5000").body)
        token = first.findtext(S3 + "NextContinuationToken") or ""
        target = f"/idc-open-data/?list-type=2&continuation-token={quote(token)}"
        second = ET.fromstring(ask(address, target).body)
    assert (first.findtext(S3 + "KeyCount"), first.findtext(S3 + "IsTruncated")) == ("1000", "true")
    assert (second.findtext(S3 + "KeyCount"), second.findtext(S3 + "IsTruncated")) == ("1", "false")


def test_what_else_a_bucket_can_be_asked_is_not_an_empty_listing(address: DemoAddress) -> None:
    answer = ask(address, "/idc-open-data?prefix=x")
    assert (answer.status, error_code(answer)) == (501, "NotImplemented")
    assert ask(address, "/no-such-bucket?list-type=2").status == 404


def test_a_bucket_tells_its_region(client: BaseClient) -> None:
    assert client.head_bucket(Bucket="idc-open-data")["BucketRegion"] == "us-east-1"
    assert client.get_bucket_location(Bucket="idc-open-data")["LocationConstraint"] is None


@pytest.mark.skipif(not S5CMD.exists(), reason="s5cmd is not installed beside this Python")
def test_s5cmd_lists_and_copies_a_series(address: DemoAddress, keys: dict[str, str], tmp_path: Path) -> None:
    series, _, instance = keys["CT_small.dcm"].partition("/")
    s5cmd = [str(S5CMD), "--no-sign-request", "--endpoint-url", address.endpoint]
    listed = subprocess.run(
        [*s5cmd, "ls", f"s3://idc-open-data/{series}/"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert listed.stdout.split()[-1] == instance
    copy = [*s5cmd, "cp", f"s3://idc-open-data/{series}/*", f"{tmp_path}/"]
    subprocess.run(copy, capture_output=True, check=True, timeout=60)
    assert (tmp_path / instance).read_bytes() == Path(str(get_testdata_file("CT_small.dcm"))).read_bytes()
