import ssl
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp.abc import AbstractResolver
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from unkind_server import answering, http, partial
from yarl import URL

from harvester.errors import ConfigError, RequestRejectedError
from harvester.model import ByteRange, ObjectRef
from harvester.store.http.store import open_http_store
from harvester.store.http.urls import (
    checked_endpoint,
    is_region,
    json_listing_url,
    object_url,
    redirect_target,
    xml_listing_url,
)


@pytest.mark.parametrize(
    ("ref", "expected"),
    [
        (ObjectRef("scans", "a/b.dcm"), "https://scans.s3.amazonaws.com/a/b.dcm"),
        (ObjectRef("my.scans", "a"), "https://s3.amazonaws.com/my.scans/a"),
        (ObjectRef("Old_Scans", "a"), "https://s3.amazonaws.com/Old_Scans/a"),
        (ObjectRef("scans", "a/b.dcm", "gs"), "https://storage.googleapis.com/scans/a/b.dcm"),
        (
            ObjectRef("scans", "a b+c#d?e%f", "gs"),
            "https://storage.googleapis.com/scans/a%20b%2Bc%23d%3Fe%25f",
        ),
        (ObjectRef("scans", "ü/日.dcm"), "https://scans.s3.amazonaws.com/%C3%BC/%E6%97%A5.dcm"),
        (ObjectRef("scans", "a/../b//./c/"), "https://scans.s3.amazonaws.com/a/../b//./c/"),
        (ObjectRef("scans", "a\r\nX: 1"), "https://scans.s3.amazonaws.com/a%0D%0AX%3A%201"),
        (ObjectRef("host:8080", "a/b?c=%2B", "http"), "http://host:8080/a/b?c=%2B"),
        (ObjectRef("host", "a b#c\r\n", "https"), "https://host/a%20b%23c%0D%0A"),
        (ObjectRef("[::1]:8080", "a", "http"), "http://[::1]:8080/a"),
    ],
)
def test_an_object_has_one_address(ref, expected):
    assert object_url(ref) == expected


def test_a_region_and_an_endpoint_take_their_places():
    ref = ObjectRef("scans", "a+b")
    assert str(object_url(ref, region="eu-west-1")) == "https://scans.s3.eu-west-1.amazonaws.com/a%2Bb"
    assert str(object_url(ref, endpoint="http://h:9000/p")) == "http://h:9000/p/scans/a%2Bb"
    dotted = ObjectRef("my.scans", "a")
    assert str(object_url(dotted, region="eu-west-1")) == "https://s3.eu-west-1.amazonaws.com/my.scans/a"


@pytest.mark.parametrize(
    "ref",
    [
        ObjectRef("evil.example#", "a"),
        ObjectRef("evil.example/", "a"),
        ObjectRef("user@evil.example", "a", "gs"),
        ObjectRef("..", "a", "gs"),
        ObjectRef("", "a"),
        ObjectRef("scans", ""),
        ObjectRef("user:secret@host", "a", "https"),
        ObjectRef("höst", "a", "https"),
        ObjectRef("host:99999", "a", "https"),
        ObjectRef("scans", "half \ud800"),
        ObjectRef("host", "half \ud800", "http"),
        ObjectRef("", "/etc/passwd", "file"),
    ],
)
def test_a_bucket_or_a_key_cannot_name_another_host(ref):
    with pytest.raises(RequestRejectedError):
        object_url(ref)


def test_a_listing_keeps_the_prefix_and_the_token_apart():
    prefix = ObjectRef("scans", "a&b=c/ü +")
    query = URL(xml_listing_url(prefix, "t&o+k=", endpoint="http://h"), encoded=True).query
    assert query["prefix"] == "a&b=c/ü +"
    assert query["continuation-token"] == "t&o+k="
    assert query["list-type"] == "2"
    address = URL(json_listing_url(ObjectRef("scans", "a&b=c/ü +", "gs"), "t&o+k="), encoded=True)
    assert (address.host, address.path) == ("storage.googleapis.com", "/storage/v1/b/scans/o")
    assert (address.query["prefix"], address.query["pageToken"]) == ("a&b=c/ü +", "t&o+k=")


def test_an_endpoint_loses_its_slash():
    assert checked_endpoint("http://127.0.0.1:9000/") == "http://127.0.0.1:9000"
    with pytest.raises(ConfigError, match="endpoint"):
        checked_endpoint("s3://scans")


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/b", "http://host/b"),
        ("c?d=%2B#e", "http://host/a/c?d=%2B"),
        ("http://host/b", "http://host/b"),
        ("https://host/b", "https://host/b"),
        ("http://host:81/b", None),
        ("https://host:444/b", None),
        ("http://other/b", None),
        ("//other/b", None),
        ("http://user:secret@host/b", None),
        ("ftp://host/b", None),
        ("http://[host/b", None),
        ("http://host:99999/", None),
    ],
)
def test_a_redirect_stays_on_its_host(location, expected):
    target = redirect_target("http://host/a/x", location)
    assert target == expected


def test_a_redirect_does_not_leave_encryption():
    assert redirect_target("https://host/a", "http://host/b") is None
    assert redirect_target("https://host/a", "http://host:443/b") is None


def test_a_region_is_no_host_name():
    assert is_region("us-east-1")
    assert is_region("us-gov-west-1")
    for name in ("", "evil.example/", "us-east-1.evil.example", "us-east-1\n", "localhost"):
        assert not is_region(name)


class LoopbackResolver(AbstractResolver):
    """Every name leads to one port of this machine, so that the real names are tested."""

    def __init__(self, port):
        self.port = port
        self.names = []

    async def resolve(self, host, port=0, family=0):
        del port
        self.names.append(host)
        found = {"hostname": host, "host": "127.0.0.1", "port": self.port, "family": family}
        return [found | {"proto": 0, "flags": 0}]

    async def close(self):
        pass


@pytest.fixture
def certificate(tmp_path):
    """A certificate for the buckets' real host names, and the key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "stand-in")])
    names = [x509.DNSName("*.s3.amazonaws.com"), x509.DNSName("*.s3.eu-west-1.amazonaws.com")]
    now = datetime.now(tz=UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "certificate.pem"
    pem, none = serialization.Encoding.PEM, serialization.NoEncryption()
    path.write_bytes(
        signed.public_bytes(pem) + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, none)
    )
    return path


@pytest.mark.anyio
async def test_a_bucket_of_another_region_is_found_once_and_remembered(certificate):
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(certificate)
    moved = http(
        301, Location="https://evil.example/", **{"x-amz-bucket-region": "eu-west-1", "Connection": "close"}
    )
    async with answering(moved, partial(0, b"ab", 2), tls=server_side) as server:
        resolver = LoopbackResolver(server.port)
        tls = ssl.create_default_context(cafile=str(certificate))
        async with open_http_store(tls=lambda: tls, resolver=resolver) as store:
            first = await store.get_range(ObjectRef("scans", "one"), ByteRange(0, 2))
            second = await store.get_range(ObjectRef("scans", "one"), ByteRange(0, 2))
    assert (first.requests, second.requests) == (2, 1)
    regional = "scans.s3.eu-west-1.amazonaws.com"
    assert server.sent("Host") == ["scans.s3.amazonaws.com", regional, regional]
    assert set(resolver.names) == {"scans.s3.amazonaws.com", regional}
