import anyio
import pytest
from faulty_bucket import FaultyBucket, serving
from tls_servers import authority_file, lead_to_loopback, server_context

from harvester.config.certificates import trusted_certificates
from harvester.errors import ConfigError, EndpointUnreachableError
from harvester.model import ByteRange, ObjectRef
from harvester.store.open import StoreSettings, open_store

NAMES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE")
HOSTS = ("idc-open-data.s3.amazonaws.com", "storage.googleapis.com")
OBJECTS = {"1": b"0123456789", "a/1": b"0123456789"}  # by the paths of either style
COPIES = (ObjectRef("idc-open-data", "a/1"), ObjectRef("idc-open-data", "a/1", "gs"))


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("setting", [*NAMES, "ca_bundle", None])
def test_the_real_hosts_are_read_with_a_named_authority_and_not_without(tmp_path, monkeypatch, setting):
    path = authority_file(tmp_path)
    if setting == "SSL_CERT_DIR":
        folder = tmp_path / "certificates"
        folder.mkdir()
        (folder / hash_name(path)).write_bytes(path.read_bytes())
        monkeypatch.setenv(setting, str(folder))
    elif setting in NAMES:
        monkeypatch.setenv(setting, str(path))
    settings = StoreSettings(ca_bundle=str(path) if setting == "ca_bundle" else None)

    async def main() -> None:
        async with serving(FaultyBucket(OBJECTS), server_context(*HOSTS)) as bucket:
            lead_to_loopback(monkeypatch, "s.com", bucket.port)
            async with open_store(settings) as store:
                for ref in COPIES:
                    if setting is None:
                        with pytest.raises(EndpointUnreachableError, match="is not trusted"):
                            await store.get_range(ref, ByteRange(2, 5))
                    else:
                        assert (await store.get_range(ref, ByteRange(2, 5))).data == b"234"

    anyio.run(main)


def hash_name(path) -> str:
    """The name that OpenSSL looks a certificate up by."""
    import subprocess  # noqa: PLC0415

    command = ["openssl", "x509", "-noout", "-subject_hash", "-in", str(path)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip() + ".0"


def test_a_bundle_that_is_missing_or_no_certificate_is_refused(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"source\.ca_bundle = .*no such file"):
        trusted_certificates(str(tmp_path / "none.pem"))
    (tmp_path / "text.pem").write_text("nothing")
    with pytest.raises(ConfigError, match="is not a file of PEM certificates"):
        trusted_certificates(str(tmp_path / "text.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    with pytest.raises(ConfigError, match="SSL_CERT_FILE"):
        trusted_certificates()


def test_without_a_setting_the_systems_certificates_count():
    assert trusted_certificates() is None
