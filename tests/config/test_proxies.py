import anyio
import pytest
from faulty_bucket import FaultyBucket, serving
from proxy_server import proxy
from retry_policies import NO_WAITING
from tls_servers import authority_file, server_context

from harvester.config.proxies import Proxies
from harvester.errors import ConfigError, EndpointUnreachableError, StoreError
from harvester.model import ByteRange, ObjectRef
from harvester.store.open import StoreSettings, open_store

OBJECTS = {f"a/{number}": bytes([number]) * 300 for number in range(5)}
VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


async def read_all(endpoint: str) -> dict[str, bytes]:
    """List a bucket, and read two ranges of each object."""
    read = {}
    async with open_store(StoreSettings(retry=NO_WAITING), endpoint=endpoint) as store:
        async for listed in store.list_objects(ObjectRef("scans", "a/")):
            first = await store.get_range(listed.ref, ByteRange(0, 100))
            rest = await store.get_range(listed.ref, ByteRange(100, 300), etag=first.etag)
            read[listed.ref.key] = first.data + rest.data
    return read


def test_ranges_and_listings_over_tls_go_through_the_tunnel(tmp_path, monkeypatch):
    async def main(port: int) -> None:
        async with serving(FaultyBucket(OBJECTS), server_context("127.0.0.1")) as bucket:
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
            monkeypatch.setenv("SSL_CERT_FILE", str(authority_file(tmp_path)))
            assert await read_all(f"https://127.0.0.1:{bucket.port}") == OBJECTS
            assert bucket.requests == 11

    with proxy(tmp_path) as running:
        anyio.run(main, running.port)
        assert running.connects() >= 1


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY", "http_proxy"])
def test_plain_requests_go_through_the_proxy(tmp_path, monkeypatch, variable):
    async def main(port: int) -> None:
        async with serving(FaultyBucket(OBJECTS)) as bucket:
            # As lower case alone is safe from a CGI's headers, curl and urllib read HTTP_PROXY in it, too.
            monkeypatch.setenv(variable, f"http://127.0.0.1:{port}")
            assert await read_all(bucket.endpoint) == OBJECTS

    with proxy(tmp_path) as running:
        anyio.run(main, running.port)
        assert running.gets() == 11


def test_a_password_of_the_proxy_is_sent_and_in_no_message(tmp_path, monkeypatch, caplog):
    async def main(port: int) -> None:
        async with serving(FaultyBucket(OBJECTS), server_context("127.0.0.1")) as bucket:
            monkeypatch.setenv("SSL_CERT_FILE", str(authority_file(tmp_path)))
            endpoint = f"https://127.0.0.1:{bucket.port}"
            monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret@127.0.0.1:{port}")
            assert await read_all(endpoint) == OBJECTS
            for wrong in (f"http://127.0.0.1:{port}", f"http://me:wrong-secret@127.0.0.1:{port}"):
                monkeypatch.setenv("HTTPS_PROXY", wrong)
                async with open_store(endpoint=endpoint) as store:
                    with pytest.raises(EndpointUnreachableError, match="requires a valid user name") as told:
                        await store.get_range(ObjectRef("scans", "a/1"), ByteRange(0, 9))
                assert "secret" not in str(told.value)

    with proxy(tmp_path, "BasicAuth me secret") as running:
        anyio.run(main, running.port)
    assert "secret" not in caplog.text


def test_a_proxy_that_is_gone_is_named(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://me:secret@127.0.0.1:9")

    async def main() -> None:
        async with open_store() as store:
            with pytest.raises(StoreError, match=r"the proxy 127\.0\.0\.1:9 refuses connections") as told:
                await store.get_range(ObjectRef("idc-open-data", "a/1"), ByteRange(0, 9))
        assert "secret" not in str(told.value)

    anyio.run(main)


@pytest.mark.parametrize(
    ("no_proxy", "url", "is_direct"),
    [
        ("scans.example", "https://scans.example/a", True),
        ("scans.example", "https://other.example/a", False),
        (".example", "https://scans.example/a", True),
        ("example", "https://scans.example/a", True),
        ("scans.example:8443", "https://scans.example:8443/a", True),
        ("scans.example:8443", "https://scans.example/a", False),
        ("10.0.0.0/8,192.168.1.7", "https://10.1.2.3:9000/a", True),
        ("10.0.0.0/8,192.168.1.7", "https://192.168.1.7/a", True),
        ("10.0.0.0/8", "https://11.1.2.3/a", False),
        ("10.0.0.0/8:9000", "https://10.1.2.3:9000/a", True),
        ("10.0.0.0/8:9000", "https://10.1.2.3/a", False),
        ("fd00::/8", "https://[fd00::1]/a", True),
        ("fd00::/8:9000,[fd01::1]:9000", "https://[fd00::1]:9000/a", True),
        ("fd00::/8:9000,[fd01::1]:9000", "https://[fd01::1]:9000/a", True),
        ("[fd01::1]:9000", "https://[fd01::1]/a", False),
        ("*.example", "https://scans.example/a", True),
        ("*", "https://scans.example/a", True),
        ("", "https://scans.example/a", False),
    ],
)
def test_hosts_suffixes_networks_and_ports_are_direct(no_proxy, url, is_direct):
    proxies = Proxies({"https": "http://proxy.example:3128", "no": no_proxy})
    assert (proxies.of(url) is None) is is_direct


def test_each_scheme_has_its_proxy_and_all_has_the_rest():
    proxies = Proxies({"https": "proxy.example:3128", "all": "http://rest.example:8080"})
    assert str(proxies.of("https://a.example/b")) == "http://proxy.example:3128"
    assert str(proxies.of("http://a.example/b")) == "http://rest.example:8080"


@pytest.mark.parametrize("text", ["socks5://me:secret@proxy.example:1080", "http://", "ftp://proxy.example"])
def test_a_proxy_that_cannot_be_used_is_refused_without_its_password(text):
    with pytest.raises(ConfigError, match=r"HTTPS_PROXY .* SOCKS") as told:
        Proxies({"https": text})
    assert "secret" not in str(told.value)
