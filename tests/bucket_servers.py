"""Servers in place of the clouds' buckets, each in its own process, which accept writes.

In this process they could not run: pyarrow keeps Python's lock while it waits for some answers.
"""

import http.client
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote

MOTO = """
import logging, sys
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=True)
print(server.server_port, flush=True)
server.serve_forever()
"""

# The emulator ignores conditions. As Google documents them, the response is 412 to a generation other than
# the object's, or to 0 if the object exists.
GCS = """
import sys, threading
from functools import partial
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from gcp_storage_emulator import server as emulator
from gcp_storage_emulator.exceptions import NotFound
from gcp_storage_emulator.handlers import objects

changing, upload = threading.Lock(), objects._media_upload

def conditional(request, response, storage):
    (wanted,) = request.query.get("ifGenerationMatch", [None])
    with changing:
        try:
            bucket, name = request.params["bucket_name"], request.query["name"][0]
            there = str(storage.get_file_obj(bucket, name)["generation"])
        except NotFound:
            there = "0"
        if sys.argv[1:] != ["--deaf"] and wanted is not None and wanted != there:
            response.status = HTTPStatus.PRECONDITION_FAILED
            return None
        return upload(request, response, storage)

objects._media_upload = conditional
server = emulator.create_server("127.0.0.1", 0, in_memory=True, default_bucket="scans")
handler = partial(emulator.RequestHandler, server._api._storage)
listening = ThreadingHTTPServer(("127.0.0.1", 0), handler)
print(listening.server_port, flush=True)
listening.serve_forever()
"""

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "owner",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_EC2_METADATA_DISABLED": "true",
    "NO_GCE_CHECK": "true",
}


@dataclass(frozen=True)
class Bucket:
    """An empty bucket; `scheme` is `s3` or `gs`."""

    scheme: str
    name: str
    endpoint: str

    def place(self, prefix: str) -> str:
        """The URL of a dataset in the bucket."""
        return f"{self.scheme}://{self.name}/{prefix}?endpoint={self.endpoint}"


@contextmanager
def running(program: str, *arguments: str) -> Iterator[str]:
    """Run a server; yields its endpoint."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **CREDENTIALS},
    )
    assert process.stdout is not None
    try:
        port = process.stdout.readline().strip()
        assert port, "the server did not start"
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.communicate()


@contextmanager
def s3_bucket(name: str = "datasets") -> Iterator[Bucket]:
    """moto's S3."""
    with running(MOTO) as endpoint:
        asked(endpoint, "PUT", f"/{name}")
        yield Bucket("s3", name, endpoint)


@contextmanager
def gcs_bucket(*arguments: str) -> Iterator[Bucket]:
    """The emulator of Google Cloud Storage; `--deaf` makes it ignore conditions."""
    with running(GCS, *arguments) as endpoint:
        yield Bucket("gs", "scans", endpoint)


def asked(endpoint: str, method: str, path: str, body: bytes = b"") -> bytes:
    """One request, signed as far as moto checks."""
    signed = {"Authorization": "AWS4-HMAC-SHA256 Credential=owner/20250101/us-east-1/s3/aws4_request"}
    connection = http.client.HTTPConnection(endpoint.removeprefix("http://"))
    try:
        connection.request(method, quote(path, safe="/?=&"), body, signed)
        with connection.getresponse() as answer:
            said = answer.read()
            assert answer.status < 300, said
            return said
    finally:
        connection.close()
