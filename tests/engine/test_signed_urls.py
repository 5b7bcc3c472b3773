"""Of signed URLs no signature is recorded, and a list that is signed anew names the same objects."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from handler_server import serving
from made_part10 import element, part10

import harvester
from harvester.dataset import Dataset
from harvester.errors import ConfigError
from harvester.model import ObjectRef


@contextmanager
def signed_server(objects: dict[str, bytes]) -> Iterator[str]:
    """Serves objects whose URL has a signature of today."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            _, _, query = self.path.partition("?")
            name = query.partition("&")[0].removeprefix("objectUID=")
            content = objects.get(name, b"") if "X-Amz-Signature=SECRET" in query else b""
            self.send_response(200 if content else 403)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    with serving(Handler) as url:
        yield f"{url}/wado"


def dicom(uid: str) -> bytes:
    return part10(element(0x00080018, "UI", uid.encode() + b"\0"))


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("https://h/a.dcm?X-Amz-Signature=SECRET&X-Amz-Expires=60", "https://h/a.dcm"),
        ("https://h/a.dcm?x%2Dgoog-signature=SECRET", "https://h/a.dcm"),
        ("https://h/wado?objectUID=1.2&access_token=SECRET", "https://h/wado?objectUID=1.2"),
        ("https://h/a.dcm?sv=1&sig=SECRET", "https://h/a.dcm?sv=1"),
        ("https://user:SECRET@h/a.dcm", "https://...@h/a.dcm"),
        ("https://h/a.dcm?versionId=7&", "https://h/a.dcm?versionId=7&"),
        ("s3://bucket/a?token=1", "s3://bucket/a?token=1"),
    ],
)
def test_a_url_is_recorded_without_its_signature(address: str, url: str) -> None:
    ref = ObjectRef.parse(address)
    assert (ref.address, ref.url) == (address, url)


def test_no_signature_is_recorded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    objects = {"1.2.1": dicom("1.2.1")}
    listed = tmp_path / "urls.txt"
    with signed_server(objects) as place:

        def crawl(signature: str, *, retry: bool = False) -> harvester.CrawlSummary:
            lines = (f"{place}?objectUID=1.2.{one}&X-Amz-Signature={signature}\n" for one in (1, 2))
            listed.write_text("".join(lines))
            config = {
                "dataset": str(tmp_path / "ds"),
                "select": {"urls": str(listed)},
                "limits": {"processes": 1},
            }
            return harvester.crawl(config, retry_failed=retry, progress=False)

        first = crawl("SECRET1")
        assert (first.instances, first.failures) == (1, 1)
        objects["1.2.2"] = dicom("1.2.2")
        retried = crawl("SECRET2", retry=True)
        assert (retried.instances, retried.failures) == (1, 0)
        assert crawl("SECRET3").skipped == 2
    for path in (tmp_path / "ds").rglob("*"):
        assert path.is_dir() or b"SECRET" not in path.read_bytes(), path
    with harvester.open_dataset(tmp_path / "ds") as dataset:
        urls = (
            dataset.sql("SELECT instance_url FROM instances ORDER BY 1").arrow()["instance_url"].to_pylist()
        )
    assert urls == [f"{place}?objectUID=1.2.{one}" for one in (1, 2)]
    (name, *_) = (tmp_path / "ds/_harvest/plans").iterdir()
    plan = Dataset.open(tmp_path / "ds").load_plan(name.stem)
    assert plan is not None
    assert [ref.ref.address for shard in plan.shards for ref in shard.series[0].objects] == urls
    assert "SECRET" not in caplog.text


def test_a_url_with_a_password_is_refused_without_it(tmp_path: Path) -> None:
    (tmp_path / "urls.txt").write_text("https://user:SECRET@host/a.dcm\n")
    with pytest.raises(ConfigError, match="cannot hold a user and a password") as error:
        harvester.plan({"dataset": "d", "select": {"urls": str(tmp_path / "urls.txt")}})
    assert "SECRET" not in str(error.value)
