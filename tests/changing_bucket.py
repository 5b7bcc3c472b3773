"""A bucket on loopback whose objects a test changes, and catalogs of several releases of its content."""

import json
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import md5
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import pyarrow as pa
import pyarrow.parquet as pq
from handler_server import serving
from made_part10 import element, part10

BUCKET = "idc-open-data"


@dataclass
class ChangingBucket:
    """The objects by key, and the requests."""

    endpoint: str = ""
    objects: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    listed: list[str] = field(default_factory=list)

    def forget(self) -> None:
        self.asked.clear()
        self.listed.clear()

    def json_page(self, prefix: str) -> bytes:
        """A listing of Google Cloud Storage's JSON API."""
        self.listed.append(prefix)
        items = [
            {"name": key, "size": str(len(data)), "md5Hash": b64encode(bytes.fromhex(etag(data))).decode()}
            for key, data in sorted(self.objects.items())
            if key.startswith(prefix)
        ]
        return json.dumps({"kind": "storage#objects", "items": items}).encode()

    def page(self, prefix: str) -> bytes:
        """A listing of S3."""
        self.listed.append(prefix)
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(data)}</Size>"
            f"<ETag>&quot;{etag(data)}&quot;</ETag></Contents>"
            for key, data in sorted(self.objects.items())
            if key.startswith(prefix)
        )
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>".encode()


def etag(data: bytes) -> str:
    return md5(data, usedforsecurity=False).hexdigest()


@contextmanager
def changing_bucket() -> Iterator[ChangingBucket]:
    """Serve a bucket of any name from a thread."""
    bucket = ChangingBucket()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            target = urlsplit(self.path)
            key = unquote(target.path).split("/", 2)[2] if target.path.count("/") > 1 else ""
            prefix = parse_qs(target.query).get("prefix", [""])[0]
            if target.path.startswith("/storage/v1/"):
                self.answer(200, bucket.json_page(prefix), {"Content-Type": "application/json"})
                return
            if not key:
                self.answer(200, bucket.page(prefix), {})
                return
            bucket.asked.append(key)
            data = bucket.objects.get(key)
            found = re.match(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            if data is None or found is None:
                self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>", {})
                return
            start, stop = int(found[1]), min(int(found[2]) + 1, len(data))
            where = {"Content-Range": f"bytes {start}-{stop - 1}/{len(data)}", "ETag": f'"{etag(data)}"'}
            self.answer(206, data[start:stop], where)

        def answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    with serving(Handler) as url:
        bucket.endpoint = url
        yield bucket


def uuid(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-000000000000"


def dicom(series: str, instance: str, *, padding: int = 0) -> bytes:
    """A small CT image's header."""
    return part10(
        element(0x00080016, "UI", b"1.2.840.10008.5.1.4.1.1.2\0"),
        element(0x00080018, "UI", _even(instance)),
        element(0x00080060, "CS", b"CT"),
        element(0x0020000D, "UI", b"1.1\0"),
        element(0x0020000E, "UI", _even(series)),
        element(0x00204000, "LT", b"x" * 2 * padding),
    )


def _even(text: str) -> bytes:
    return (text + "\0" * (len(text) % 2)).encode()


@dataclass(frozen=True)
class MadeSeries:
    """A series of a release: its UUID and the UUIDs of its instances, by their UIDs."""

    uid: str
    uuid: str
    instances: Mapping[str, str]
    collection_id: str = "one"


def put(bucket: ChangingBucket, *series: MadeSeries) -> None:
    """Put series into the bucket in IDC's layout."""
    for one in series:
        for uid, name in one.instances.items():
            bucket.objects[f"{one.uuid}/{name}.dcm"] = dicom(one.uid, uid)


def release(path: Path, number: int, *series: MadeSeries) -> Path:
    """The catalog of a release."""
    rows = [
        {
            "collection_id": one.collection_id,
            "Modality": "CT",
            "SeriesInstanceUID": one.uid,
            "crdc_series_uuid": one.uuid,
            "series_aws_url": f"s3://{BUCKET}/{one.uuid}/*",
            "instanceCount": len(one.instances),
            "series_size_MB": 0.001,
            "series_revised_idc_version": number,
        }
        for one in series
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def toml(bucket: ChangingBucket, folder: Path, *, source: str = "", select: str = "") -> Path:
    """A crawl of the bucket into `folder`/dataset."""
    path = folder / "crawl.toml"
    path.write_text(
        f'dataset = "{folder}/dataset"\n[source]\nprovider = "aws"\nendpoint = "{bucket.endpoint}"\n'
        f"{source}\n[select]\n{select}\n[limits]\nprocesses = 1\n"
    )
    return path
