"""Real servers for the stores: moto's S3, a GCS emulator and, where installed, nginx."""

import base64
import http.client
import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

SCAN = bytes(range(256)) * 40
OBJECTS = {
    "series/one.dcm": SCAN,
    "series/two.dcm": SCAN[::-1],
    "series/empty.dcm": b"",
    "series/folder/": b"",
    "series/odd/a b+c#d?e%25f&g;h=i.dcm": b"odd",
    "series/odd/Grüße-日本.dcm": b"unicode",
    "series2/other.dcm": b"another series",
}


@dataclass(frozen=True)
class Bucket:
    """A public bucket with `objects` at `endpoint`."""

    endpoint: str
    name: str
    objects: dict[str, bytes]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def moto_endpoint() -> Iterator[str]:
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - slow, and not every test needs it

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()
    server._server.server_close()


@pytest.fixture(scope="session")
def s3_bucket(moto_endpoint: str) -> Bucket:
    return Bucket(moto_endpoint, "scans", filled_s3(moto_endpoint, "scans", OBJECTS))


@pytest.fixture(scope="session")
def large_s3_bucket(moto_endpoint: str) -> Bucket:
    objects = {f"flat/{number:04d}.dcm": b"x" for number in range(1203)}
    return Bucket(moto_endpoint, "large", filled_s3(moto_endpoint, "large", objects))


def filled_s3(endpoint: str, bucket: str, objects: dict[str, bytes]) -> dict[str, bytes]:
    """Put objects into a public bucket, as its owner does."""
    host = endpoint.removeprefix("http://")
    connection = http.client.HTTPConnection(host)
    try:
        put(connection, f"/{bucket}", b"", {"x-amz-acl": "public-read"})
        for key, data in objects.items():
            put(connection, f"/{bucket}/{quote(key)}", data, {"x-amz-acl": "public-read"})
    finally:
        connection.close()
    return objects


def put(connection: http.client.HTTPConnection, path: str, data: bytes, headers: dict[str, str]) -> None:
    signed = {"Authorization": "AWS4-HMAC-SHA256 Credential=owner/20250101/us-east-1/s3/aws4_request"}
    connection.request("PUT", path, data, signed | headers)
    with connection.getresponse() as answer:
        said = answer.read()
    assert answer.status == 200, said


@pytest.fixture(scope="session")
def gcs_bucket() -> Iterator[Bucket]:
    from gcp_storage_emulator.server import create_server  # noqa: PLC0415 - the same

    # The emulator cannot keep a name that ends in a slash.
    objects = {key: data for key, data in OBJECTS.items() if not key.endswith("/")}
    server = create_server("127.0.0.1", 0, in_memory=True, default_bucket="scans")
    with server:
        host, port = server._api._httpd.server_address
        for key, data in objects.items():
            upload_to_gcs(f"{host}:{port}", "scans", key, data)
        yield Bucket(f"http://{host}:{port}", "scans", objects)


def upload_to_gcs(host: str, bucket: str, key: str, data: bytes) -> None:
    """Upload by the JSON API in two parts, the one way in which the emulator takes empty objects."""
    body = (
        b"--edge\r\nContent-Type: application/json\r\n\r\n"
        + json.dumps({"name": key}).encode("ascii")
        + b"\r\n--edge\r\nContent-Type: application/dicom\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + base64.b64encode(data)
        + b"\r\n--edge--"
    )
    connection = http.client.HTTPConnection(host)
    path = f"/upload/storage/v1/b/{bucket}/o?uploadType=multipart"
    connection.request("POST", path, body, {"Content-Type": 'multipart/related; boundary="edge"'})
    with connection.getresponse() as answer:
        said = answer.read()
    connection.close()
    assert answer.status == 200, said


@pytest.fixture(scope="session")
def nginx_bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    program = shutil.which("nginx", path="/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin") or (
        shutil.which("nginx")
    )
    if program is None:
        pytest.skip("nginx is not installed")
    root = tmp_path_factory.mktemp("nginx")
    objects = {key: data for key, data in OBJECTS.items() if not key.endswith("/")}
    for key, data in objects.items():
        path = root / "www" / "scans" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    port = free_port()
    configuration = root / "nginx.conf"
    configuration.write_text(nginx_configuration(root, port))
    command = [program, "-e", str(root / "error.log"), "-p", str(root), "-c", str(configuration)]
    subprocess.run(command, check=True, capture_output=True)  # returns when the port is bound
    yield Bucket(f"http://127.0.0.1:{port}", "scans", objects)
    subprocess.run([*command, "-s", "stop"], check=True, capture_output=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def nginx_configuration(root: Path, port: int) -> str:
    temporary = "".join(
        f"{kind}_temp_path {root}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return (
        f"pid {root}/nginx.pid; master_process off; events {{}}"
        f"http {{ access_log off; {temporary} max_ranges 1; etag on;"
        f"server {{ listen 127.0.0.1:{port}; root {root}/www; }} }}"
    )
