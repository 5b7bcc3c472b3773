"""Addresses of datasets in buckets, and what a bucket's refusals are said to mean."""

import pytest

from harvester.dataset import Dataset
from harvester.dataset.bucket import BucketAddress
from harvester.dataset.bucket.errors import refusal
from harvester.errors import DatasetError


@pytest.mark.parametrize(
    "address",
    ["s3://_b/x", "s3://bucket", "gs://bucket/a/../b", "s3://bucket/x?key=1", "gs://b1/x?endpoint=x"],
)
def test_an_address_that_is_none_is_told_in_one_line(address: str) -> None:
    with pytest.raises(DatasetError) as error:
        Dataset.open(address)
    assert str(error.value).startswith(address.partition("?")[0])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "address",
    [
        "s3://user:SECRET@b/x",
        "http://user:SECRET@host/x",
        "s3://bucket?endpoint=http://user:SECRET@host",
        "gs://bucket/x?endpoint=http://user:SECRET@host",
        "gs://bucket/x?endpoint=http://user:SEC/RET@host",
        "gs://bucket/x?token=SECRET",
    ],
)
def test_an_address_that_is_none_shows_no_secret(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DatasetError) as error:
        Dataset.open(address)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://user:SECRET@host")
    with pytest.raises(DatasetError) as other:
        Dataset.open("s3://bucket/x")
    assert "RET" not in f"{error.value} {other.value}"


def test_an_address_comes_back_as_it_was() -> None:
    text = "s3://bucket/a/b?endpoint=http://127.0.0.1:9000&region=eu-west-1"
    address = BucketAddress.parse(text)
    assert (address.url, address.region) == ("s3://bucket/a/b", "eu-west-1")
    assert address.location == text
    assert BucketAddress.parse("gs://bucket/a/").location == "gs://bucket/a"


# Each as the library says it.
@pytest.mark.parametrize(
    ("scheme", "text", "meant"),
    [
        (
            "s3",
            "AWS Error ACCESS_DENIED during PutObject operation: Access Denied",
            "these credentials may not",
        ),
        ("s3", "An error occurred (AccessDenied) when calling the PutObject operation: no", "s3:PutObject"),
        (
            "s3",
            "An error occurred (InvalidAccessKeyId) when calling the GetObject operation: x",
            "wrong or have",
        ),
        (
            "s3",
            "AWS Error NO_SUCH_BUCKET during CreateMultipartUpload operation: x",
            "there is no bucket 'bucket'",
        ),
        (
            "s3",
            "Unable to locate credentials",
            "there are no credentials for this bucket; set AWS_ACCESS_KEY_ID",
        ),
        ("s3", "AWS Error NETWORK_CONNECTION during HeadObject operation: curlCode: 7", "cannot be reached"),
        (
            "gs",
            "google::cloud::Status(PERMISSION_DENIED: x does not have storage.objects.create)",
            "objectAdmin",
        ),
        ("gs", "403 Client Error: Forbidden for url: https://storage.googleapis.com/x", "objectAdmin"),
        ("gs", "google::cloud::Status(UNAUTHENTICATED: Permanent error)", "gcloud auth application-default"),
        ("gs", "something new", r"a/x: cannot be written \(something new\)"),
    ],
)
def test_a_refusal_names_the_way_out(scheme: str, text: str, meant: str) -> None:
    address = BucketAddress.parse(f"{scheme}://bucket/a")
    with pytest.raises(DatasetError, match=meant):
        raise refusal(address, "x: cannot be written", OSError(text))
