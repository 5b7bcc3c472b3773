"""IDC's buckets on AWS and Google Cloud, which have the same keys under different bucket names."""

import re
from collections.abc import Iterable

from harvester.config import Provider
from harvester.errors import ConfigError
from harvester.messages import without_secrets
from harvester.model import BUCKET_NAME, ObjectRef

SCHEMES: dict[Provider, str] = {"aws": "s3", "gcs": "gs"}

AWS_TO_GCS = {
    "idc-open-data": "idc-open-data",
    "idc-open-data-two": "idc-open-idc1",
    "idc-open-data-cr": "idc-open-cr",
}
"""IDC's public buckets (IDC documentation, "Files and metadata"); others have one name in both clouds."""

GCS_TO_AWS = {
    **{gcs: aws for aws, gcs in AWS_TO_GCS.items()},
    "public-datasets-idc": "idc-open-data",  # its name on Google Cloud before IDC v20, still in manifests
}

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def copies(bucket: str, key: str, providers: Iterable[Provider]) -> tuple[ObjectRef, ...]:
    """The copies of an object of a bucket (under either cloud's name), in the order of the providers."""
    aws = GCS_TO_AWS.get(bucket, bucket)
    names: dict[Provider, str] = {"aws": aws, "gcs": AWS_TO_GCS.get(aws, aws)}
    return tuple(ObjectRef(names[provider], key, SCHEMES[provider]) for provider in providers)


def is_idc_bucket(bucket: str) -> bool:
    """Whether the bucket is one of IDC's, under either cloud's name."""
    return bucket in AWS_TO_GCS or bucket in GCS_TO_AWS


def series_uuid(folder: str) -> str | None:
    """The CRDC series UUID in a folder's name, as in IDC's buckets, or None."""
    last = folder.rstrip("/").rpartition("/")[2]
    return last if is_series_uuid(last) else None


def parse_prefix(address: str) -> ObjectRef:
    """Read `s3://BUCKET/PREFIX` or `gs://BUCKET/PREFIX`, with or without a closing `*`.

    Raises:
        ConfigError: The address has another form or another wildcard, or the bucket's name is invalid.
    """
    scheme, separator, rest = address.partition("://")
    bucket, _, key = rest.partition("/")
    if not separator or scheme not in ("s3", "gs"):
        raise ConfigError(f"{without_secrets(address)!r} is not s3://BUCKET/PREFIX or gs://BUCKET/PREFIX")
    if not BUCKET_NAME.fullmatch(bucket):
        shown = without_secrets(f"{scheme}://{bucket}").removeprefix(f"{scheme}://")
        raise ConfigError(f"{without_secrets(address)!r}: {shown!r} is not a valid bucket name")
    key = key.removesuffix("*")
    if "*" in key or "?" in key:
        raise ConfigError(f"{address!r}: only a closing * is supported, as in {scheme}://{bucket}/FOLDER/*")
    return ObjectRef(bucket, key, scheme)


def canonical_url(url: str) -> str:
    """The same URL for both copies of an object or folder of IDC; other URLs unchanged."""
    scheme, _, rest = url.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme not in ("s3", "gs") or not is_idc_bucket(bucket):
        return url
    return f"s3://{GCS_TO_AWS.get(bucket, bucket)}/{key}"


def canonical_key(key: str) -> str:
    """The same key for an IDC series, whether it is named by its UUID or by its folder.

    A series that is named object by object keeps its key, which has a `#`: it may be incomplete.
    """
    bucket = key.partition("://")[2].partition("/")[0]
    if "#" in key or not is_idc_bucket(bucket):
        return key
    return series_uuid(key) or key


def is_series_uuid(key: str) -> bool:
    """Whether a text is a CRDC series UUID."""
    return _UUID.fullmatch(key) is not None


def schemes_of(providers: Iterable[Provider]) -> tuple[str, ...]:
    """The URL schemes of these clouds: `gs`, `s3`."""
    return tuple(SCHEMES[provider] for provider in providers)
