"""Buckets that any test can write to, and signals as a person's shell has them."""

import os
import signal
from collections.abc import Iterator

import pytest
from bucket_servers import CREDENTIALS, Bucket, gcs_bucket, s3_bucket


@pytest.fixture(scope="session", autouse=True)
def heard_interrupts() -> None:
    """A shell that starts us in the background has SIGINT ignored, and our programs would inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def writable_s3() -> Iterator[Bucket]:
    with s3_bucket() as bucket:
        yield bucket


@pytest.fixture(scope="session")
def writable_gcs() -> Iterator[Bucket]:
    with gcs_bucket() as bucket:
        yield bucket


@pytest.fixture(params=["s3", "gs"])
def writable_bucket(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """A bucket of each cloud, with credentials for it."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "STORAGE_EMULATOR_HOST"):
        if name in os.environ:
            monkeypatch.delenv(name)
    return request.getfixturevalue("writable_s3" if request.param == "s3" else "writable_gcs")
