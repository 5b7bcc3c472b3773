"""The demo bucket over HTTP, read by boto3, s5cmd, aiohttp and the product's own store."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote, urlsplit

import aiohttp
import anyio
import pyarrow.parquet as pq
import pytest
from anyio.from_thread import start_blocking_portal
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from demo_requests import BIG, SECRET, ask, error_code
from harvester_program import ended, start
from pydicom.data import get_testdata_file

from harvester.demo import CATALOG_BUCKET, CATALOG_KEY, DemoAddress, demo_bucket, lay_out, serve_demo
from harvester.errors import ConfigError, NotFoundError, ObjectChangedError
from harvester.model import ByteRange, ObjectRef
from harvester.store.http.store import open_http_store

S5CMD = Path(sys.executable).with_name("s5cmd")


def test_the_address_counts_objects_and_series(address: DemoAddress, keys: dict[str, str]) -> None:
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


def test_head_gives_the_fields_of_get(client: BaseClient, keys: dict[str, str]) -> None:
    head = client.head_object(Bucket="idc-open-data", Key=keys["big"])
    get = client.get_object(Bucket="idc-open-data", Key=keys["big"], Range="bytes=0-0")
    assert head["ContentLength"] == BIG
    assert head["AcceptRanges"] == "bytes"
    assert (head["ETag"], head["LastModified"]) == (get["ETag"], get["LastModified"])
    assert re.fullmatch('"[^"]+"', head["ETag"])


def test_head_of_a_range_gives_the_fields_of_get(address: DemoAddress, keys: dict[str, str]) -> None:
    answer = ask(address, f"/idc-open-data/{keys['big']}", "HEAD", Range="bytes=0-9")
    assert (answer.status, answer.body) == (206, b"")
    assert (answer.headers["Content-Range"], answer.headers["Content-Length"]) == (f"bytes 0-9/{BIG}", "10")


def test_a_range_behind_the_end_is_416_with_the_size(address: DemoAddress, keys: dict[str, str]) -> None:
    answer = ask(address, f"/idc-open-data/{keys['big']}", Range=f"bytes={BIG}-")
    assert (answer.status, answer.headers["Content-Range"]) == (416, f"bytes */{BIG}")


def test_an_empty_object_is_served_whole_but_has_no_range(address: DemoAddress, keys: dict[str, str]) -> None:
    target = f"/idc-open-data/{keys['empty']}"
    whole, part = ask(address, target), ask(address, target, Range="bytes=0-65535")
    assert (whole.status, whole.body, whole.headers["Content-Length"]) == (200, b"", "0")
    assert (part.status, part.headers["Content-Range"]) == (416, "bytes */0")


def test_if_match_with_another_etag_is_412(client: BaseClient, keys: dict[str, str]) -> None:
    key = keys["CT_small.dcm"]
    etag = client.head_object(Bucket="idc-open-data", Key=key)["ETag"]
    assert client.get_object(Bucket="idc-open-data", Key=key, IfMatch=etag)["ContentLength"] > 0
    with pytest.raises(ClientError, match="412"):
        client.get_object(Bucket="idc-open-data", Key=key, IfMatch='"another"')


def test_if_none_match_gives_304(address: DemoAddress, keys: dict[str, str]) -> None:
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


def test_missing_keys_and_buckets_have_the_codes_of_s3(client: BaseClient) -> None:
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
        assert head["ETag"] == entry["ETag"]
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
    assert (answer["KeyCount"], answer["IsTruncated"]) == (1, False)


def test_a_listing_starts_after_a_key(client: BaseClient, keys: dict[str, str]) -> None:
    ordered = sorted(keys.values())
    answer = client.list_objects_v2(Bucket="idc-open-data", StartAfter=ordered[2])
    assert [entry["Key"] for entry in answer["Contents"]] == ordered[3:]


def test_a_request_line_of_raw_bytes_gets_a_response(address: DemoAddress) -> None:
    parts = urlsplit(address.endpoint)
    with socket.create_connection((parts.hostname, parts.port), timeout=300) as connection:
        connection.sendall(b"GET /idc-open-data?list-type=2&prefix=\xff\xfe HTTP/1.0\r\nHost: x\r\n\r\n")
        answer = connection.recv(4096)
    assert answer.startswith((b"HTTP/1.0 200", b"HTTP/1.0 400", b"HTTP/1.1 400"))


def test_other_requests_of_a_bucket_are_errors(address: DemoAddress) -> None:
    answer = ask(address, "/idc-open-data?prefix=x")
    assert (answer.status, error_code(answer)) == (501, "NotImplemented")
    assert ask(address, "/no-such-bucket?list-type=2").status == 404


@pytest.mark.skipif(not S5CMD.exists(), reason="s5cmd is not installed beside this Python")
def test_s5cmd_lists_and_copies_a_series(address: DemoAddress, keys: dict[str, str], tmp_path: Path) -> None:
    series, _, instance = keys["CT_small.dcm"].partition("/")
    s5cmd = [str(S5CMD), "--no-sign-request", "--endpoint-url", address.endpoint]
    listed = subprocess.run(
        [*s5cmd, "ls", f"s3://idc-open-data/{series}/"],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert listed.stdout.split()[-1] == instance
    copy = [*s5cmd, "cp", f"s3://idc-open-data/{series}/*", f"{tmp_path}/"]
    subprocess.run(copy, capture_output=True, check=True, timeout=300)
    assert (tmp_path / instance).read_bytes() == Path(str(get_testdata_file("CT_small.dcm"))).read_bytes()


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
async def test_the_http_store_raises_the_errors_of_its_contract(
    address: DemoAddress, keys: dict[str, str], scheme: str
) -> None:
    async with open_http_store(endpoint=address.endpoint) as store:
        with pytest.raises(NotFoundError):
            await store.get_range(ObjectRef(address.bucket, "missing", scheme), ByteRange(0, 1))
        ref = ObjectRef(address.bucket, keys["big"], scheme)
        with pytest.raises(ObjectChangedError):
            await store.get_range(ref, ByteRange(0, 1), etag="another")


@pytest.mark.anyio
async def test_the_catalog_is_in_a_bucket_of_its_own(address: DemoAddress, tmp_path: Path) -> None:
    assert address.catalog_url == f"{address.endpoint}/{CATALOG_BUCKET}/{CATALOG_KEY}"
    async with aiohttp.ClientSession() as session, session.get(address.catalog_url) as answer:
        (tmp_path / "catalog.parquet").write_bytes(await answer.read())
    table = pq.read_table(tmp_path / "catalog.parquet", columns=["instanceCount"])
    assert table.num_rows == address.series
    assert sum(table["instanceCount"].to_pylist()) == address.instances


@pytest.mark.anyio
async def test_serve_demo_saves_the_catalog_and_calls_on_ready(root: Path, tmp_path: Path) -> None:
    catalog = tmp_path / "catalog.parquet"
    ready: list[DemoAddress] = []

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:

            def note(address: DemoAddress) -> None:
                ready.append(address)
                tasks.cancel_scope.cancel()

            async def serve() -> None:
                await serve_demo(root, on_ready=note, catalog=catalog)

            tasks.start_soon(serve)
    [address] = ready
    assert pq.read_metadata(catalog).num_rows == address.series
    with pytest.raises(ConnectionRefusedError):
        ask(address, "/")


def test_a_port_in_use_is_an_error_that_names_it(address: DemoAddress, root: Path) -> None:
    port = urlsplit(address.endpoint).port
    assert port is not None

    async def start() -> None:
        async with demo_bucket(root, port):
            pass

    with pytest.raises(ConfigError, match=str(port)):
        anyio.run(start)


def test_a_signal_stops_the_command_and_leaves_no_folder(root: Path, tmp_path: Path) -> None:
    with start("demo", "--root", root, "--port", "0", TMPDIR=str(tmp_path)) as process:
        assert process.stdout is not None
        while not process.stdout.readline().startswith("Stop it"):
            assert process.poll() is None
        assert [path.name.startswith("harvester-demo-") for path in tmp_path.iterdir()] == [True]
        process.send_signal(signal.SIGTERM)
        assert ended(process).status == 130
    assert list(tmp_path.iterdir()) == []


def test_two_runs_give_the_same_keys(root: Path, keys: dict[str, str]) -> None:
    assert {Path(instance.path).name: instance.key for instance in lay_out(root).instances} == keys


def test_a_reader_that_stalls_does_not_hold_up_the_end(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    os.truncate(tmp_path / "file", 1 << 30)
    [key] = (instance.key for instance in lay_out(tmp_path).instances)
    with start_blocking_portal() as portal:
        with portal.wrap_async_context_manager(demo_bucket(tmp_path)) as address:
            parts = urlsplit(address.endpoint)
            connection = socket.create_connection((parts.hostname, parts.port), timeout=300)
            connection.sendall(f"GET /idc-open-data/{key} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert connection.recv(100)
            started = time.monotonic()
        assert time.monotonic() - started < 10
    connection.close()


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/", 404),
        ("/idc-open-data?list-type=2&max-keys=many", 400),
        ("/storage/v1/b/no-such-bucket/o", 404),
        ("/storage/v1/b/idc-open-data/o?maxResults=x", 400),
    ],
)
def test_requests_that_cannot_be_served_are_errors(address: DemoAddress, target: str, status: int) -> None:
    assert ask(address, target).status == status
