"""Private buckets: moto, which verifies signatures, and a GCS stand-in that wants a bearer token."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import anyio
import google.auth
import google.oauth2.credentials
import pytest
from handler_server import serving
from private_buckets import NO_AWS, PrivateS3, private_s3
from retry_policies import NO_WAITING

from harvester.errors import AccessDeniedError, ConfigError
from harvester.model import ByteRange, ObjectRef
from harvester.store.http.signing import Signer
from harvester.store.open import OpenedStore, StoreSettings, open_store

KEY = "series/a b+c.dcm"
SIGNED = StoreSettings(retry=NO_WAITING, credentials="environment")


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in NO_AWS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def hospital() -> Iterator[PrivateS3]:
    with private_s3({KEY: b"0123456789"}) as bucket:
        yield bucket


async def listed_and_read(store: OpenedStore, prefix: ObjectRef) -> dict[str, bytes]:
    found = {}
    async for listed in store.list_objects(prefix):
        first = await store.get_range(listed.ref, ByteRange(0, 4))
        rest = await store.get_range(listed.ref, ByteRange(4, 10), etag=first.etag)
        found[listed.ref.key] = first.data + rest.data
    return found


def test_a_private_s3_bucket_is_read_with_the_environments_keys(hospital, monkeypatch):
    endpoint, keys = hospital.endpoint, hospital.keys
    for name, value in keys.items():
        monkeypatch.setenv(name, value)

    async def main() -> None:
        async with open_store(SIGNED, endpoint=endpoint) as store:
            assert await listed_and_read(store, ObjectRef("hospital", "series/")) == {KEY: b"0123456789"}

    anyio.run(main)


def test_a_wrong_key_is_refused_and_in_no_message(hospital, monkeypatch):
    endpoint, keys = hospital.endpoint, hospital.keys
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", keys["AWS_ACCESS_KEY_ID"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")

    async def main() -> None:
        async with open_store(SIGNED, endpoint=endpoint) as store:
            with pytest.raises(AccessDeniedError, match="with the credentials of the environment") as told:
                await store.get_range(ObjectRef("hospital", KEY), ByteRange(0, 4))
        assert "wrong-secret" not in str(told.value)
        assert "AWS4-HMAC" not in str(told.value)

    anyio.run(main)


def test_without_credentials_the_refusal_says_what_would_help(hospital):
    async def main() -> None:
        async with open_store(StoreSettings(retry=NO_WAITING), endpoint=hospital.endpoint) as store:
            with pytest.raises(AccessDeniedError, match=r"403.* without credentials: not public"):
                await store.get_range(ObjectRef("hospital", KEY), ByteRange(0, 4))

    anyio.run(main)


def test_missing_credentials_are_named(monkeypatch):
    def none(**_: object) -> None:
        raise google.auth.exceptions.DefaultCredentialsError

    monkeypatch.setattr(google.auth, "default", none)

    async def main() -> None:
        async with open_store(SIGNED, endpoint="http://127.0.0.1:9") as store:
            with pytest.raises(ConfigError, match="no AWS credentials found; set AWS_ACCESS_KEY_ID"):
                await store.get_range(ObjectRef("hospital", KEY), ByteRange(0, 4))
            with pytest.raises(ConfigError, match="no Google credentials found; set GOOGLE_APPLICATION"):
                await store.get_range(ObjectRef("hospital", KEY, "gs"), ByteRange(0, 4))

    anyio.run(main)


class Renewed(google.oauth2.credentials.Credentials):
    """Credentials whose token is another one after each renewal."""

    def __init__(self) -> None:
        super().__init__(None, quota_project_id="project")
        self.renewals = 0

    @property
    def valid(self) -> bool:
        return self.token is not None and self.token in ACCEPTED

    def refresh(self, request: object) -> None:  # noqa: ARG002
        self.renewals += 1
        self.token = f"token-{self.renewals}"
        ACCEPTED.append(self.token)


ACCEPTED: list[str] = []


@pytest.fixture
def private_gcs() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """The endpoint of a bucket that wants the last accepted token, and the headers that it got."""
    seen: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            seen.append(dict(self.headers.items()))
            body = b"0123"
            if self.headers.get("Authorization") != f"Bearer {ACCEPTED[-1] if ACCEPTED else ''}":
                self.send_response(401)
            else:
                self.send_response(206)
                self.send_header("Content-Range", "bytes 0-3/10")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with serving(Handler) as url:
        yield url, seen


def test_a_private_gcs_bucket_is_read_with_a_token_that_is_renewed(private_gcs, monkeypatch):
    endpoint, seen = private_gcs
    ACCEPTED.clear()
    credentials = Renewed()
    monkeypatch.setattr(google.auth, "default", lambda **_: (credentials, "project"))

    async def main() -> None:
        ref = ObjectRef("hospital", KEY, "gs")
        async with open_store(SIGNED, endpoint=endpoint) as store:
            for _ in range(2):
                assert (await store.get_range(ref, ByteRange(0, 4))).data == b"0123"
            assert credentials.renewals == 1
            ACCEPTED.clear()  # it expired
            assert (await store.get_range(ref, ByteRange(0, 4))).data == b"0123"
        assert credentials.renewals == 2
        assert all("x-goog-user-project" not in headers for headers in seen)

    anyio.run(main)


@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_requests_are_billed_only_where_that_is_written(scheme, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setattr(google.auth, "default", lambda **_: (Renewed(), "project"))

    async def billed(*, requester_pays: bool) -> bool:
        signer = Signer(requester_pays=requester_pays)
        ref = ObjectRef("hospital", KEY, scheme)
        headers = await signer.headers(ref, "https://hospital.example/x", {}, None)
        return bool({"x-amz-request-payer", "x-goog-user-project"}.intersection(map(str.lower, headers)))

    async def main() -> None:
        assert await billed(requester_pays=True)
        assert not await billed(requester_pays=False)

    anyio.run(main)


def test_other_servers_get_no_credentials():
    async def main() -> None:
        ref = ObjectRef("scans.example", "a", "https")
        assert await Signer().headers(ref, ref.url, {"Range": "bytes=0-1"}, None) == {"Range": "bytes=0-1"}

    anyio.run(main)
