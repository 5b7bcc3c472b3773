"""Catalogs behind an address: fetched within bounds, deleted afterwards."""

import io
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harvester.catalog import open_catalog, parquet_source
from harvester.config import CrawlConfig
from harvester.errors import ConfigError


def parquet() -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({"series_aws_url": ["s3://bucket/x/*"]}), file)
    return file.getvalue()


@contextmanager
def server(answer):
    """An HTTP server on loopback whose GET is `answer(handler)`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            answer(self)

        def log_message(self, *arguments):
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = False  # closing waits for them

    with Server(("127.0.0.1", 0), Handler) as running:
        thread = Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{running.server_port}/catalog.parquet"
        finally:
            running.shutdown()
            thread.join()


def sends(body: bytes, status: int = 200, **headers):
    def answer(handler):
        handler.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def crawl(address: str) -> CrawlConfig:
    return CrawlConfig.model_validate({"dataset": "d", "source": {"catalog": address}})


def complaint(address: str) -> str:
    with pytest.raises(ConfigError) as caught:
        open_catalog(crawl(address))
    assert "\n" not in str(caught.value)
    assert address in str(caught.value)
    return str(caught.value)


@pytest.fixture(autouse=True)
def downloads(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_a_catalog_behind_an_address_is_read_and_then_deleted(downloads):
    with server(sends(parquet())) as address, open_catalog(crawl(address)) as catalog:
        assert catalog.name == address
        assert [one.key for one in catalog.series()] == ["s3://bucket/x/*"]
        assert list(downloads.iterdir())
    assert not list(downloads.iterdir())


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (sends(b"", 404), "Not Found"),
        (sends(b"<html>"), "is not a Parquet file"),
        (sends(b"PAR1 and nothing more"), "not a whole one"),
        (sends(b"PAR1" + bytes(5000) + b"\xff\xff\xff\x7fPAR1"), "not a whole one"),
        (sends(b"PAR1" + bytes(5000) + b"\x10\0\0\0PAR1"), "not a whole one"),
        (sends(parquet(), Content_Length="100000"), "100000"),
        (sends(b"", 302, Location="file:///etc/hostname"), "file:///etc/hostname"),
        (sends(b"", 302, Location="ftp://127.0.0.1/x"), "ftp://127.0.0.1/x"),
    ],
)
def test_an_answer_that_is_no_catalog_is_one_line_and_leaves_nothing(downloads, answer, expected):
    with server(answer) as address:
        message = complaint(address)
    assert expected in message
    assert not list(downloads.iterdir())


def test_a_catalog_without_end_is_given_up(monkeypatch, downloads):
    monkeypatch.setattr(parquet_source, "MAX_DOWNLOAD_BYTES", 1000)
    with server(sends(b"PAR1" * 1000)) as address:
        assert "download it yourself" in complaint(address)
    assert not list(downloads.iterdir())


def test_a_silent_server_is_given_up(monkeypatch):
    monkeypatch.setattr(parquet_source, "SILENCE_SECONDS", 0.2)
    with server(lambda handler: handler.rfile.read(1)) as address:
        assert "timed out" in complaint(address)


def test_nobody_at_the_address_is_one_line():
    with server(sends(b"")) as address:
        pass
    assert "refused" in complaint(address)


def test_a_path_that_would_be_a_pattern_is_refused(tmp_path):
    path = tmp_path / "a[1].parquet"
    path.write_bytes(parquet())
    assert "read as a pattern" in complaint(str(path))


def test_a_file_that_is_no_parquet_is_refused(tmp_path):
    path = tmp_path / "catalog.csv"
    path.write_text("a,b")
    assert "is not a Parquet file" in complaint(str(path))


@pytest.mark.parametrize(
    ("source", "schemes"),
    [
        ({}, ["s3"]),
        ({"provider": "gcs"}, ["s3"]),
        ({"failover": True}, ["s3", "gs"]),
        ({"provider": "gcs", "failover": True}, ["gs", "s3"]),
    ],
)
def test_a_private_bucket_has_a_copy_elsewhere_only_if_failover_is_set(tmp_path, source, schemes):
    path = tmp_path / "catalog.parquet"
    columns = {"series_aws_url": ["s3://hospital/x/*"], "SeriesInstanceUID": ["1.2.3"]}
    pq.write_table(pa.table(columns), path)
    config = {"dataset": "d", "source": {"catalog": str(path), **source}}
    with open_catalog(CrawlConfig.model_validate(config)) as catalog:
        (series,) = catalog.series()
    assert [prefix.scheme for prefix in series.prefixes] == schemes
