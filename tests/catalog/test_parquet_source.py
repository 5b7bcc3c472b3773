"""Catalogs behind an address: fetched within bounds, deleted afterwards."""

import io
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from proxy_server import proxy
from tls_servers import authority_file, server_context

from harvester.catalog import open_catalog, parquet_source
from harvester.config import CrawlConfig
from harvester.errors import ConfigError


def parquet() -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({"series_aws_url": ["s3://bucket/x/*"]}), file)
    return file.getvalue()


@contextmanager
def server(answer, tls=None):
    """An HTTP server on loopback, over TLS if a context is given, whose GET is `answer(handler)`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            answer(self)

        def log_message(self, *arguments):
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = False  # closing waits for them

    with Server(("127.0.0.1", 0), Handler) as running:
        if tls is not None:
            running.socket = tls.wrap_socket(running.socket, server_side=True)
        thread = Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http{'s' if tls else ''}://127.0.0.1:{running.server_port}/catalog.parquet"
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


def crawl(address: str, **source: str) -> CrawlConfig:
    return CrawlConfig.model_validate({"dataset": "d", "source": {"catalog": address, **source}})


@pytest.fixture
def no_proxies(monkeypatch):
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.usefixtures("no_proxies")
def test_a_catalog_behind_an_authority_of_ones_own_is_read_with_the_bundle_and_not_without(tmp_path):
    with server(sends(parquet()), server_context("127.0.0.1")) as address:
        with open_catalog(crawl(address, ca_bundle=str(authority_file(tmp_path)))) as catalog:
            assert catalog.summary().total.series == 1
        with pytest.raises(ConfigError, match="certificate verify failed"):
            open_catalog(crawl(address))


@pytest.mark.usefixtures("no_proxies")
def test_a_catalog_is_read_through_the_proxy_unless_its_network_is_excepted(tmp_path, monkeypatch):
    with server(sends(parquet())) as address, proxy(tmp_path, "BasicAuth me secret") as running:
        monkeypatch.setenv("ALL_PROXY", f"http://me:secret@127.0.0.1:{running.port}")
        open_catalog(crawl(address)).close()
        assert running.gets() == 1
        monkeypatch.setenv("NO_PROXY", "127.0.0.0/8")
        open_catalog(crawl(address)).close()
        assert running.gets() == 1


@pytest.mark.usefixtures("no_proxies")
def test_a_catalog_over_tls_goes_through_the_tunnel(tmp_path, monkeypatch):
    with server(sends(parquet()), server_context("127.0.0.1")) as address, proxy(tmp_path) as running:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{running.port}")
        open_catalog(crawl(address, ca_bundle=str(authority_file(tmp_path)))).close()
        assert running.connects() > 0


def test_the_query_of_a_presigned_catalog_is_in_no_message():
    with server(sends(b"nothing", 403)) as address, pytest.raises(ConfigError, match="Forbidden") as told:
        open_catalog(crawl(f"{address}?X-Amz-Signature=secret"))
    assert "secret" not in str(told.value)
    with server(sends(parquet())) as address, open_catalog(crawl(f"{address}?sig=secret")) as catalog:
        assert "secret" not in catalog.name


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
    assert complaint(address).endswith(
        f"{address}: nothing answers at this address (connection refused); "
        "check the port, and that the server runs"
    )


def test_nobody_at_the_proxy_is_said_of_the_proxy_without_its_password(monkeypatch):
    with server(sends(b"")) as address:
        place = address.split("/")[2]
    monkeypatch.setenv("HTTP_PROXY", f"http://me:secret@{place}")
    told = complaint("http://catalog.example/catalog.parquet")
    assert f"nothing answers at the proxy {place} " in told
    assert "secret" not in told


def test_a_host_that_does_not_exist_is_said_in_words():
    told = complaint("http://catalog.invalid/catalog.parquet")
    assert "Errno" not in told


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
