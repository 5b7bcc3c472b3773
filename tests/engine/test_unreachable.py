"""A crawl that cannot reach any server ends at once with the cause, and with exit status 2."""

import logging
import socket
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from faulty_bucket import FaultyBucket, serving
from private_buckets import NO_AWS
from pydicom.data import get_testdata_file
from tls_servers import lead_to_loopback, server_context

from harvester.config import CrawlConfig
from harvester.engine.crawl import CrawlResult, crawl
from harvester.engine.shard import CrawlProgress
from harvester.errors import ConfigError, EndpointUnreachableError, UserError

CONTENT = Path(str(get_testdata_file("CT_small.dcm"))).read_bytes()
KEYS = [f"{series}/{number}.dcm" for series in range(3) for number in range(10)]


async def crawled(
    folder: Path, *bases: str, source: dict[str, str] | None = None, **limits: Any
) -> CrawlResult:
    urls = folder / "urls.txt"
    urls.write_text("".join(f"{base}/{key}\n" for base in bases for key in KEYS))
    config = {
        "dataset": str(folder / "dataset"),
        "source": {"catalog": "listing", **(source or {})},
        "select": {"urls": str(urls)},
        "limits": {"processes": 1, "shard_instances": 5, **limits},
    }
    return await crawl(CrawlConfig.model_validate(config), CrawlProgress())


def closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def test_a_refused_port_ends_the_crawl_and_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    base = f"http://127.0.0.1:{closed_port()}"
    with caplog.at_level(logging.WARNING, "harvester"), pytest.raises(EndpointUnreachableError) as caught:
        anyio.run(crawled, tmp_path, base)
    assert isinstance(caught.value, UserError)
    assert "refuses connections; check the host, the port" in str(caught.value)
    assert any("refuses connections" in record.message for record in caplog.records)


def test_an_unknown_host_ends_the_crawl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def no_such_name(*_: Any, **__: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_such_name)
    with pytest.raises(EndpointUnreachableError, match=r"the host name scans\.example does not exist"):
        anyio.run(crawled, tmp_path, "https://scans.example")


def test_an_untrusted_certificate_ends_the_crawl_and_names_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async def run() -> None:
        tls = server_context("idc-open-data.s3.amazonaws.com")
        async with serving(FaultyBucket(dict.fromkeys(KEYS, CONTENT)), tls) as bucket:
            lead_to_loopback(monkeypatch, ".amazonaws.com", bucket.port)
            with pytest.raises(EndpointUnreachableError, match=r"is not trusted .*SSL_CERT_FILE or \[source"):
                await crawled(tmp_path, "s3://idc-open-data")

    anyio.run(run)


def test_a_host_that_cannot_be_reached_costs_no_object_of_another(tmp_path: Path):
    async def run() -> CrawlResult:
        async with serving(FaultyBucket(dict.fromkeys(KEYS, CONTENT))) as bucket:
            return await crawled(
                tmp_path, f"{bucket.endpoint}/b", f"http://127.0.0.1:{closed_port()}", shard_instances=100
            )

    result = anyio.run(run)
    assert (result.instances, result.failures) == (len(KEYS), len(KEYS))


def test_missing_credentials_end_the_crawl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in NO_AWS.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="no AWS credentials found; set AWS_ACCESS_KEY_ID"):
        anyio.run(partial(crawled, tmp_path, "s3://hospital", source={"credentials": "environment"}))


def test_credentials_that_cannot_be_fetched_end_the_crawl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name, value in NO_AWS.items():
        monkeypatch.setenv(name, value)
    role = f"http://127.0.0.1:{closed_port()}/role"
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", role)
    monkeypatch.setattr("botocore.utils.ContainerMetadataFetcher.SLEEP_TIME", 0)
    with pytest.raises(ConfigError, match="AWS credentials cannot be read: Error when retrieving"):
        anyio.run(partial(crawled, tmp_path, "s3://hospital", source={"credentials": "environment"}))
